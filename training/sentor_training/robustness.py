"""Stage robustness: how stable a shipped model's labels are under changes that must not matter, on the dev sets of its language.

Each change is made to every dev text that it fits, and the labels before and after are compared:

* `brand`: a name-like target gets another name, one of the data's own or a made-up one, wherever it stands;
* `distractor`: a clause of another text of the same domain, with another label, is joined on (`AddDiff` of Xing et al.,
  2020, "Tasty Burgers, Soggy Fries");
* `lower`, `upper`: the text's case; `unstopped`: no final stop;
* `shouted`: "!!" in place of a final stop;
* `typo`: one slip outside the targets;
* `asked`: nothing in the text, but the label is that of the whole, with no name hidden and with those of the targets.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Callable

import numpy as np
from tokenizers import Tokenizer

from .augment import NAME_DOMAINS, add_typos, looks_like_name, swap_names
from .batches import CONJUNCTIONS
from .data import Group, group_by_text, files
from .dev import UNSCORED
from .metrics import accuracy, confusion, macro_f1
from .names import hidden_places
from .paths import REPOSITORY, add_data_option, add_runs_option, runs_folder
from .recipes import SHIPPED
from .rows import Row, Span, SpecialTokens, encode_row
from .runtime import open_folder
from .scoring import score_rows

# Longer rows are left out: the changes need no long texts.
LONGEST_TOKENS = 256

# A changed text with the targets' places, or none if the change does not apply.
Change = Callable[[Group, random.Random], tuple[str, list[Span]] | None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("model", choices=sorted(SHIPPED))
    parser.add_argument("--folder", type=Path, help="model folder (default: models/NAME of the repository)")
    parser.add_argument("--texts", type=int, help="most texts, drawn at random (default: all)")
    add_runs_option(parser)
    add_data_option(parser)


def spans_of(group: Group) -> list[Span]:
    return [(target.start, target.end) for target in group.targets]


def changes(groups: list[Group]) -> dict[str, Change]:
    """The changes by name; names and distractors come from the dev texts themselves."""
    names: dict[str, list[str]] = {}
    by_domain: dict[str, list[Group]] = {}
    for group in groups:
        by_domain.setdefault(group.targets[0].domain, []).append(group)
        for target in group.targets:
            if target.domain in NAME_DOMAINS and looks_like_name(target.entity) and len(target.entity) < 30:
                names.setdefault(target.domain, []).append(target.entity)

    def brand(group: Group, rng: random.Random) -> tuple[str, list[Span]] | None:
        text, spans = swap_names(group, names, rng, share=1.0)
        return None if text == group.text else (text, spans)

    def distractor(group: Group, rng: random.Random) -> tuple[str, list[Span]] | None:
        stem = group.text.rstrip().rstrip(".!")
        if len({target.label for target in group.targets}) != 1 or any(end > len(stem) for _, end in spans_of(group)):
            return None
        label = group.targets[0].label
        others = [g for g in by_domain[group.targets[0].domain] if len(g.text) < 120 and all(t.label != label for t in g.targets)]
        if not others:
            return None
        return stem + rng.choice(CONJUNCTIONS[group.lang]) + rng.choice(others).text, spans_of(group)

    def recased(change: Callable[[str], str]) -> Change:
        def apply(group: Group, _: random.Random) -> tuple[str, list[Span]] | None:
            text = change(group.text)
            return (text, spans_of(group)) if text != group.text and len(text) == len(group.text) else None

        return apply

    def unstopped(group: Group, _: random.Random) -> tuple[str, list[Span]] | None:
        text = group.text.rstrip().rstrip(".")
        return (text, spans_of(group)) if text != group.text.rstrip() and all(end <= len(text) for _, end in spans_of(group)) else None

    def shouted(group: Group, _: random.Random) -> tuple[str, list[Span]] | None:
        text = group.text.rstrip()
        fits = text.endswith(".") and not text.endswith("..") and all(end < len(text) for _, end in spans_of(group))
        return (text[:-1] + "!!", spans_of(group)) if fits else None

    def typo(group: Group, rng: random.Random) -> tuple[str, list[Span]] | None:
        text, spans = add_typos(group.text, spans_of(group), rng)
        return None if text == group.text else (text, spans)

    return {
        "brand": brand, "distractor": distractor, "lower": recased(str.lower), "upper": recased(str.upper), "unstopped": unstopped,
        "shouted": shouted, "typo": typo,
    }


def asked(groups: list[Group], tokenizer: Tokenizer, aspect_words: frozenset[str] | None, predictions: Callable[[list[Row]], np.ndarray]) -> dict:
    """Number of texts that keep their label as a whole when the names among their targets are masked."""
    special = SpecialTokens.of(tokenizer)
    rows: tuple[list[Row], list[Row]] = ([], [])
    for group in groups:
        named = [(target.entity, (target.start, target.end)) for target in group.targets]
        places = hidden_places(group.text, named, aspect_words)
        whole = [(0, len(group.text))]
        pair = [encode_row(tokenizer, special, group.text, whole, [], hidden)[0] for hidden in ([], places)]
        if places and all(len(row.ids) <= LONGEST_TOKENS for row in pair):
            for some, row in zip(rows, pair):
                some.append(row)
    shown, hidden = (predictions(some) for some in rows)
    return {"targets": len(shown), "kept": float((shown == hidden).mean())}


def run(options: argparse.Namespace) -> None:
    """Write RUNS/NAME/robustness.json and print a table."""
    lang = SHIPPED[options.model].languages[0]
    folder = options.folder or REPOSITORY / "models" / options.model
    tokenizer, aspect_words, runner = open_folder(folder)
    special = SpecialTokens.of(tokenizer)

    dev = Path(options.data) / "dev"
    explicit = {name for name, kind, _ in files(dev) if kind == "explicit"} - set(UNSCORED)
    groups = [group for group in group_by_text(dev, explicit) if group.lang == lang]
    for group in groups:
        group.targets = [target for target in group.targets if not target.is_implicit]
    groups = [group for group in groups if group.targets]
    random.Random(0).shuffle(groups)
    groups = groups[: options.texts]

    def encoded(text: str, spans: list[Span]) -> Row | None:
        named = hidden_places(text, [(text[start:end], (start, end)) for start, end in spans], aspect_words)
        row, found = encode_row(tokenizer, special, text, spans, [], named)
        return row if all(found) and len(row.ids) <= LONGEST_TOKENS else None

    def predictions(rows: list[Row]) -> np.ndarray:
        return np.concatenate(score_rows(rows, runner, special.pad)).argmax(axis=1)

    report = {}
    for name, change in changes(groups).items():
        rng = random.Random(name)
        before, after, gold = [], [], []
        for group in groups:
            changed = change(group, rng)
            rows = changed and (encoded(group.text, spans_of(group)), encoded(*changed))
            if rows and all(rows):
                before.append(rows[0])
                after.append(rows[1])
                gold += [target.label for target in group.targets]
        old, new, labels = predictions(before), predictions(after), np.array(gold)
        matrices = [confusion(labels, labels_now) for labels_now in (old, new)]
        report[name] = {
            "targets": len(labels), "kept": float((old == new).mean()),
            "accuracy": [accuracy(matrix) for matrix in matrices], "macro_f1": [macro_f1(matrix) for matrix in matrices],
        }
    report["asked"] = asked(groups, tokenizer, aspect_words, predictions)
    target = runs_folder(options) / options.model / "robustness.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"texts": options.texts, "changes": report}, indent=2) + "\n", encoding="utf-8")
    print(f"{'change':12} {'targets':>7} {'labels kept':>11} {'accuracy':>16} {'macro-F1':>16}")
    for name, one in report.items():
        if "accuracy" not in one:
            print(f"{name:12} {one['targets']:7} {100 * one['kept']:10.1f}%")
            continue
        pairs = [" → ".join(f"{100 * value:.1f}" for value in one[figure]) for figure in ("accuracy", "macro_f1")]
        print(f"{name:12} {one['targets']:7} {100 * one['kept']:10.1f}% {pairs[0]:>16} {pairs[1]:>16}")
