"""Stage finetune: train a shipped model further on texts of your own, and export the result.

    python -m sentor_training finetune --start-from models/sentor-nl --train mine.jsonl --dev mine-dev.jsonl --out my-model

Both files are checked first, line by line (see own_data.py; the convert stage makes them of CSV, brackets or Label Studio).
Beside your labels the model learns what it said before of each text as a whole and of other words in it, so that it does
not forget (Li and Hoiem, 2016, "Learning without Forgetting"). It stops when your dev texts no longer gain, keeps the best
weights, and prints your dev figures before and after, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from torch.nn import functional

from .batches import Sampler
from .data import Group, Target
from .fetch import sha256_file
from .label import Teacher
from .labels import dense_words, distributions_of, parts_of
from .metrics import accuracy, bootstrap, confusion_by_text, gain, macro_f1
from .model import Shape, SpanClassifier
from .names import ASPECT_WORDS, read_aspect_words
from .onnx_graph import GraphOptions, SpanGraph, read_weights
from .own_data import OWN, check_file, stop_at_problems
from .quantise import set_mode
from .recipes import ENGLISH, Recipe
from .rows import SpecialTokens, load_tokenizer
from .runtime import onnx_runner, session_of
from .scoring import Runner, score_rows, torch_runner
from .train import optimiser_for, set_up_torch, weighted_mean

# Learning rate relative to a run from a base, since the weights are already trained.
RATE_SHARE = 0.25
LETTERS_PER_TOKEN = 4
# Number of dev scores without a gain after which training stops.
PATIENCE = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("--start-from", type=Path, required=True, metavar="FOLDER", help="an exported model folder, such as models/sentor-nl")
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help="your training texts, JSON Lines")
    parser.add_argument("--dev", type=Path, required=True, metavar="FILE", help="your texts to judge by, JSON Lines; none of them may be in --train")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the model folder to write")
    parser.add_argument("--epochs", type=float, default=8, help="most times that each text is met (default 8)")
    parser.add_argument("--checks-per-epoch", type=int, default=2, help="how often your dev texts are scored (default 2)")
    parser.add_argument("--device", default="cpu", help="where to train, as torch names it (default cpu)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--seed", type=int, default=1)


def shape_of(model: onnx.ModelProto, weights: dict[str, np.ndarray]) -> Shape:
    """Sizes of an exported encoder, from its weights and graph."""
    attributes = {(node.op_type, a.name): a for node in model.graph.node for a in node.attribute}
    words, positions = (weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position"))
    layers = 1 + max(int(m.group(1)) for m in (re.match(r"encoder\.layer\.(\d+)\.", name) for name in weights) if m)
    return Shape(
        layers, words.shape[1], attributes["MultiHeadAttention", "num_heads"].i, len(weights["encoder.layer.0.intermediate.dense.weight"]),
        len(words), len(positions), attributes["LayerNormalization", "epsilon"].f,
    )


@dataclass
class Start:
    """An exported model as weights to train on, with its folder and manifest."""

    folder: Path
    manifest: dict
    shape: Shape
    teacher: Teacher
    model: SpanClassifier

    @classmethod
    def read(cls, folder: Path, threads: int) -> "Start":
        """Open a model folder that `export` or this stage wrote."""
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        graph = onnx.load(folder / "model.onnx")
        weights = read_weights(graph)
        shape = shape_of(graph, weights)
        tokenizer = load_tokenizer(str(folder / "tokenizer.json"))
        special = SpecialTokens.of(tokenizer)
        model = SpanClassifier(shape, special.sep, dropout=0.0)
        model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
        set_mode(model, "on")
        aspect_words = read_aspect_words(folder / ASPECT_WORDS)
        teacher = Teacher(tokenizer, special, aspect_words, manifest["max_tokens"], onnx_runner(session_of(graph, threads)))
        return cls(folder, manifest, shape, teacher, model)

    def recipe(self, groups: list[Group]) -> Recipe:
        """Settings for these texts: small files get small batches, so that an epoch has some 16 updates."""
        tokens = sum(len(group.text) for group in groups) // LETTERS_PER_TOKEN
        return replace(
            ENGLISH, name=self.manifest["name"], languages=tuple(self.manifest["languages"]), lowercase=not self.manifest["lowercase_capitals"],
            copies={OWN: 1.0}, learning_rate=RATE_SHARE * ENGLISH.learning_rate, head_learning_rate=RATE_SHARE * ENGLISH.head_learning_rate,
            max_tokens=min(300, self.shape.positions - 64), batch_tokens=max(32, min(ENGLISH.batch_tokens, tokens // 16)),
        )


def remember(groups: list[Group], teacher: Teacher) -> None:
    """Give each text without a whole label that of the model, and the model's labels of some of its other words."""
    pairs = [(group, row) for group in groups if (row := teacher.row_of(group)) is not None]
    scores = score_rows([row for _, row in pairs], teacher.score, teacher.special.pad)
    for (group, _), logits in zip(pairs, scores):
        whole, *words = distributions_of(parts_of(logits))[len(group.targets) :]
        places = dense_words(group)
        if group.whole is None:
            group.whole_soft = whole
        for (start, end), soft in zip(places, words):
            group.targets.append(Target(group.text[start:end], start, end, soft.index(max(soft)), "", OWN, soft, is_dense=True))


def counts_on(groups: list[Group], teacher: Teacher, run: Runner) -> np.ndarray:
    """Confusion [texts, gold, predicted] of the texts' targets and of their labels as a whole."""
    pairs = [(group, row) for group in groups if (row := teacher.row_of(group)) is not None]
    gold, predicted, texts = [], [], []
    for number, ((group, _), logits) in enumerate(zip(pairs, score_rows([row for _, row in pairs], run, teacher.special.pad))):
        labels = [*(target.label for target in group.targets), *([group.whole] if group.whole is not None else [])]
        gold += labels
        predicted += logits.argmax(axis=1)[: len(labels)].tolist()
        texts += [number] * len(labels)
    return confusion_by_text(np.array(gold), np.array(predicted), np.array(texts))


