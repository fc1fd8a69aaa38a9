#!/usr/bin/env python3
"""Test the parts of training/ that need no weights, with numpy and tokenizers in a virtual environment of their own.

Where this Python has all of training/requirements.txt, it runs the tests itself, those of the networks too.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))
from environment import pinned, prepared  # noqa: E402
from options import ROOT  # noqa: E402


def main():
    if all(find_spec(name) for name in ("numpy", "onnx", "tokenizers", "torch")):
        python = sys.executable
    else:
        python = prepared(ROOT / "target" / "training", pinned(HERE / "requirements.txt"), "numpy and tokenizers")
    training = ROOT / "training"
    command = [python, "-B", "-m", "unittest", "discover", "--start-directory", training / "tests", "--top-level-directory", training]
    sys.exit(subprocess.run(command).returncode)


if __name__ == "__main__":
    main()
