#!/usr/bin/env python3
"""Run every released sentor-ml client against the real server.

Starts two servers (one with ordinary limits, one with tight ones), makes a key of each kind,
installs each release of the client, pinned by hash, into a virtual environment of its own (kept for the next
run), and runs test_sentor_ml.py in each.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))
from environment import pinned, prepared  # noqa: E402
from options import runner  # noqa: E402
from server import Server, create_key  # noqa: E402

# The pattern of a key for a secret scanner.
KEY = re.compile(r"sentor_(live|test)_[0-9A-Za-z]{32,}")
COMMON = HERE / "requirements.txt"
RELEASES = HERE / "releases.txt"
# A body limit that a test can exceed a few hundred times, and a queue in which one long document leaves no room.
TIGHT_BODY_BYTES = 100_000
# Plans that one request uses up.
PLANS = "[plans.once-a-minute]\nrequests_per_minute = 1\n[plans.once-a-day]\nrequests_per_day = 1\n"
TIGHT_LIMITS = ["--body-limit-bytes", str(TIGHT_BODY_BYTES), "--max-queued-tokens", "1000"]


def main():
    parser = runner(__doc__)
    parser.add_argument(
        "--environments", type=Path, help="folder for the virtual environments [default: clients/ beside the program]"
    )
    parser.add_argument("--only", metavar="VERSION", help="test only this release")
    options = parser.parse_args()
    program = options.sentor
    folder = (options.environments or program.parent / "clients").resolve()
    releases = {version(line): line for line in pinned(RELEASES) if options.only in (None, version(line))}
    if not releases:
        sys.exit(f"there is no release {options.only}")

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        pythons = list(pool.map(lambda line: install(line, folder), releases.values()))
    with tempfile.TemporaryDirectory(prefix="sentor-clients-") as data:
        failed = run_tests(program, Path(data), dict(zip(releases, pythons)))
    if failed:
        sys.exit(f"sentor-ml {', '.join(failed)}: failed")
    print(f"sentor-ml {', '.join(releases)}: ok")


def version(line):
    return line.split()[0].partition("==")[2]


def install(line, folder):
    """A Python with this release installed."""
    return prepared(folder / version(line), [*pinned(COMMON), line], f"sentor-ml {version(line)}")


def run_tests(program, data, pythons):
    """Run the tests with each Python; returns the releases that fail."""
    config = data / "sentor.toml"
    # No cache and no sharing: the tests that fill the queue send one text repeatedly.
    config.write_text("cache_bytes = 0\ndeduplicate = false\n" + PLANS, encoding="utf-8")
    os.environ["SENTOR_CONFIG"] = str(config)
    keys = {
        "once a minute": create_key(program, data, "--plan", "once-a-minute")["key"],
        "once a day": create_key(program, data, "--plan", "once-a-day")["key"],
        "good": create_key(program, data)["key"],
        # Ends long before the servers have loaded their models.
        "expired": create_key(program, data, "--expires", "1s")["key"],
        "unscoped": create_key(program, data, "--scope", "cluster")["key"],
    }
    revoked = create_key(program, data)
    keys["revoked"] = revoked["key"]
    subprocess.run([program, "keys", "revoke", revoked["id"], "--data-dir", data], check=True, stderr=subprocess.DEVNULL)

    failed = []
    with Server(program, data) as server, Server(program, data, *TIGHT_LIMITS) as tight:
        settings = {"url": server.url, "tight_url": tight.url, "tight_body_bytes": TIGHT_BODY_BYTES, "keys": keys}
        for release, python in pythons.items():
            print(f"sentor-ml {release}", flush=True)
            environment = {**os.environ, "SENTOR_CLIENT_TEST": json.dumps({"version": release, **settings})}
            # The release's own `tests` package would hide this folder if it were not the working directory.
            command = [python, "-B", "-m", "unittest", "--quiet", "test_sentor_ml"]
            if subprocess.run(command, cwd=HERE, env=environment).returncode != 0:
                failed.append(release)
        for started in (server, tight):
            if not started.is_running():
                failed.append("the server ended early")
    # Both have ended, so their logs are complete.
    for log in (server.log(), tight.log()):
        if KEY.search(log):
            failed.append("a key is in the log")
        if '"status":200' not in log:
            failed.append("the log does not tell of requests")
    return failed


if __name__ == "__main__":
    main()
