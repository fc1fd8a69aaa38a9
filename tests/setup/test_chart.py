"""Tests that the committed chart is up to date with the committed figures."""

import subprocess
import sys
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benches" / "chart.py"


class Chart(unittest.TestCase):
    def test_it_shows_the_committed_figures(self):
        done = subprocess.run([sys.executable, "-B", SCRIPT, "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
