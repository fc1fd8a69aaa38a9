"""What teachers say of training targets, in files small enough to commit: `training/labels/STUDENT.TEACHER.jsonl.gz`.

One line is one text: `text`, the first 16 hex digits of the SHA-1 of its language and text, and `parts`, the probabilities of
negative and positive of each of its targets in thousandths, in the order of the prepared groups. The texts are not repeated.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Iterable

import numpy as np

from .data import Group
from .metrics import softmax
from .paths import REPOSITORY

FOLDER = REPOSITORY / "training" / "labels"
# The data set of sentences that have a Dutch twin, and so the first part of the name of their labels.
PARALLEL = "parallel"


def parts_of(logits: np.ndarray) -> list[list[int]]:
    """Probabilities of negative and positive in thousandths, of logits of shape [spans, 3]."""
    return np.rint(1000 * softmax(logits.astype(np.float32)))[:, [0, 2]].astype(int).tolist()


def distributions_of(parts: list[list[int]]) -> list[list[float]]:
    """What `parts_of` wrote, as probabilities of the three labels."""
    return [[negative / 1000, (1000 - negative - positive) / 1000, positive / 1000] for negative, positive in parts]


def write_labels(content: bytes, path: Path) -> None:
    """Pack lines of labels into a file, beside the old one first; the same lines under the same name make the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.tmp", "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:
        packed.write(content)
    os.replace(f"{path}.tmp", path)
    print(f"{path} is {path.stat().st_size} bytes")


def key_of(group: Group) -> str:
    """Names a text without repeating it."""
    return hashlib.sha1(f"{group.lang}\0{group.text}".encode()).hexdigest()[:16]


def labels_path(student: str, teacher: str) -> Path:
    """Where a teacher's labels of a student's training targets are kept."""
    return FOLDER / f"{student}.{teacher}.jsonl.gz"


def labels_for(student: str) -> list[Path]:
    """The labels of every teacher that has labelled a student's training targets, or sentences with a Dutch twin."""
    return sorted([*FOLDER.glob(f"{student}.*.jsonl.gz"), *FOLDER.glob(f"{PARALLEL}.*.jsonl.gz")])


def add_labels(groups: Iterable[Group], paths: list[Path]) -> int:
    """Give each target the mean of what the files say of it; returns how many targets got one.

    A text whose targets have changed since it was labelled is left without.
    """
    sums: dict[str, list[list[float]]] = {}
    counts: dict[str, int] = {}
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                triples = distributions_of(record["parts"])
                known = sums.setdefault(record["text"], [[0.0] * 3 for _ in triples])
                if len(known) == len(triples):
                    sums[record["text"]] = [[a + b for a, b in zip(*pair)] for pair in zip(known, triples)]
                    counts[record["text"]] = counts.get(record["text"], 0) + 1
    labelled = 0
    for group in groups:
        found = sums.get(key_of(group), [])
        if len(found) == len(group.targets):
            for target, total in zip(group.targets, found):
                target.soft = [value / counts[key_of(group)] for value in total]
                labelled += 1
    return labelled
