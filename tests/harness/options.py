"""Options of all runners."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def runner(description):
    """A parser with --sentor, to which a runner adds its options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sentor", type=existing, default=ROOT / "target/release/sentor", help="the program to test [default: %(default)s]"
    )
    return parser


def existing(path):
    """The absolute path of the program."""
    program = Path(path).resolve()
    if not program.is_file():
        sys.exit(f"{path} is missing; `make build` makes it")
    return program
