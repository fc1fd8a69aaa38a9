"""Stage calibrate: fit one temperature on the dev targets of the model's language, through the int8 graph.

It is fitted on every other text of each dev set, and the calibration error is reported on the rest. The temperature divides the logits and is folded into the head's last layer by `export`, so it changes
probabilities and no label (Guo et al., 2017, "On Calibration of Modern Neural Networks").
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from .dev import add_choice_options, choice_of, score_dev
from .metrics import calibration_error, softmax
from .paths import add_data_option, add_runs_option, runs_folder
from .recipes import SHIPPED
from .runtime import onnx_runner, session_of
from .trained import load_trained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("model", choices=sorted(SHIPPED))
    parser.add_argument("--name", help="run name (default: the model's)")
    add_choice_options(parser)
    add_runs_option(parser)
    add_data_option(parser)


def loss(logits: np.ndarray, gold: np.ndarray, temperature: float) -> float:
    """Mean negative log-likelihood of the labels at a temperature."""
    probabilities = softmax(logits / temperature)
    return float(-np.log(np.maximum(probabilities[np.arange(len(gold)), gold], 1e-12)).mean())


def fit_temperature(logits: np.ndarray, gold: np.ndarray) -> float:
    """The temperature of least loss, by golden-section search over its logarithm."""
    low, high = np.log(0.25), np.log(4.0)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(logits, gold, float(np.exp(left))) < loss(logits, gold, float(np.exp(right))):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def run(options: argparse.Namespace) -> None:
    """Write RUNS/NAME/calibration.json."""
    trained = load_trained(runs_folder(options), options.model, options.name)
    runner = onnx_runner(session_of(trained.graph(1.0)))
    halves: dict[str, tuple[list, list]] = {}
    for dataset, _, domain, scored in score_dev(Path(options.data), trained.language, trained.tokenizer, runner, trained.aspect_words, options.sets, options.texts):
        part = "written and translated" if dataset.startswith(("written_", "translated_")) else domain
        for half in (0, 1):
            chosen = scored.texts % 2 == half
            for name in (part, "all"):
                halves.setdefault(name, ([], []))[half].append((scored.logits[chosen], scored.gold[chosen]))
    joined = {name: tuple(tuple(map(np.concatenate, zip(*half))) for half in both) for name, both in halves.items()}
    fitted_on, _ = joined["all"]
    temperature = fit_temperature(*fitted_on)
    report = {
        "temperature": round(temperature, 4), "choice": choice_of(options), "fitted_on_targets": len(fitted_on[1]),
        "calibration_error_on_the_rest": {
            name: {
                "targets": len(gold), "before": round(calibration_error(softmax(logits), gold), 4),
                "after": round(calibration_error(softmax(logits / temperature), gold), 4),
            }
            for name, (_, (logits, gold)) in joined.items()
        },
    }
    text = json.dumps(report, indent=2)
    (trained.folder / "calibration.json").write_text(text + "\n", encoding="utf-8")
    print(text)
