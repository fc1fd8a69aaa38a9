"""Stage convert: turn labelled texts of other forms into the JSON Lines that `finetune` reads.

* `.csv`, `.tsv`: a row a target, with a heading. `--columns` names those of text, entity and label. A row without an
  entity labels the whole text.
* `.txt`: a text a line, its targets in brackets and, if wanted, the label of the whole and targets that the text does not
  name: `The [battery|+] lasts, the [screen|-] scratches. => 0 ## price|+; service|-`. Lines that begin with `#` are comments.
* `.json`: an export of Label Studio (JSON, not JSON-MIN) with labelled spans, and choices for the whole text.

Labels may be `negative`, `neg`, `negatief`, `-`, `-1` and so on. A row that cannot be read is reported with its number, and
nothing is written.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from pathlib import Path
from typing import Callable, Iterator

from .data import LABELS
from .own_data import MOST_PROBLEMS_SHOWN, place_of

NAMES = {
    "negative": {"negative", "neg", "negatief", "-", "-1", "−"},
    "neutral": {"neutral", "neu", "neutraal", "0", "mixed", "gemengd"},
    "positive": {"positive", "pos", "positief", "+", "1", "+1"},
}
MARKED = re.compile(r"\[([^|\[\]]+)\|([^\[\]|]+)\]")
# A record, or the problem of a row; with the number of its line, row or task.
Found = Iterator[tuple[int, dict | ValueError]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("source", type=Path, help="a .csv, .tsv, .txt or .json file")
    parser.add_argument("target", type=Path, help="the .jsonl file to write")
    parser.add_argument("--columns", nargs=3, default=["text", "entity", "label"], metavar=("TEXT", "ENTITY", "LABEL"), help="headings in a .csv or .tsv (default: text entity label)")
    parser.add_argument("--text-field", default="text", help="the field of a Label Studio task that holds its text (default: text)")


def label_of(name: str) -> str:
    """Parse the name of a label. ValueError for other names."""
    for label in LABELS:
        if name.strip().lower() in NAMES[label]:
            return label
    raise ValueError(f"{name!r} is no label that is known; use {', '.join(LABELS)}")


def record_of(text: str, entity: str, label: str, place: tuple[int, int] | None = None) -> dict:
    """A record of the format of `own_data`."""
    record = {"text": text, "entity": entity or text, "label": label_of(label)}
    start, end = place or place_of(record)
    return {**record, "start": start, "end": end}


def from_table(path: Path, columns: list[str]) -> Found:
    """Records of a .csv or .tsv file; numbered by line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        if absent := [name for name in columns if name not in (rows.fieldnames or [])]:
            raise SystemExit(f"{path.name} has no column {', '.join(absent)}; it has {', '.join(rows.fieldnames or [])}. See --columns")
        for row in rows:
            text, entity, label = (row[name] or "" for name in columns)
            try:
                if not text.strip():
                    raise ValueError("the text is empty")
                yield rows.line_num, record_of(text, entity.strip(), label)
            except ValueError as error:
                yield rows.line_num, error


def from_brackets(path: Path) -> Found:
    """Records of a file with bracketed targets; numbered by line."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            yield from ((number, record) for record in records_of_line(line))
        except ValueError as error:
            yield number, error


def records_of_line(line: str) -> list[dict]:
    """Records of one line with bracketed targets."""
    marked, _, topics = line.partition(" ## ")
    marked, _, whole = marked.partition(" => ")
    text, places, done = "", [], 0
    for match in MARKED.finditer(marked):
        text += marked[done : match.start()]
        places.append((len(text), match.group(1), match.group(2)))
        text += match.group(1)
        done = match.end()
    text = (text + marked[done:]).rstrip()
    if "|" in text or not text:
        raise ValueError("a bracket is not closed, or the text is empty")
    records = [record_of(text, entity, label, (start, start + len(entity))) for start, entity, label in places]
    records += [record_of(text, "", whole)] if whole.strip() else []
    for topic in filter(None, map(str.strip, topics.split(";"))):
        entity, bar, label = topic.rpartition("|")
        if not bar:
            raise ValueError(f"the topic {topic!r} has no label")
        records.append(record_of(text, entity, label, (-1, -1)))
    if not records:
        raise ValueError("the line has no label")
    return records


def from_label_studio(path: Path, text_field: str) -> Found:
    """Records of a Label Studio export; numbered by task, from 1."""
    for number, task in enumerate(json.loads(path.read_text(encoding="utf-8")), start=1):
        try:
            text = task["data"][text_field]
            kept = [annotation for annotation in task["annotations"] if not annotation.get("was_cancelled")]
            if not kept:
                raise ValueError("nobody has annotated the task")
            if len(kept) > 1:
                raise ValueError(f"{len(kept)} people have annotated the task; keep one annotation of each")
            results = [result for result in kept[0]["result"] if result["type"] in ("labels", "choices")]
            if not results:
                raise ValueError("the annotation has no labelled span and no choice")
            for result in results:
                value = result["value"]
                if result["type"] == "choices":
                    yield number, record_of(text, "", value["choices"][0])
                else:
                    start, end = code_points(text, value["start"], value["end"], value.get("text"))
                    yield number, record_of(text, text[start:end], value["labels"][0], (start, end))
        except ValueError as error:
            yield number, error
        except (KeyError, IndexError, TypeError) as error:
            yield number, ValueError(f"not a task of Label Studio: {type(error).__name__} {error}")


def code_points(text: str, start: int, end: int, surface: str | None) -> tuple[int, int]:
    """Convert a span of Label Studio, in code points or UTF-16 units, to code points. ValueError if neither selects `surface`."""
    if surface is None or text[start:end] == surface:
        return start, end
    units = text.encode("utf-16-le")
    before, inside = (part.decode("utf-16-le", "replace") for part in (units[: 2 * start], units[2 * start : 2 * end]))
    if inside != surface:
        raise ValueError(f"the text does not have {surface!r} from {start} to {end}")
    return len(before), len(before) + len(inside)


def run(options: argparse.Namespace) -> None:
    """Write the JSON Lines file and print a summary of it."""
    readers: dict[str, Callable[[], Found]] = {
        ".csv": lambda: from_table(options.source, options.columns), ".tsv": lambda: from_table(options.source, options.columns),
        ".txt": lambda: from_brackets(options.source), ".json": lambda: from_label_studio(options.source, options.text_field),
    }
    if options.source.suffix not in readers:
        raise SystemExit(f"{options.source.name}: the name must end in {', '.join(readers)}")
    found = list(readers[options.source.suffix]())
    problems = [f"{options.source.name}:{number}: {record}" for number, record in found if isinstance(record, ValueError)]
    if problems or not found:
        raise SystemExit("\n".join([*problems[:MOST_PROBLEMS_SHOWN], f"{len(problems)} of {len(found)} cannot be read; nothing was written"]))
    records = [record for _, record in found]
    options.target.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    topics = sum(record["start"] < 0 for record in records)
    whole = sum(record["entity"] == record["text"] for record in records)
    print(f"{options.target}: {len(records)} labels, {whole} of whole texts, {topics} of topics that the text does not name")
