"""Stage carry: transfer a trained English teacher's labels to Dutch through pairs of translated sentences.

Of each pair of `parallel/en-nl.tsv.gz` the English sentence and the names that both sentences have are scored; the scores are then labels of
the Dutch sentence and of the same names in it. They go to training/labels/parallel.TEACHER.jsonl.gz, one Dutch text a line: `text` names it
(see labels.py), `spans` are the sentence and the names in code points, `parts` the probabilities of negative and positive in thousandths.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from pathlib import Path
from typing import Iterable, Iterator

import torch

from .data import Group, Target
from .label import in_bfloat16
from .labels import PARALLEL, distributions_of, key_of, labels_path, parts_of, write_labels
from .names import hidden_places, is_name, places_of
from .paths import add_data_option, add_runs_option, runs_folder
from .recipes import TEACHERS
from .rows import Span, encode_row
from .scoring import score_rows
from .trained import load_trained

CAPITALISED = re.compile(r"(?<!\w)[A-Z][\w'’&-]+(?: (?:[a-z]{2,3} )?[A-Z][\w'’&-]+)*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("teacher", choices=sorted(recipe.name for recipe in TEACHERS), help="a trained teacher that reads English")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--pairs", type=int, help="the first pairs only, to try the plumbing")
    add_runs_option(parser)
    add_data_option(parser)


def pairs_of(data: Path) -> Iterator[tuple[str, str]]:
    """Pairs of an English sentence and its Dutch translation."""
    with gzip.open(data / "parallel" / "en-nl.tsv.gz", "rt", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            _, english, dutch = line.rstrip("\n").split("\t")
            yield english, dutch


def shared_names(english: str, dutch: str, aspect_words: frozenset[str]) -> list[tuple[Span, Span]]:
    """Names that both sentences have exactly once, with the English and the Dutch place."""
    found = []
    for match in CAPITALISED.finditer(dutch):
        name = match.group()
        there, here = places_of(name, english), places_of(name, dutch)
        if len(there) == len(here) == 1 and is_name(name, aspect_words) and english[slice(*there[0])] == name:
            found.append((there[0], match.span()))
    return found


def run(options: argparse.Namespace) -> None:
    """Write training/labels/parallel.TEACHER.jsonl.gz."""
    torch.set_num_threads(options.threads)
    trained = load_trained(runs_folder(options), options.teacher)
    rows, texts = [], []
    for english, dutch in list(dict.fromkeys(pairs_of(Path(options.data))))[: options.pairs]:
        names = shared_names(english, dutch, trained.aspect_words)
        spans = [(0, len(english)), *(there for there, _ in names)]
        hidden = hidden_places(english, [(english[slice(*there)], there) for there, _ in names], trained.aspect_words)
        row, found = encode_row(trained.tokenizer, trained.special, english, spans, [], hidden)
        if all(found):
            rows.append(row)
            texts.append((dutch, [(0, len(dutch)), *(here for _, here in names)]))
    print(f"{len(rows)} pairs, {sum(len(row.spans) - 1 for row in rows)} names", flush=True)
    lines = []
    for (dutch, spans), logits in zip(texts, score_rows(rows, in_bfloat16(trained.model), trained.special.pad)):
        lines.append(json.dumps({"text": key_of(Group(dutch, "nl")), "spans": spans, "parts": parts_of(logits)}, separators=(",", ":")))
    write_labels("".join(f"{line}\n" for line in lines).encode(), labels_path(PARALLEL, options.teacher))


def is_carried(path: Path) -> bool:
    """Whether this stage wrote a file of labels."""
    return path.name.startswith(f"{PARALLEL}.")


def balanced(groups: list[Group]) -> list[Group]:
    """All groups with an opinion, and the same number of neutral ones; deterministic."""
    neutral = [group for group in groups if all(target.label == 1 for target in group.targets)]
    others = [group for group in groups if any(target.label != 1 for target in group.targets)]
    return others + random.Random(0).sample(neutral, min(len(neutral), len(others)))


def carried_groups(data: Path, paths: Iterable[Path]) -> list[Group]:
    """Dutch sentences with their labels and those of their names, from files of this stage; the first file with a sentence wins."""
    dutch = {key_of(group): group for group in (Group(text, "nl") for _, text in pairs_of(data))}
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                group = dutch.get(record["text"])
                if group is None or group.targets:
                    continue
                for (start, end), soft in zip(record["spans"], distributions_of(record["parts"])):
                    entity = "" if (start, end) == (0, len(group.text)) else group.text[start:end]
                    group.targets.append(Target(entity, start, end, soft.index(max(soft)), PARALLEL, "news", soft))
    return [group for group in dutch.values() if group.targets]
