#!/usr/bin/env python3
"""Try the pages in headless Chromium against the real server.

Needs chromium and chromedriver; where they are missing and this runs as root on a system with apt, it installs them.
Screenshots are left in browser/ beside the program.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))
from environment import pinned, prepared  # noqa: E402
from options import runner  # noqa: E402
from server import Server, create_key  # noqa: E402


def main():
    program = runner(__doc__).parse_args().sentor
    browser, driver = find_browser()
    folder = program.parent / "browser"
    python = prepared(folder / "environment", pinned(HERE / "requirements.txt"), "selenium")
    with tempfile.TemporaryDirectory(prefix="sentor-browser-") as data:
        key = create_key(program, data)["key"]
        with Server(program, data) as server:
            settings = {"url": server.url, "key": key, "browser": browser, "driver": driver, "shots": str(folder)}
            environment = {**os.environ, "SENTOR_BROWSER_TEST": json.dumps(settings)}
            command = [python, "-B", "-m", "unittest", "--quiet", "test_pages"]
            sys.exit(subprocess.run(command, cwd=HERE, env=environment).returncode)


def find_browser():
    """The browser and its driver."""
    found = look()
    if not all(found) and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing chromium", flush=True)
        apt = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
        quiet = {"check": True, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*apt, "update"], env=environment, **quiet)
        packages = ["chromium", "chromium-driver", "fonts-dejavu-core"]
        subprocess.run([*apt, "install", "--yes", "--no-install-recommends", *packages], env=environment, **quiet)
        found = look()
    if not all(found):
        sys.exit("chromium and chromedriver are needed to test the pages; on Debian: apt-get install chromium chromium-driver")
    return found


def look():
    browsers = (shutil.which(name) for name in ["chromium", "chromium-browser", "google-chrome"])
    return next((path for path in browsers if path), None), shutil.which("chromedriver")


if __name__ == "__main__":
    main()
