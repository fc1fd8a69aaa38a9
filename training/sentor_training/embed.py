"""Stage embed: write models/embed-en or models/embed-nl (model.onnx, tokenizer.json, manifest.json), and check it.

`embed-en` is all-MiniLM-L6-v2 as it is. `embed-nl` is multilingual-e5-small with Dutch and English pieces only; where
`teach-embed` has left a projection in RUNS/embed-nl, it is part of the model.

Checks, each fatal: the float graph gives the vectors of the torch encoder (cosine at least 0.9999), the int8 graph those of
the float graph (mean cosine at least 0.99 on dev texts), and an int8 vector keeps every bit alone and in company.
`--reference` compares the float graph with `transformers` as well, where that is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from tokenizers import Tokenizer

from .embed_data import parallel_pairs, texts_of
from .embedding import EmbeddingGraph, ids_of, observe_ranges, padded, session_runner, torch_runner, vectors_of
from .fetch import sha256_file
from .model import SpanClassifier, load_base
from .paths import REPOSITORY, add_data_option, add_runs_option, runs_folder
from .prepare import WORD_LISTS
from .rows import SpecialTokens, load_tokenizer
from .runtime import session_of
from .vocabulary import choose_pieces, cut_base, make_tokenizer

PROJECTION = "projection.npy"
LEAST_COSINE_INT8 = 0.99
LEAST_COSINE_FLOAT = 0.9999
CALIBRATION_TEXTS = 150


@dataclass(frozen=True)
class EmbedRecipe:
    """An embedding model: its base, its languages, and what of the base is kept."""

    base: str
    languages: tuple[str, ...]
    lowercase: bool
    layers: int
    # 0 keeps all pieces.
    pieces: int
    limit_bytes: int
    licence: str


RECIPES = {
    "embed-en": EmbedRecipe("minilm-l6-h384-uncased", ("en",), True, 6, 0, 25_000_000, "Apache-2.0"),
    "embed-nl": EmbedRecipe("multilingual-e5-small", ("nl", "en"), False, 12, 40_000, 40_000_000, "MIT"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, help="folder of the model (default: models/NAME of the repository)")
    parser.add_argument("--version", default="0.1.0", help="version in the manifest")
    parser.add_argument("--plain", action="store_true", help="leave out the projection that teach-embed wrote")
    parser.add_argument("--reference", action="store_true", help="compare with the base in the library transformers")
    add_runs_option(parser)
    add_data_option(parser)


def base_of(name: str, runs: Path, data: Path) -> Path:
    """The folder RUNS/prepared/NAME with the base, cut as the recipe says; made the first time."""
    recipe, base = RECIPES[name], runs / "bases" / RECIPES[name].base
    out = runs / "prepared" / name
    if (out / "base" / "model.safetensors").exists():
        return out / "base"
    out.mkdir(parents=True, exist_ok=True)
    all_pieces = [line.rstrip("\n") for line in (base / "vocab.txt").open(encoding="utf-8")]
    if not recipe.pieces:
        (out / "base").mkdir(exist_ok=True)
        for file in ("config.json", "model.safetensors"):
            (out / "base" / file).write_bytes((base / file).read_bytes())
        make_tokenizer(all_pieces, recipe.lowercase, out / "base" / "tokenizer.json")
        return out / "base"
    make_tokenizer(all_pieces, recipe.lowercase, out / "full-tokenizer.json")
    pairs = parallel_pairs(data)
    dutch = [dutch for _, dutch in pairs] + texts_of(data, "nl")
    english = [english for english, _ in pairs] + texts_of(data, "en")
    words = [path.read_text(encoding="utf-8").split() for path in WORD_LISTS]
    pieces = choose_pieces(load_tokenizer(str(out / "full-tokenizer.json")), dutch, english, words, recipe.pieces)
    cut_base(base, out / "base", pieces, list(range(recipe.layers)), recipe.lowercase)
    return out / "base"


def load_encoder(name: str, runs: Path, data: Path) -> tuple[SpanClassifier, Tokenizer, SpecialTokens]:
    """The encoder in torch, its tokenizer and the ids of its special tokens."""
    base = base_of(name, runs, data)
    tokenizer = load_tokenizer(str(base / "tokenizer.json"))
    special = SpecialTokens.of(tokenizer)
    torch.manual_seed(0)
    return load_base(base, special.sep, 0.0).eval().requires_grad_(False), tokenizer, special


def dev_texts(data: Path, languages: tuple[str, ...], count: int) -> list[str]:
    """Dev texts of the languages in equal parts."""
    chosen = []
    for language in languages:
        texts = texts_of(data, language, "dev")
        random.Random(1).shuffle(texts)
        chosen += texts[: count // len(languages)]
    return chosen


def reference_cosine(base: Path, texts: list[str], vectors: np.ndarray) -> float:
    """Least cosine of the vectors to those of the base in the library transformers, with its own tokenizer."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(str(base)), AutoModel.from_pretrained(str(base)).eval()
    found = []
    with torch.inference_mode():
        for text in texts:
            inputs = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
            mask = inputs["attention_mask"][:, :, None].float()
            states = model(**inputs).last_hidden_state
            mean = ((states * mask).sum(1) / mask.sum(1))[0].numpy()
            found.append(mean / np.linalg.norm(mean))
    return float((np.stack(found) * vectors).sum(1).min())


