"""Stage evaluate: accuracy, macro-F1 and calibration of a shipped model folder on every dev set of its language.

Targets are scored at the given places, each text as one window; `sentor eval` does the same through the product.
Macro-F1 is the mean F1 of the classes that occur in a set's labels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Iterator

import numpy as np

from .dev import add_choice_options, choice_of, score_dev, score_whole
from .metrics import accuracy, bootstrap, calibration_bins, calibration_error, confusion_by_text, gain, macro_f1, softmax
from .paths import REPOSITORY, add_data_option, add_runs_option, runs_folder
from .recipes import SHIPPED
from .runtime import open_folder
from .scoring import Scored

# A set counts as one of three classes where each has at least this many dev targets: with fewer, its F1 is chance.
LEAST_OF_EACH_CLASS = 20
# Sets that were written or translated for this project.
MADE_HERE = ("written_", "translated_")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("model", choices=sorted(SHIPPED))
    parser.add_argument("--folder", type=Path, help="model folder (default: models/NAME of the repository)")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="also say by how much this model is better than that one")
    add_choice_options(parser)
    add_runs_option(parser)
    add_data_option(parser)


def figures(scored: Scored, counts: np.ndarray) -> dict:
    """The report of a set; `counts` are its `counts_of`."""
    matrix = counts.sum(axis=0)
    intervals = bootstrap(counts)
    return {
        "targets": len(scored.gold), "labels": matrix.sum(axis=1).tolist(), "accuracy": accuracy(matrix), "macro_f1": macro_f1(matrix),
        "accuracy_interval": intervals["accuracy"], "macro_f1_interval": intervals["macro_f1"],
        "calibration_error": calibration_error(softmax(scored.logits), scored.gold),
    }


def score_folder(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, str, Scored]]:
    """(name, domain, scores) of every dev set of the model's language, scored by a model folder."""
    tokenizer, aspect_words, runner = open_folder(folder)
    for dataset, kind, domain, scored in score_dev(Path(options.data), SHIPPED[options.model].languages[0], tokenizer, runner, aspect_words, options.sets, options.texts):
        yield f"{dataset}.{kind}", domain, scored


def score_whole_texts(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, Scored]]:
    """(name, scores) of every dev set of the model's language that labels whole texts, and of all of them together."""
    tokenizer, _, runner = open_folder(folder)
    found = [(f"{dataset}.{kind}", scored) for dataset, kind, _, scored in score_whole(Path(options.data), SHIPPED[options.model].languages[0], tokenizer, runner, options.sets, options.texts)]
    yield from found
    if found:
        logits, gold = (np.concatenate([getattr(scored, field) for _, scored in found]) for field in ("logits", "gold"))
        yield "all whole texts", Scored(logits, gold, np.arange(len(gold)))


def counts_of(scored: Scored) -> np.ndarray:
    """The predictions for a set's targets, by text."""
    return confusion_by_text(scored.gold, scored.logits.argmax(axis=1), scored.texts)


def print_gain(what: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """The gain of a model over another on some sets."""
    measured, (low, high) = gain(pairs)
    print(f"  {what}: {100 * measured:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})")


def run(options: argparse.Namespace) -> None:
    """Write RUNS/NAME/evaluation.json and print a table."""
    sets, counts, probabilities, gold, domains, hits = {}, {}, [], [], {}, []
    folder = options.folder or REPOSITORY / "models" / options.model
    whole = {name: figures(scored, counts_of(scored)) for name, scored in score_whole_texts(folder, options)}
    for name, domain, scored in score_folder(folder, options):
        counts[name] = counts_of(scored)
        sets[name] = figures(scored, counts[name])
        # Calibration is judged on the half of the texts that `calibrate` did not fit on.
        judged = scored.texts % 2 == 1
        probabilities.append(softmax(scored.logits[judged]))
        gold.append(scored.gold[judged])
        made_here = name.startswith(MADE_HERE)
        domains.setdefault("written and translated" if made_here else domain, []).append(len(gold) - 1)
        if made_here:
            hits += (scored.logits.argmax(axis=1) == scored.gold).tolist()
    everything = np.concatenate(probabilities), np.concatenate(gold)
    by_domain = {
        domain: calibration_error(np.concatenate([probabilities[i] for i in members]), np.concatenate([gold[i] for i in members]))
        for domain, members in domains.items()
    }
    three = {name: f for name, f in sets.items() if name.endswith(".explicit") and min(f["labels"]) >= LEAST_OF_EACH_CLASS}
    report = {
        "choice": choice_of(options), "sets": sets, "whole": whole, "written_and_translated": {"targets": len(hits), "accuracy": float(np.mean(hits))},
        "three_class_explicit": {"sets": sorted(three), "mean_macro_f1": float(np.mean([f["macro_f1"] for f in three.values()]))},
        "calibration": {"all": calibration_error(*everything), "domains": by_domain, "bins": calibration_bins(*everything)},
    }
    target = runs_folder(options) / options.model / "evaluation.json"
    target.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"{'data set':36} {'targets':>7} {'accuracy':>8} {'macro-F1':>8}")
    for name, one in (sets | whole).items():
        print(f"{name:36} {one['targets']:7} {100 * one['accuracy']:8.1f} {100 * one['macro_f1']:8.1f}")
    print(f"mean macro-F1 of {len(three)} explicit sets of three classes: {100 * report['three_class_explicit']['mean_macro_f1']:.1f}")
    print(f"accuracy on {len(hits)} targets of written and translated texts: {100 * float(np.mean(hits)):.1f}")
    print(f"expected calibration error: {report['calibration']['all']:.3f}")
    if options.against:
        theirs = {name: counts_of(scored) for name, _, scored in score_folder(options.against, options)}
        print(f"against {options.against}, points of mean macro-F1 and their 95 % interval:")
        print_gain("these sets", [(counts[name], theirs[name]) for name in three])
        dev_sets = [name for name in counts if name.split(".")[0] in SHIPPED[options.model].dev_sets]
        print_gain(", ".join(dev_sets), [(counts[name], theirs[name]) for name in dev_sets])
