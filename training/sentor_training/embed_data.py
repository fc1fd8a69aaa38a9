"""Texts that sentence encoders are calibrated and taught on. None of them is from `topics/`, which judges the result."""

from __future__ import annotations

import gzip
from pathlib import Path

from .data import files
from .embedding import distinct, read_jsonl

# SIB-200 was made from the sentences of FLORES.
HELD_BACK_SOURCES = ("flores",)
# Written sets whose files with the same number hold largely the same texts in both languages have no line-by-line twin; these two sets do.
TWIN_SETS = ("mad_tsc_en.explicit", "mad_tsc_nl.explicit")


def parallel_pairs(data: Path) -> list[tuple[str, str]]:
    """(English, Dutch) sentences that mean the same, each pair once."""
    pairs = []
    with gzip.open(data / "parallel" / "en-nl.tsv.gz", "rt", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            source, english, dutch = line.rstrip("\n").split("\t")
            if source not in HELD_BACK_SOURCES:
                pairs.append((english, dutch))
    return list(dict.fromkeys(pairs))


def texts_of(data: Path, lang: str, split: str = "train", whole: bool = False) -> list[str]:
    """Distinct texts of a language, of every set that may be trained on."""
    folder = data / "whole" / split if whole else data / split
    texts: list[str] = []
    for name, _, path in files(folder):
        if not name.startswith(("pyabsa_", "aux_xed")):
            texts += [record["text"] for record in read_jsonl(path) if record["lang"] == lang]
    return distinct(texts)
