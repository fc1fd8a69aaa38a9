"""Virtual environments with pinned packages, kept from one run to the next."""

import hashlib
import subprocess
import sys


def pinned(path):
    """The lines of a requirements file without its comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def prepared(environment, requirements, name):
    """A Python with these requirements, each with its hash; built on the first run and after changes."""
    python = environment / "bin" / "python"
    text = "\n".join(requirements) + "\n"
    state = hashlib.sha256(f"{sys.version}\n{text}".encode()).hexdigest()
    stamp = environment / "installed"
    if python.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == state:
        return python
    print(f"installing {name}", flush=True)
    # Without its own pip, whose installation would take most of the time: this Python's pip installs.
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", environment], check=True)
    listed = environment / "requirements.txt"
    listed.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", listed]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    stamp.write_text(state, encoding="utf-8")
    return python


def install_wheels(python, folder):
    """Install the wheels of `make wheel`, in place of what was installed of them before."""
    wheels = sorted(folder.glob("sentor*.whl"))
    if len(wheels) != 2:
        sys.exit(f"{folder} has {len(wheels)} wheels where sentor and sentor-models were expected; `make wheel` makes them")
    command = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
    command += ["--no-deps", "--no-index", "--force-reinstall", *wheels]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
