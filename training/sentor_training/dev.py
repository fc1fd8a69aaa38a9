"""Scores the dev files of a model's language."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Iterator, Sequence

from tokenizers import Tokenizer

from .data import files, first_target
from .scoring import Runner, Scored, score_file

# Its labels are projected and have no target, so a score on it is meaningless.
UNSCORED = ("aux_xed",)


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """`--sets` and `--texts`: which dev sets are scored, and how many texts of each."""
    parser.add_argument("--sets", nargs="+", default=[""], metavar="PREFIX", help="score the dev sets whose names begin so (default: all)")
    parser.add_argument("--texts", type=int, metavar="N", help="score the first N texts of each dev set (default: all)")


def choice_of(options: argparse.Namespace) -> str:
    """Command-line options that select the same sets and texts; empty for all."""
    sets = "" if options.sets == [""] else " --sets " + " ".join(options.sets)
    return sets + (f" --texts {options.texts}" if options.texts else "")


def score_dev(data: Path, lang: str, tokenizer: Tokenizer, run: Runner, aspect_words: frozenset[str] | None, sets: Sequence[str] = ("",), first_texts: int | None = None) -> Iterator[tuple[str, str, str, Scored]]:
    """(data set, `explicit` or `implicit`, domain, scores) of every dev file in `lang`; names are masked if aspect words are given."""
    for dataset, kind, path in files(data / "dev"):
        first = first_target(path)
        if first is None or first["lang"] != lang or dataset in UNSCORED or not dataset.startswith(tuple(sets)):
            continue
        yield dataset, kind, first["domain"], score_file(path, tokenizer, run, aspect_words, first_texts=first_texts)


def score_whole(data: Path, lang: str, tokenizer: Tokenizer, run: Runner, sets: Sequence[str] = ("",), first_texts: int | None = None) -> Iterator[tuple[str, str, str, Scored]]:
    """(data set, `sentence`, domain, scores) of every dev file in `lang` that labels texts as a whole. No name is masked."""
    for dataset, kind, path in files(data / "whole" / "dev"):
        first = first_target(path)
        if first is not None and first["lang"] == lang and dataset.startswith(tuple(sets)):
            yield dataset, kind, first["domain"], score_file(path, tokenizer, run, aspect_words=None, first_texts=first_texts)
