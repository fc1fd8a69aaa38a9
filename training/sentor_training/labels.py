"""Teachers' labels of training targets, in files small enough to commit: `training/labels/STUDENT.TEACHER.jsonl.gz`.

One line is one text. `text` is the first 16 hex digits of the SHA-1 of its language and text. `parts` has the
probabilities of negative and positive of each of its targets in thousandths, in the order of the prepared groups. `dense`,
which files of before 0.4.0 lack, has those of the text as a whole and then of the words that `dense_words` chooses. Texts
and places are not repeated.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
from pathlib import Path
from typing import Iterable

import numpy as np

from .data import Group, Target
from .metrics import softmax
from .names import WORD
from .paths import REPOSITORY
from .rows import Span

FOLDER = REPOSITORY / "training" / "labels"
# The data set of sentences with a Dutch translation, and the first part of their label file's name.
PARALLEL = "parallel"
# Words of a text that a teacher labels besides its targets.
MOST_DENSE_WORDS = 8
LEAST_LETTERS_OF_A_DENSE_WORD = 4


def parts_of(logits: np.ndarray) -> list[list[int]]:
    """Probabilities of negative and positive in thousandths, of logits of shape [spans, 3]."""
    return np.rint(1000 * softmax(logits.astype(np.float32)))[:, [0, 2]].astype(int).tolist()


def distributions_of(parts: list[list[int]]) -> list[list[float]]:
    """Probabilities of the three labels from the output of `parts_of`."""
    return [[negative / 1000, (1000 - negative - positive) / 1000, positive / 1000] for negative, positive in parts]


def write_labels(content: bytes, path: Path) -> None:
    """Compress lines of labels into a file, atomically and deterministically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.tmp", "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:
        packed.write(content)
    os.replace(f"{path}.tmp", path)
    print(f"{path} is {path.stat().st_size} bytes")


def key_of(group: Group) -> str:
    """An identifier of a text that does not contain it."""
    return hashlib.sha1(f"{group.lang}\0{group.text}".encode()).hexdigest()[:16]


def dense_words(group: Group) -> list[Span]:
    """Places of up to eight words outside the targets, in order; the same ones for the same text and targets.

    Words with a capital are left out: they may be names, which are hidden where they are asked for.
    """
    taken = [(target.start, target.end) for target in group.targets if not target.is_implicit]
    places = [
        match.span() for match in WORD.finditer(group.text)
        if len(match.group()) >= LEAST_LETTERS_OF_A_DENSE_WORD and match.group() == match.group().lower()
        and not any(match.start() < end and start < match.end() for start, end in taken)
    ]
    return sorted(random.Random(key_of(group)).sample(places, min(MOST_DENSE_WORDS, len(places))))


def labels_path(student: str, teacher: str) -> Path:
    """Path of a teacher's labels of a student's training targets."""
    return FOLDER / f"{student}.{teacher}.jsonl.gz"


def labels_for(student: str) -> list[Path]:
    """The label files of a student's training targets, and of sentences with a Dutch translation."""
    return sorted([*FOLDER.glob(f"{student}.*.jsonl.gz"), *FOLDER.glob(f"{PARALLEL}.*.jsonl.gz")])


class Judgements:
    """Sums of the distributions of several files, by text."""

    def __init__(self) -> None:
        self.sums: dict[str, list[list[float]]] = {}
        self.counts: dict[str, int] = {}

    def add(self, text: str, triples: list[list[float]]) -> None:
        """Add a file's labels of a text; ignored if the number of spans differs."""
        known = self.sums.setdefault(text, [[0.0] * 3 for _ in triples])
        if len(known) == len(triples):
            self.sums[text] = [[a + b for a, b in zip(*pair)] for pair in zip(known, triples)]
            self.counts[text] = self.counts.get(text, 0) + 1

    def means(self, text: str, spans: int) -> list[list[float]]:
        """Mean distributions of a text's spans; none if it has no labels or another number of spans."""
        sums = self.sums.get(text, [])
        return [[value / self.counts[text] for value in triple] for triple in sums] if len(sums) == spans else []


def add_labels(groups: Iterable[Group], paths: list[Path]) -> int:
    """Give each target, each text and some of its other words the mean of all files; returns the number of labelled targets.

    A text whose targets have changed since it was labelled is left without.
    """
    targets, dense = Judgements(), Judgements()
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                targets.add(record["text"], distributions_of(record["parts"]))
                if "dense" in record:
                    dense.add(record["text"], distributions_of(record["dense"]))
    labelled = 0
    for group in groups:
        key = key_of(group)
        found = targets.means(key, len(group.targets))
        words = dense_words(group) if found and key in dense.sums else []
        of_words = dense.means(key, 1 + len(words))
        for target, soft in zip(group.targets, found):
            target.soft = soft
            labelled += 1
        if of_words:
            group.whole_soft = of_words[0]
            domain = group.targets[0].domain
            for (start, end), soft in zip(words, of_words[1:]):
                group.targets.append(Target(group.text[start:end], start, end, soft.index(max(soft)), "", domain, soft, is_dense=True))
    return labelled
