"""Stage export: write models/NAME (model.onnx, tokenizer.json, aspect-words.txt, manifest.json) and the reference file, and check them.

Checks, each fatal (`--preview` skips them): the graph holds nothing that is slow in ONNX Runtime; int8 loses at most 0.3 macro-F1 points on the recipe's dev
sets against the same weights in float, and differs on at most 1.5 % of targets; logits are
bit-identical alone and batched, padded and not, with one span or all; the folder fits its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper

from .fetch import sha256_file
from .metrics import confusion, macro_f1
from .names import ASPECT_WORDS
from .onnx_graph import MASKED
from .paths import REPOSITORY, add_data_option, add_runs_option, runs_folder
from .recipes import RECIPES, SHIPPED
from .reference import make_cases
from .rows import Row
from .runtime import onnx_runner, session_of
from .scoring import Runner, encode_file, score_file, score_rows
from .trained import Trained, load_trained

SIZE_LIMIT_BYTES = {"sentor-en": 36_000_000, "sentor-nl": 40_000_000}
REFERENCE_TOLERANCE = 1e-3
# Macro-F1 points that int8 may lose against float, and the share of targets it may label otherwise.
MOST_POINTS_LOST = 0.3
MOST_LABELS_CHANGED = 0.015


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("model", choices=sorted(SHIPPED))
    parser.add_argument("--name", help="run name (default: the model's)")
    parser.add_argument("--out", type=Path, help="folder of the model (default: models/NAME of the repository)")
    parser.add_argument("--reference", type=Path, help="reference file (default: tests/reference/NAME.json)")
    parser.add_argument("--version", default="0.1.0", help="version in the manifest")
    parser.add_argument("--preview", action="store_true", help="skip the checks")
    parser.add_argument("--untrained", action="store_true", help="export the base with an untrained head, to try the plumbing")
    parser.add_argument("--texts", type=int, metavar="N", help="compare with float on the first N texts of each of the recipe's dev sets (default: all)")
    add_runs_option(parser)
    add_data_option(parser)


def compare_with_float(trained: Trained, data: Path, first_texts: int | None = None) -> dict:
    """Macro-F1 of int8 and float on the recipe's dev sets, and the share of targets on which they differ."""
    sessions = {kind: onnx_runner(session_of(trained.graph(1.0, quantised=kind == "int8"))) for kind in ("int8", "float")}
    f1: dict[str, list[float]] = {"int8": [], "float": []}
    differ = total = 0
    for dataset in trained.recipe.dev_sets:
        for path in sorted((data / "dev").glob(f"{dataset}.*")):
            scored = {kind: score_file(path, trained.tokenizer, run, trained.aspect_words, first_texts=first_texts) for kind, run in sessions.items()}
            for kind, result in scored.items():
                f1[kind].append(100 * macro_f1(confusion(result.gold, result.logits.argmax(axis=1))))
            differ += int((scored["int8"].logits.argmax(axis=1) != scored["float"].logits.argmax(axis=1)).sum())
            total += len(scored["int8"].gold)
    return {
        "int8_macro_f1": round(float(np.mean(f1["int8"])), 2), "float_macro_f1": round(float(np.mean(f1["float"])), 2),
        "differing_share": round(differ / total, 4), "targets": total,
    }


def is_fit(against_float: dict) -> bool:
    """Whether int8 is close enough to float to be shipped."""
    loss = against_float["float_macro_f1"] - against_float["int8_macro_f1"]
    return loss <= MOST_POINTS_LOST and against_float["differing_share"] <= MOST_LABELS_CHANGED


def bit_identity(trained: Trained, run: Runner, data: Path, first_texts: int) -> dict[str, float]:
    """Share of spans whose logits are bit-identical, for each way to batch a row with others."""
    rows: list[Row] = []
    for dataset in trained.recipe.dev_sets:
        for path in sorted((data / "dev").glob(f"{dataset}.*")):
            rows += encode_file(path, trained.tokenizer, 512, trained.aspect_words, first_texts=first_texts)[0]
    pad = trained.special.pad

    def scores(some: list[Row], batch_tokens: int, multiple: int) -> np.ndarray:
        return np.concatenate(score_rows(some, run, pad, batch_tokens, multiple))

    alone = scores(rows, 1, 1)
    one_span = [Row(row.ids, [span]) for row in rows for span in row.spans]
    ways = {f"alone_padded_to_{m}": scores(rows, 1, m) for m in (8, 16, 32, 64, 128)}
    ways["batched"] = scores(rows, 4000, 1)
    ways["batched_padded_to_64"] = scores(rows, 4000, 64)
    ways["one_span_a_run"] = scores(one_span, 1, 1)
    ways["one_span_rows_batched"] = scores(one_span, 2000, 1)
    return {name: float((values == alone).all(axis=1).mean()) for name, values in ways.items()}


def graph_problems(model: onnx.ModelProto) -> list[str]:
    """Nodes that ONNX Runtime runs slowly and that should be rewritten."""
    problems = [f"{node.name} is a SkipLayerNormalization, which is slow" for node in model.graph.node if node.op_type == "SkipLayerNormalization"]
    masks = {node.input[2] for node in model.graph.node if node.op_type == "Where"}
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if tensor.name in masks and value.dtype == np.float32 and value.size == 1 and float(value.item()) < MASKED:
            problems.append(f"the mask {value.item()} gives attention weights that are denormal numbers, which are slow")
    return problems


