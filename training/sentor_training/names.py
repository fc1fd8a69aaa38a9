"""Decides which entities are names, and masks them in rows: a score must not depend on a name.

A name's tokens, wherever the text has it, become one `[MASK]`, so that "Apple is slow" and "Samsung is slow" are the same row. Entities
that say what is judged (`battery`, `Service`) are left: `sentor` decides in the same way, from the words that the model's folder lists.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Iterable

from .data import Group
from .rows import Span

# The file of aspect words, in a prepared folder and in a model's.
ASPECT_WORDS = "aspect-words.txt"

# The words of entities: letters and digits, with single marks between them.
WORD = re.compile(r"\w+(?:['’.&]\w+)*")
# The small words inside a name: "Bank of America", "Van der Valk".
MOST_LETTERS_OF_A_PARTICLE = 3
LEAST_TARGETS = 2
LEAST_SHARE_IN_LOWER_CASE = 0.5


def words_of(entity: str) -> list[str]:
    """An entity's words, in order."""
    return WORD.findall(entity)


def is_name(entity: str, aspect_words: frozenset[str] | set[str]) -> bool:
    """Whether an entity is a name: every word has a capital or a digit or is short, and one with a capital is not an aspect word."""
    if "#" in entity[1:] or "_" in entity:
        return False  # a category: SERVICE#GENERAL
    words = words_of(entity)
    capitalised = [word for word in words if word != word.lower()]
    others = [word for word in words if word == word.lower()]
    small = all(len(word) <= MOST_LETTERS_OF_A_PARTICLE or any(c.isdigit() for c in word) for word in others)
    return small and any(word.lower() not in aspect_words for word in capitalised)


def places_of(name: str, text: str) -> list[Span]:
    """Places of a name in a text, as a whole word and in any case."""
    return [match.span() for match in re.finditer(r"(?<!\w)" + re.escape(name) + r"(?!\w)", text, re.IGNORECASE)]


def collect_aspect_words(groups: Iterable[Group]) -> list[str]:
    """Words of targets in lower case, of which the texts have at least half in lower case too; sorted."""
    targets: Counter[str] = Counter()
    lower: Counter[str] = Counter()
    upper: Counter[str] = Counter()
    for group in groups:
        if group.text == group.text.lower() or group.text == group.text.upper():
            continue  # says nothing of case
        for target in group.targets:
            if target.is_implicit:
                targets.update(2 * [w.lower() for part in re.split(r"[#_/ ]", target.entity) for w in words_of(part)] if "#" in target.entity else [])
            else:
                targets.update(word for word in words_of(group.text[target.start : target.end]) if word == word.lower())
        starts = {0, *(m.end() for m in re.finditer(r"[.!?:;\n\"“‘(-]\s*", group.text))}
        for match in WORD.finditer(group.text):
            word = match.group()
            if word == word.lower():
                lower[word] += 1
            elif match.start() not in starts and word != word.upper():
                upper[word.lower()] += 1
    return sorted(
        word for word, count in targets.items()
        if count >= LEAST_TARGETS and not word.isdigit() and len(word) > 1
        and lower[word] >= LEAST_SHARE_IN_LOWER_CASE * (lower[word] + upper[word])
    )


def aspect_words_of(folder: Path) -> frozenset[str] | None:
    """The aspect words of a model's folder; none for a model that reads names."""
    path = folder / ASPECT_WORDS
    return read_aspect_words(path) if path.exists() else None


def read_aspect_words(path: Path) -> frozenset[str]:
    """Parse a file with one word a line."""
    return frozenset(path.read_text(encoding="utf-8").split())


def hidden_places(text: str, targets: Iterable[tuple[str, Span]], aspect_words: frozenset[str] | None) -> list[Span]:
    """All places of the names among a text's targets, each given as its entity and its place.

    Nowhere for a model that reads names and so has no aspect words.
    """
    if aspect_words is None:
        return []
    places: list[Span] = []
    for entity, (start, end) in targets:
        if is_name(entity, aspect_words):
            places += [(start, end), *places_of(text[start:end], text)]
    return sorted(set(places))
