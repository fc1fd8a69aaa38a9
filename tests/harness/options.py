"""The options that all runners have."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def runner(description):
    """A parser that knows --sentor; options of the runner's own can be added."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sentor", type=existing, default=ROOT / "target/release/sentor", help="the program to test [default: %(default)s]"
    )
    return parser


def existing(path):
    """The program, wherever the tests run then."""
    program = Path(path).resolve()
    if not program.is_file():
        sys.exit(f"{path} is missing; `make build` makes it")
    return program