def speed(run: Runner, special) -> dict[str, float]:
    """Best tokens per second of three shapes (rows x tokens), one thread."""
    import torch

    generator = np.random.default_rng(0)
    rates = {}
    for rows, tokens in ((1, 16), (8, 32), (8, 128)):
        ids = generator.integers(1000, 20000, (rows, tokens))
        ids[:, 0], ids[:, -1] = special.cls, special.sep
        arrays = [ids, np.ones_like(ids), np.arange(rows), np.full(rows, 2), np.full(rows, 4)]
        tensors = [torch.from_numpy(a) for a in arrays]
        best = float("inf")
        for _ in range(12):
            start = time.perf_counter()
            run(*tensors)
            best = min(best, time.perf_counter() - start)
        rates[f"{rows}x{tokens}"] = round(rows * tokens / best)
    return rates


def processor() -> str:
    """The CPU's name and its integer dot-product instructions, from Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(re.split(r"\s*:\s*", line, maxsplit=1) for line in lines if ":" in line)
    integer = [flag for flag in ("amx_int8", "avx512_vnni", "avx_vnni") if flag in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.machine())} ({', '.join(integer) or 'no integer dot product'})"


def command_of(model: str, config: dict) -> str:
    """The stage that trained a model, and the options that differ from the recipe; `config` has the rest."""
    start, languages = config.get("start_from"), config.get("languages")
    words = [f"train {model}"]
    words += ["--languages", *languages] if languages and tuple(languages) != RECIPES[model].languages else []
    words += ["--start-from", start] if start else []
    words += ["--steps", str(config["steps"])] if config.get("steps") else []
    words += ["--labels", *(f"labels/{name}" for name in config["labels"])] if config.get("labels") else []
    return " ".join(words)


def write_model(trained: Trained, out: Path, version: str, checks: dict) -> None:
    """model.onnx, tokenizer.json, aspect-words.txt and manifest.json."""
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / "model.tmp"
    onnx.save(trained.graph(trained.temperature), str(temporary))
    os.replace(temporary, out / "model.onnx")
    trained.tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    shutil.copyfile(trained.prepared / ASPECT_WORDS, out / ASPECT_WORDS)
    config_path = trained.folder / "config.json"
    config = json.loads(config_path.read_text()) if config_path.exists() else None
    commit = subprocess.run(["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    special = trained.special
    manifest = {
        "schema": 1, "name": trained.recipe.name, "version": version, "languages": [trained.language],
        "signature": "span", "labels": ["negative", "neutral", "positive"],
        "tokens": {"cls": special.cls, "sep": special.sep, "pad": special.pad, "mask": special.mask},
        "lowercase_capitals": not trained.recipe.lowercase, "max_tokens": trained.model.shape.positions, "window_tokens": 128,
        "quantisation": {"scheme": "static", "weight_bits": 7, "activation_bits": 8},
        "licence": "Apache-2.0", "base": trained.recipe.base,
        "files": {name: {"sha256": sha256_file(out / name), "size_bytes": (out / name).stat().st_size} for name in ("model.onnx", "tokenizer.json", ASPECT_WORDS)},
        "training": {
            "command": f"python -m sentor_training {command_of(trained.recipe.name, config or {})}", "commit": commit, "temperature": trained.temperature,
            "steps": trained.facts.get("step"), "tokens": trained.facts.get("tokens"), "minutes": round(trained.facts.get("elapsed_s", 0) / 60, 1),
            "config": config, "checks": checks,
        },
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def run(options: argparse.Namespace) -> None:
    """Check the graph, write the folder and the reference file."""
    trained = load_trained(runs_folder(options), options.model, options.name, options.untrained)
    data = Path(options.data)
    out = options.out or REPOSITORY / "models" / options.model
    reference = options.reference or REPOSITORY / "tests" / "reference" / f"{options.model}.json"

    runner = onnx_runner(session_of(trained.graph(trained.temperature)))
    checks: dict = {}
    if not options.preview:
        checks = {"processor": processor(), "bit_identical": bit_identity(trained, runner, data, 20 if options.texts is None else max(5, options.texts // 20)), "tokens_per_s_one_thread": speed(runner, trained.special)}
        checks["against_float"] = compare_with_float(trained, data, options.texts)
        checks["tokens_per_s_one_thread_float"] = speed(onnx_runner(session_of(trained.graph(1.0, quantised=False))), trained.special)
    write_model(trained, out, options.version, checks)

    problems = graph_problems(onnx.load(out / "model.onnx"))
    size = sum(file.stat().st_size for file in out.iterdir())
    print(json.dumps({"size_bytes": size, **checks}, indent=2))
    problems += [] if size <= SIZE_LIMIT_BYTES[options.model] else [f"the folder is {size} bytes"]
    problems += [f"logits are not bit-identical: {way}" for way, share in checks.get("bit_identical", {}).items() if share < 1]
    if checks and not is_fit(against := checks["against_float"]):
        problems.append(f"int8 is not close enough to float: {against}")
    for problem in problems:
        print("check failed:", problem)

    shipped = onnx_runner(session_of(out / "model.onnx"))
    content = {
        "model": options.model, "model_sha256": sha256_file(out / "model.onnx"), "tolerance": REFERENCE_TOLERANCE,
        "cases": make_cases(trained.tokenizer, trained.language, shipped, trained.aspect_words),
    }
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace('{"text"', '\n{"text"') + "\n", encoding="utf-8")
    if problems:
        raise SystemExit("export: not fit to ship")