def bit_identity(run, rows: list[list[int]], pad: int) -> float:
    """Share of rows whose vector keeps every bit in company. The server pads a row to the next multiple of eight, whatever
    else is in its batch, since the mean over tokens rounds by their number."""
    same = []
    for row in rows:
        width = -(-len(row) // 8) * 8
        ids, mask = padded([row, [pad] * width, row], pad)
        mask[1] = 1
        alone = run(ids[:1], mask[:1])[0]
        together = run(ids, mask)
        same.append(bool((together[0] == alone).all() and (together[2] == alone).all()))
    return float(np.mean(same))


def run(options: argparse.Namespace) -> None:
    """Write the model folder and check it."""
    runs, data, recipe = runs_folder(options), Path(options.data), RECIPES[options.model]
    out = options.out or REPOSITORY / "models" / options.model
    model, tokenizer, special = load_encoder(options.model, runs, data)
    taught = runs / options.model / PROJECTION
    projection = None if options.plain or not taught.exists() else np.load(taught)
    texts = dev_texts(data, recipe.languages, 2 * CALIBRATION_TEXTS)
    rows = ids_of(tokenizer, special, texts)
    calibration, test = rows[::2], rows[1::2]

    by_torch = vectors_of(test, special.pad, torch_runner(model))
    if projection is not None:
        means = vectors_of(test, special.pad, torch_runner(model), unit=False) @ projection[:, :-1].T + projection[:, -1]
        by_torch = means / np.linalg.norm(means, axis=1, keepdims=True)
    by_float = vectors_of(test, special.pad, session_runner(session_of(EmbeddingGraph(model, projection, quantised=False).build())))
    checks = {"float_least_cosine": round(float((by_torch * by_float).sum(1).min()), 6)}
    if options.reference:
        plain = vectors_of(test, special.pad, torch_runner(model))
        checks["reference_least_cosine"] = round(reference_cosine(runs / "bases" / recipe.base, texts[1::2], plain), 6)
    observe_ranges(model, calibration, special.pad)
    graph = EmbeddingGraph(model, projection).build()
    runner = session_runner(session_of(graph))
    by_int8 = vectors_of(test, special.pad, runner)
    cosines = (by_float * by_int8).sum(1)
    checks |= {"int8_mean_cosine": round(float(cosines.mean()), 5), "int8_least_cosine": round(float(cosines.min()), 5)}
    checks["bit_identical"] = bit_identity(runner, test[:60], special.pad)
    write_folder(options, out, graph, tokenizer, special, checks, projection is not None)

    size = sum(file.stat().st_size for file in out.iterdir())
    print(json.dumps({"size_bytes": size, **checks}, indent=2))
    problems = [] if size <= recipe.limit_bytes else [f"the folder is {size} bytes"]
    problems += [] if checks["float_least_cosine"] >= LEAST_COSINE_FLOAT else ["the float graph differs from torch"]
    problems += [] if checks.get("reference_least_cosine", 1) >= 0.999 else ["the float graph differs from the reference"]
    problems += [] if checks["int8_mean_cosine"] >= LEAST_COSINE_INT8 else ["int8 is not close enough to float"]
    problems += [] if checks["bit_identical"] == 1 else ["vectors are not bit-identical in company"]
    for problem in problems:
        print("check failed:", problem)
    if problems:
        raise SystemExit("embed: not fit to ship")


def write_folder(options, out: Path, graph: onnx.ModelProto, tokenizer: Tokenizer, special: SpecialTokens, checks: dict, projected: bool) -> None:
    """model.onnx, tokenizer.json and manifest.json."""
    recipe = RECIPES[options.model]
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / "model.tmp"
    onnx.save(graph, str(temporary))
    os.replace(temporary, out / "model.onnx")
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    commit = subprocess.run(["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    manifest = {
        "schema": 1, "name": options.model, "version": options.version, "languages": list(recipe.languages),
        "task": "embed", "signature": "text",
        "tokens": {"cls": special.cls, "sep": special.sep, "pad": special.pad},
        "lowercase_capitals": not recipe.lowercase, "max_tokens": 512, "window_tokens": 256,
        "quantisation": {"scheme": "static", "weight_bits": 7, "activation_bits": 8},
        "licence": recipe.licence, "base": recipe.base,
        "files": {name: {"sha256": sha256_file(out / name), "size_bytes": (out / name).stat().st_size} for name in ("model.onnx", "tokenizer.json")},
        "training": {"command": f"python -m sentor_training embed {options.model}", "commit": commit, "projection": projected, "checks": checks},
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
