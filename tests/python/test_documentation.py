"""The Python examples of docs/python.md."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/python.md"
BLOCK = re.compile(r"^(?P<left><!-- not run: [^\n]+? -->\n)?```python\n(?P<code>.*?)^```$", re.M | re.S)


class DocumentationTest(unittest.TestCase):
    def test_examples_run(self):
        codes = [match["code"] for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8")) if not match["left"]]
        self.assertGreater(len(codes), 3)
        with tempfile.TemporaryDirectory() as folder:
            for code in codes:
                with self.subTest(code):
                    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=os.environ, capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
