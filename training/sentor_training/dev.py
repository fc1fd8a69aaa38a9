"""The dev files of a model's language, scored."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Iterator

from tokenizers import Tokenizer

from .data import files, first_target
from .scoring import Runner, Scored, score_file

# Its labels are projected and have no target: a score on it says nothing.
UNSCORED = ("aux_xed",)


def add_texts_option(parser: argparse.ArgumentParser) -> None:
    """`--texts N`: the first N texts of each dev set."""
    parser.add_argument("--texts", type=int, metavar="N", help="score the first N texts of each dev set (default: all)")


def score_dev(data: Path, lang: str, tokenizer: Tokenizer, run: Runner, aspect_words: frozenset[str] | None, first_texts: int | None = None) -> Iterator[tuple[str, str, str, Scored]]:
    """(data set, `explicit` or `implicit`, domain, scores) of every dev file in `lang`; names are hidden where aspect words are given."""
    for dataset, kind, path in files(data / "dev"):
        first = first_target(path)
        if first is None or first["lang"] != lang or dataset in UNSCORED:
            continue
        yield dataset, kind, first["domain"], score_file(path, tokenizer, run, aspect_words, first_texts=first_texts)


def score_whole(data: Path, lang: str, tokenizer: Tokenizer, run: Runner, first_texts: int | None = None) -> Iterator[tuple[str, str, str, Scored]]:
    """(data set, `sentence`, domain, scores) of every dev file in `lang` that labels texts as a whole. No name is hidden."""
    for dataset, kind, path in files(data / "whole" / "dev"):
        first = first_target(path)
        if first is not None and first["lang"] == lang:
            yield dataset, kind, first["domain"], score_file(path, tokenizer, run, aspect_words=None, first_texts=first_texts)
