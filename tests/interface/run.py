#!/usr/bin/env python3
"""Let schemathesis call the real server with requests that its description allows, and with invalid ones.

A fixed seed makes a failure repeatable; --seed tries others.
"""

import os
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
    parser = runner(__doc__)
    parser.add_argument("--seed", type=int, default=1, help="which examples [default: 1]")
    parser.add_argument("--examples", type=int, default=25, help="at most so many for each operation [default: 25]")
    options = parser.parse_args()
    program = options.sentor
    python = prepared(program.parent / "schemathesis", pinned(HERE / "requirements.txt"), "schemathesis")
    scopes = ["--scope", "predict", "--scope", "cluster", "--scope", "metrics", "--scope", "admin"]
    with tempfile.TemporaryDirectory(prefix="sentor-interface-") as data:
        key = create_key(program, data, *scopes)["key"]
        with Server(program, data) as server:
            command = [python, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
            command += ["--header", f"x-api-key: {key}", "--seed", options.seed, "--max-examples", options.examples]
            command += ["--generation-database", "none", "--no-color", "--workers", "1", "--request-timeout", "60"]
            environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)}
            command = [str(part) for part in command]
            status = subprocess.run(command, cwd=data, env=environment, stdin=subprocess.DEVNULL).returncode
            if not server.is_running():
                sys.exit("the server ended early")
    sys.exit(status)


if __name__ == "__main__":
    main()
