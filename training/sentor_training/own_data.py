"""Your own labelled texts: a JSON Lines file with one target a line, checked line by line.

| field | meaning |
| --- | --- |
| `text` | the sentence, post or paragraph |
| `entity` | the target as the text has it; a topic that the text does not name; or the text itself, for the sentiment of the whole |
| `label` | `negative`, `neutral` or `positive`, toward the target |
| `start`, `end` | half-open offsets of the target in code points; -1 for a topic. Optional: where they are missing, the target's first place |

Lines with the same `text` are one text with several targets. Other fields are ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from .data import LABELS, Group, Target

# Data set of these targets in a recipe's copies.
OWN = "own"
MOST_PROBLEMS_SHOWN = 20


@dataclass
class Checked:
    """A file's texts and the problems of its lines, each as `file:line: problem`."""

    groups: list[Group] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lines: int = 0

    def counts(self) -> str:
        """A summary line: texts, targets and labels."""
        labels = [0, 0, 0]
        for group in self.groups:
            for target in group.targets:
                labels[target.label] += 1
        whole = sum(group.whole is not None for group in self.groups)
        of_each = ", ".join(f"{count} {name}" for count, name in zip(labels, LABELS))
        return f"{self.lines} lines: {len(self.groups)} texts, {sum(labels)} targets ({of_each}), {whole} labels of whole texts"


def place_of(record: dict) -> tuple[int, int]:
    """Start and end of a record's target, searched if they are missing; (-1, -1) for a topic. ValueError if they are wrong."""
    text, entity = record["text"], record["entity"]
    if "start" not in record and "end" not in record:
        found = text.find(entity)
        return (found, found + len(entity)) if found >= 0 else (-1, -1)
    start, end = record.get("start"), record.get("end")
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in (start, end)):
        raise ValueError("start and end must both be whole numbers")
    if (start, end) == (-1, -1):
        return start, end
    if not 0 <= start < end <= len(text):
        raise ValueError(f"{start} to {end} is not a part of a text of {len(text)} characters")
    if text[start:end] != entity:
        raise ValueError(f"the text has {text[start:end]!r} from {start} to {end}, not {entity!r}")
    return start, end


def check_record(record: object) -> tuple[str, str, int, int, int]:
    """Text, entity, start, end and label of a record. ValueError for any other record."""
    if not isinstance(record, dict):
        raise ValueError("a line must be a JSON object")
    for name in ("text", "entity", "label"):
        value = record.get(name)
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{name} must be a text that is not empty")
    if record["label"] not in LABELS:
        raise ValueError(f"label is {record['label']!r}; it must be one of {', '.join(LABELS)}")
    start, end = place_of(record)
    return record["text"], record["entity"], start, end, LABELS.index(record["label"])


def numbered_records(path: Path) -> Iterator[tuple[int, object | ValueError]]:
    """Line number and parsed JSON of each line that is not blank; a ValueError if it is not JSON."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    yield number, ValueError(f"not JSON: {error.msg} at column {error.colno}")


def check_file(path: Path, lang: str) -> Checked:
    """Read a file's texts. Every line either becomes a target or has a problem."""
    checked = Checked()
    by_text: dict[str, Group] = {}
    seen: dict[tuple[str, str, int], tuple[int, int]] = {}
    for number, record in numbered_records(path):
        checked.lines += 1
        try:
            if isinstance(record, ValueError):
                raise record
            text, entity, start, end, label = check_record(record)
            first, before = seen.setdefault((text, entity, start), (number, label))
            if before != label:
                raise ValueError(f"labels {entity!r} {LABELS[label]}, but line {first} labels it {LABELS[before]}")
        except ValueError as error:
            checked.problems.append(f"{path.name}:{number}: {error}")
            continue
        if text not in by_text:
            by_text[text] = Group(text, lang)
            checked.groups.append(by_text[text])
        group = by_text[text]
        if entity == text:
            group.whole = label
        elif first == number:
            group.targets.append(Target(entity, start, end, label, OWN, OWN))
    if not checked.groups and not checked.problems:
        checked.problems.append(f"{path.name}: it has no line")
    return checked


def stop_at_problems(files: list[Checked]) -> None:
    """Print the problems of several files and stop, if there are any."""
    problems = [problem for checked in files for problem in checked.problems]
    if problems:
        shown = problems[:MOST_PROBLEMS_SHOWN]
        more = [f"and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
        raise SystemExit("\n".join([*shown, *more, f"{len(problems)} lines have problems; nothing was trained"]))
