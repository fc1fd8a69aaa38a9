"""The dev files of a model's language, scored."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

from tokenizers import Tokenizer

from .data import files, first_target
from .scoring import Runner, Scored, score_file

# Its labels are projected and have no target: a score on it says nothing.
UNSCORED = ("aux_xed",)


def score_dev(data: Path, lang: str, tokenizer: Tokenizer, run: Runner, aspect_words: frozenset[str] | None) -> Iterator[tuple[str, str, str, Scored]]:
    """(data set, `explicit` or `implicit`, domain, scores) of every dev file in `lang`; names are hidden where aspect words are given."""
    for dataset, kind, path in files(data / "dev"):
        first = first_target(path)
        if first is None or first["lang"] != lang or dataset in UNSCORED:
            continue
        yield dataset, kind, first["domain"], score_file(path, tokenizer, run, aspect_words)


def score_whole(data: Path, lang: str, tokenizer: Tokenizer, run: Runner) -> Iterator[tuple[str, str, str, Scored]]:
    """(data set, `sentence`, domain, scores) of every dev file in `lang` that labels texts as a whole. No name is hidden."""
    for dataset, kind, path in files(data / "whole" / "dev"):
        first = first_target(path)
        if first is not None and first["lang"] == lang:
            yield dataset, kind, first["domain"], score_file(path, tokenizer, run, aspect_words=None)
