"""Labelled data: read the shared files, group targets by text, keep dev texts out of training."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Iterable, Iterator

LABELS = ("negative", "neutral", "positive")

# Excluded from training: data for research only, and labels without a target.
EXCLUDED_PREFIXES = ("pyabsa_", "aux_xed")


@dataclass
class Target:
    """One labelled target; offsets are code points, -1 where the entity is not in the text."""

    entity: str
    start: int
    end: int
    label: int
    dataset: str
    domain: str
    # The teachers' probabilities of the three labels.
    soft: list[float] | None = None
    # A word that only teachers have labelled.
    is_dense: bool = False

    @property
    def is_implicit(self) -> bool:
        return self.start < 0


@dataclass
class Group:
    """A text with all its targets, from all data sets."""

    text: str
    lang: str
    targets: list[Target] = field(default_factory=list)
    # Label of the text as a whole, if known.
    whole: int | None = None
    # The teachers' probabilities for the text as a whole.
    whole_soft: list[float] | None = None


def files(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """(data set, `explicit` or `implicit`, path) of every file of a split, sorted by name."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        dataset, kind, *_ = path.name.split(".")
        yield dataset, kind, path


def read_targets(path: Path) -> Iterator[dict]:
    """The JSON lines of one file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def first_target(path: Path) -> dict | None:
    """The first line of a file, which has the language and domain of all lines; None for an empty file."""
    return next(read_targets(path), None)


def text_key(text: str) -> str:
    """A key that is equal for texts that differ only in case, spacing and punctuation."""
    return "".join(c for c in text.lower() if c.isalnum())


def group_by_text(folder: Path, datasets: Iterable[str] | None = None) -> list[Group]:
    """All targets of a split, grouped by (language, text), in file order.

    The same span under two data sets (SemEval-2015 went into 2016) is kept once.
    """
    wanted = None if datasets is None else set(datasets)
    groups: dict[tuple[str, str], Group] = {}
    for dataset, _, path in files(folder):
        if wanted is not None and dataset not in wanted:
            continue
        for record in read_targets(path):
            key = (record["lang"], record["text"])
            group = groups.setdefault(key, Group(record["text"], record["lang"]))
            label = LABELS.index(record["label"])
            target = Target(record["entity"], record["start"], record["end"], label, dataset, record["domain"])
            same = [t for t in group.targets if (t.start, t.end) == (target.start, target.end) and t.entity == target.entity]
            if not same:
                group.targets.append(target)
    return list(groups.values())


def training_groups(data: Path) -> list[Group]:
    """The training groups: allowed data sets only, without texts that are also in dev."""
    dev_keys = set()
    for _, _, path in files(data / "dev"):
        dev_keys.update(text_key(record["text"]) for record in read_targets(path))
    allowed = [name for name, _, _ in files(data / "train") if not name.startswith(EXCLUDED_PREFIXES)]
    groups = group_by_text(data / "train", allowed)
    whole = whole_labels(data / "whole" / "train")
    for group in groups:
        group.whole = whole.get((group.lang, group.text))
    return [group for group in groups if text_key(group.text) not in dev_keys]


def whole_labels(folder: Path) -> dict[tuple[str, str], int]:
    """(language, text) → label of the text as a whole."""
    records = (record for _, _, path in files(folder) for record in read_targets(path))
    return {(record["lang"], record["text"]): LABELS.index(record["label"]) for record in records}


def write_groups(groups: Iterable[Group], path: Path) -> None:
    """Write groups as gzip'd JSON lines."""
    with gzip.open(path, "wt", encoding="utf-8") as out:
        for group in groups:
            out.write(json.dumps(asdict(group), ensure_ascii=False) + "\n")


def read_groups(path: Path) -> list[Group]:
    """Read groups that `write_groups` wrote."""
    groups = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            record["targets"] = [Target(**target) for target in record["targets"]]
            groups.append(Group(**record))
    return groups
