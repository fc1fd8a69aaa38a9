"""Paths of the shared data, the run folders and the repository's models."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def add_runs_option(parser: argparse.ArgumentParser) -> None:
    """`--runs DIR`: bases, prepared data and checkpoints; too large to be committed."""
    parser.add_argument(
        "--runs", type=Path, default=os.environ.get("TRAINING_RUNS", "runs"),
        help="folder of bases, prepared data and checkpoints (default: $TRAINING_RUNS or ./runs)",
    )


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """`--data DIR`: the shared labelled data."""
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("TRAINING_DATA", REPOSITORY.parent / "shared" / "data"),
        help="folder of the labelled data (default: $TRAINING_DATA or ../shared/data beside the repository)",
    )


def runs_folder(options: argparse.Namespace) -> Path:
    """The run folder's root as an absolute path."""
    return Path(options.runs).expanduser().resolve()
