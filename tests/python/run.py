#!/usr/bin/env python3
"""Test the wheels of `make wheel`: installed, as a user has them, beside the real program.

The virtual environment, with packages pinned by hash, is kept for the next run; the wheels are installed anew.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))
from environment import install_wheels, pinned, prepared  # noqa: E402
from options import ROOT, runner  # noqa: E402


def main():
    parser = runner(__doc__)
    parser.add_argument("tests", nargs="*", help="names of tests, such as test_scorer.ForkTest [default: all]")
    options = parser.parse_args()
    python = prepared(options.sentor.parent / "python", pinned(HERE / "requirements.txt"), "the packages of the Python tests")
    install_wheels(python, options.sentor.parent.parent / "wheels")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SENTOR_", "PYTHON"))}
    environment = {
        **kept,
        "PROGRAM_UNDER_TEST": str(options.sentor),
        "SENTOR_MODELS_DIR": str(ROOT / "models"),
        "PYTHONPATH": str(HERE.parent / "harness"),
        "MPLBACKEND": "agg",
    }
    command = [python, "-W", "error::DeprecationWarning:sentor", "-m", "unittest", *(options.tests or ["discover", "--start-directory", "."])]
    sys.exit(subprocess.run(command, cwd=HERE, env=environment, stdin=subprocess.DEVNULL).returncode)


if __name__ == "__main__":
    main()
