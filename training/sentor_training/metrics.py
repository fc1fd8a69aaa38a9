"""Accuracy, macro-F1 and calibration error, in plain numpy."""

from __future__ import annotations

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
    """(count, mean confidence, accuracy) of each confidence bin that holds something."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == gold
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    chosen = [index == b for b in range(bins)]
    return [(int(m.sum()), float(confidence[m].mean()), float(correct[m].mean())) for m in chosen if m.any()]


def calibration_error(probabilities: np.ndarray, gold: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over equally wide confidence bins."""
    total = len(gold)
    return sum(n / total * abs(c - a) for n, c, a in calibration_bins(probabilities, gold, bins)) if total else 0.0


def bootstrap(gold: np.ndarray, predicted: np.ndarray, groups: np.ndarray, draws: int = 500, seed: int = 0) -> dict[str, tuple[float, float]]:
    """95 % intervals of accuracy and macro-F1; texts (`groups`) are drawn, not targets, since targets of a text go together."""
    rng = np.random.default_rng(seed)
    count = int(groups.max()) + 1
    per_text = np.zeros((count, 3, 3), dtype=np.int64)
    np.add.at(per_text, (groups, gold, predicted), 1)
    matrices = [per_text[rng.integers(0, count, count)].sum(axis=0) for _ in range(draws)]
    def bounds(values: list[float]) -> tuple[float, float]:
        low, high = np.percentile(values, [2.5, 97.5])
        return float(low), float(high)

    return {"accuracy": bounds([accuracy(m) for m in matrices]), "macro_f1": bounds([macro_f1(m) for m in matrices])}