def long_texts(path: Path, groups: list[Group], teacher: Teacher) -> list[str]:
    """A problem for each text that the model cannot read in one row."""
    return [f"{path.name}: more than {teacher.positions} tokens, or a target without one: {group.text[:60]!r}" for group in groups if teacher.row_of(group) is None]


def train(start: Start, groups: list[Group], dev: list[Group], options: argparse.Namespace) -> dict[str, torch.Tensor]:
    """The weights with the best dev score, which may be those of the start."""
    recipe, device = start.recipe(groups), torch.device(options.device)
    model = start.model.to(device)
    model.embeddings.word_embeddings.requires_grad_(False)
    sampler = Sampler(groups, recipe, start.teacher.tokenizer, start.teacher.aspect_words, options.seed)
    optimiser = optimiser_for(model, recipe)
    score = lambda: macro_f1(counts_on(dev, start.teacher, torch_runner(model.eval())).sum(axis=0))
    best, best_weights, without_gain = score(), copy_of(model), 0
    met, next_check = 0, 0.0
    for batch in sampler:
        if sampler.position["epoch"] >= options.epochs or without_gain >= PATIENCE:
            break
        model.train()
        batch = batch.to(device)
        rate = min(1.0, (met + 1) / 20) * max(0.05, 1 - (sampler.position["epoch"] + 0.5) / options.epochs)
        logits = model(batch.ids, batch.attention, batch.span_row, batch.span_start, batch.span_end).float()
        weighted_mean(functional.cross_entropy(logits, batch.wanted, reduction="none"), batch).backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * rate
        optimiser.step()
        optimiser.zero_grad()
        met += batch.ids.shape[0]
        next_check = next_check or len(groups) / options.checks_per_epoch
        if met >= next_check:
            next_check += len(groups) / options.checks_per_epoch
            found = score()
            print(f"after {met} rows: dev macro-F1 {100 * found:.1f}", flush=True)
            if found > best:
                best, best_weights, without_gain = found, copy_of(model), 0
            else:
                without_gain += 1
    return best_weights


def copy_of(model: SpanClassifier) -> dict[str, torch.Tensor]:
    """The weights, on the CPU, apart from the model."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def write(start: Start, recipe: Recipe, weights: dict[str, torch.Tensor], options: argparse.Namespace) -> None:
    """The model folder: graph, tokenizer, aspect words and manifest."""
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    arrays = {name: value.numpy() for name, value in weights.items()}
    shape, special = start.shape, start.teacher.special
    graph = SpanGraph(arrays, shape.layers, shape.heads, shape.epsilon, special.sep, 1.0, GraphOptions()).build()
    onnx.save(graph, str(out / "model.tmp"))
    os.replace(out / "model.tmp", out / "model.onnx")
    for name in ("tokenizer.json", ASPECT_WORDS):
        shutil.copyfile(start.folder / name, out / name)
    names = ("model.onnx", "tokenizer.json", ASPECT_WORDS)
    manifest = {
        **start.manifest, "version": f"{start.manifest['version']}-own",
        "files": {name: {"sha256": sha256_file(out / name), "size_bytes": (out / name).stat().st_size} for name in names},
        "training": {"started_from": start.manifest["version"], "recipe": asdict(recipe), "before": start.manifest.get("training")},
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def print_table(before: np.ndarray, after: np.ndarray) -> None:
    """Accuracy and macro-F1 of two models on the same texts, with 95 % intervals, and the gain."""
    print(f"\n{'your dev texts':16} {'accuracy':>22} {'macro-F1':>22}")
    for name, counts in (("before", before), ("after", after)):
        matrix, intervals = counts.sum(axis=0), bootstrap(counts)
        cells = [(accuracy(matrix), intervals["accuracy"]), (macro_f1(matrix), intervals["macro_f1"])]
        print(f"{name:16} " + " ".join(f"{100 * value:8.1f} ({100 * low:.1f} to {100 * high:.1f})" for value, (low, high) in cells))
    measured, (low, high) = gain([(after, before)])
    print(f"gain in macro-F1: {100 * measured:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})")


def run(options: argparse.Namespace) -> None:
    """Check the files, train, write the folder, print the table."""
    set_up_torch(options.threads)
    torch.manual_seed(options.seed)
    start = Start.read(options.start_from, options.threads)
    lang = start.manifest["languages"][0]
    files = [check_file(path, lang) for path in (options.train, options.dev)]
    train_texts = {group.text for group in files[0].groups}
    files[1].problems += [f"{options.dev.name}: also in {options.train.name}: {g.text[:60]!r}" for g in files[1].groups if g.text in train_texts]
    for path, checked in zip((options.train, options.dev), files):
        checked.problems += long_texts(path, checked.groups, start.teacher)
        print(f"{path.name}: {checked.counts()}", flush=True)
    stop_at_problems(files)
    groups, dev = (checked.groups for checked in files)
    before = counts_on(dev, start.teacher, start.teacher.score)
    remember(groups, start.teacher)
    weights = train(start, groups, dev, options)
    write(start, start.recipe(groups), weights, options)
    after = counts_on(dev, start.teacher, onnx_runner(session_of(options.out / "model.onnx", options.threads)))
    print_table(before, after)
    print(f"\n{options.out} is a model folder; `sentor models verify` checks it, and `sentor eval` measures it on other texts")
