#!/usr/bin/env python3
"""Run every command and program that the README and the documentation show, against the real server.

A block of sh, python or javascript is run as it stands, but for the server's address; one under the remark
`<!-- not run: REASON -->` is not. Blocks of one page run in order in a folder of their own, with `sentor` on the path,
a key in SENTOR_API_KEY, and the files of FILES. JavaScript needs Node.

It also checks that docs/cli.md has every flag of every command, and that links between files of the repository lead somewhere.
"""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))
from options import ROOT, runner  # noqa: E402
from server import Server, create_key  # noqa: E402

BLOCK = re.compile(r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
ADDRESS = "127.0.0.1:8080"
LABELLED = '{"text": "Great phone.", "entity": "phone", "label": "positive", "start": 6, "end": 11, "lang": "en"}\n'
FILES = {
    "reviews.csv": b"id,text\n1,Great phone from Apple.\n2,The camera is poor.\n",
    "labelled.jsonl.gz": gzip.compress(LABELLED.encode()),
}
TIMEOUT_SECONDS = 120


def main():
    program = runner(__doc__).parse_args().sentor
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    ran, failed = 0, []
    with tempfile.TemporaryDirectory(prefix="sentor-documentation-") as folder:
        data = Path(folder) / "data"
        key = create_key(program, data)["key"]
        with Server(program, data, "--models-dir", ROOT / "models") as server:
            for page in pages:
                work = Path(folder) / page.stem
                work.mkdir()
                for name, content in FILES.items():
                    (work / name).write_bytes(content)
                environment = environment_of(program, data, key)
                for place, language, code in blocks(page):
                    problem = run(language, code.replace(ADDRESS, server.url.removeprefix("http://")), work, environment)
                    ran += 1
                    if problem:
                        failed.append(f"{page.relative_to(ROOT)}:{place}: {problem}")
    example = (ROOT / "examples/predict.rs").read_text(encoding="utf-8")
    if f"```rust\n{example}```" not in (ROOT / "docs/clients.md").read_text(encoding="utf-8"):
        failed.append("docs/clients.md must show examples/predict.rs as it is")
    failed += missing_flags(program) + broken_links()
    if failed:
        sys.exit("\n".join(failed))
    print(f"{ran} examples of the documentation: ok")


def missing_flags(program):
    """Flags that a command's help names and docs/cli.md does not. Settings are on the page about configuration."""
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    found = []
    for command in commands(program):
        own = help_of(program, *command).split("\nConfiguration:")[0]
        for flag in re.findall(r"^ +(?:-\w, )?(--[\w-]+)", own, re.M):
            if flag not in ("--help", "--version") and not re.search(rf"`{flag}[` ]", page):
                found.append(f"docs/cli.md says nothing of {flag} of sentor {' '.join(command)}")
    return found


def commands(program, *parents):
    """All commands, with those below them."""
    names = re.findall(r"^  (\w+)  ", help_of(program, *parents).partition("\nCommands:\n")[2].split("\n\n")[0], re.M)
    for name in names:
        if name != "help":
            yield (*parents, name)
            yield from commands(program, *parents, name)


def help_of(program, *command):
    return subprocess.run([program, *command, "--help"], capture_output=True, text=True, check=True).stdout


def broken_links():
    """Links of Markdown files to missing files."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benches/*.md"), *ROOT.glob("training/*.md")]
    found = []
    for page in pages:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in link and not link.startswith("/") and not (page.parent / link).exists():
                found.append(f"{page.relative_to(ROOT)} links to {link}, which is not there")
    return found


def environment_of(program, data, key):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SENTOR_") or name == "SENTOR_ONNXRUNTIME"}
    return {
        **kept,
        "PATH": f"{program.parent}{os.pathsep}{kept['PATH']}",
        "SENTOR_API_KEY": key,
        "SENTOR_DATA_DIR": str(data),
        "SENTOR_MODELS_DIR": str(ROOT / "models"),
    }


def blocks(page):
    """Line number, language and code of each block to run."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        language = match["language"]
        if match["reason"] or language not in ("sh", "python", "javascript"):
            continue
        # It shows the Python package, which tests/python installs.
        if page.name == "python.md" and language == "python":
            continue
        if language == "javascript" and not shutil.which("node"):
            print(f"{page.name}: JavaScript is left out, for there is no node")
            continue
        yield text.count("\n", 0, match.start("code")), language, match["code"]


def run(language, code, folder, environment):
    """The error, or an empty string."""
    if language == "sh":
        # An error of the server fails the example.
        command = ["bash", "-euo", "pipefail", "-c", f'curl() {{ command curl --fail-with-body --max-time 60 "$@"; }}\n{code}']
    elif language == "python":
        command = [sys.executable, "-c", code]
    else:
        command = ["node", "--input-type=module", "-e", code]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"took longer than {TIMEOUT_SECONDS} s"
    if done.returncode:
        return f"ended with {done.returncode}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
    return None


if __name__ == "__main__":
    main()
