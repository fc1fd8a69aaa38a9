"""Accuracy, macro-F1 and calibration error, in plain numpy."""

from __future__ import annotations

from typing import Iterable

import numpy as np


def confusion(gold: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """[gold, predicted] counts of the three classes."""
    matrix = np.zeros((3, 3), dtype=np.int64)
    np.add.at(matrix, (gold, predicted), 1)
    return matrix


def accuracy(matrix: np.ndarray) -> float:
    return float(np.trace(matrix) / max(1, matrix.sum()))


def macro_f1(matrix: np.ndarray) -> float:
    """Mean F1 over the classes that occur in the gold labels."""
    present = matrix.sum(axis=1) > 0
    hits = np.diag(matrix).astype(float)
    f1 = 2 * hits / np.maximum(1, matrix.sum(axis=1) + matrix.sum(axis=0))
    return float(f1[present].mean()) if present.any() else 0.0


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def calibration_bins(probabilities: np.ndarray, gold: np.ndarray, bins: int = 10) -> list[tuple[int, float, float]]:
    """(count, mean confidence, accuracy) of each confidence bin that is not empty."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == gold
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    chosen = [index == b for b in range(bins)]
    return [(int(m.sum()), float(confidence[m].mean()), float(correct[m].mean())) for m in chosen if m.any()]


def calibration_error(probabilities: np.ndarray, gold: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over equally wide confidence bins."""
    total = len(gold)
    return sum(n / total * abs(c - a) for n, c, a in calibration_bins(probabilities, gold, bins)) if total else 0.0


def confusion_by_text(gold: np.ndarray, predicted: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """[texts, gold, predicted] counts; `groups` numbers the text of each target."""
    counts = np.zeros((int(groups.max()) + 1, 3, 3), dtype=np.int64)
    np.add.at(counts, (groups, gold, predicted), 1)
    return counts


def bounds(values: Iterable[float]) -> tuple[float, float]:
    """The interval that contains 95 % of the values."""
    low, high = np.percentile(list(values), [2.5, 97.5])
    return float(low), float(high)


def bootstrap(counts: np.ndarray, draws: int = 500, seed: int = 0) -> dict[str, tuple[float, float]]:
    """95 % intervals of accuracy and macro-F1, of a `confusion_by_text`; texts are drawn, not targets, since targets of a text go together."""
    rng = np.random.default_rng(seed)
    matrices = [counts[rng.integers(0, len(counts), len(counts))].sum(axis=0) for _ in range(draws)]
    return {"accuracy": bounds(map(accuracy, matrices)), "macro_f1": bounds(map(macro_f1, matrices))}


def gain(pairs: list[tuple[np.ndarray, np.ndarray]], draws: int = 1000, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """The gain in mean macro-F1 over data sets of a model against another, and its 95 % interval.

    Each pair is a data set's `confusion_by_text` of the one and of the other; both are drawn with the same texts. ValueError where
    the two did not score the same targets.
    """
    if any(ours.shape != theirs.shape or (ours.sum(axis=2) != theirs.sum(axis=2)).any() for ours, theirs in pairs):
        raise ValueError("the two models did not score the same targets of the same texts")
    rng = np.random.default_rng(seed)
    drawn = np.zeros(draws)
    for ours, theirs in pairs:
        for draw in range(draws):
            texts = rng.integers(0, len(ours), len(ours))
            drawn[draw] += (macro_f1(ours[texts].sum(axis=0)) - macro_f1(theirs[texts].sum(axis=0))) / len(pairs)
    measured = np.mean([macro_f1(ours.sum(axis=0)) - macro_f1(theirs.sum(axis=0)) for ours, theirs in pairs])
    return float(measured), bounds(drawn)
