"""Changes of a training text that must not change a label: names, case, typos, packing, spelling of categories."""

from __future__ import annotations

import random
import re
import unicodedata

from .data import Group
from .rows import Span

Edit = tuple[int, int, str]

DUTCH_CATEGORIES = {
    "service": "bediening", "food": "eten", "prices": "prijs", "price": "prijs", "quality": "kwaliteit", "ambience": "sfeer",
    "drinks": "drankjes", "location": "ligging", "battery": "batterij", "display": "scherm", "phone": "telefoon",
    "design": "ontwerp", "operation": "werking", "performance": "prestaties", "usability": "gebruiksgemak", "camera": "camera",
    "hotel": "hotel", "rooms": "kamers", "room": "kamer", "cleanliness": "netheid", "comfort": "comfort", "course": "cursus",
    "delivery": "levering", "shipment": "verzending", "support": "ondersteuning", "staff": "personeel", "sound": "geluid",
    "memory": "geheugen", "keyboard": "toetsenbord", "laptop": "laptop", "software": "software", "company": "bedrijf",
    "restaurant": "restaurant", "general": "algemeen", "facilities": "voorzieningen", "value": "waarde", "options": "keuze",
}

# Of texts that end in a full stop, those that end in exclamation marks instead.
SHOUTED_SHARE = 0.08
NAME_DOMAINS = {"news", "finance", "twitter", "phone", "laptop", "electronics", "urban", "reviews-multidomain"}
SYLLABLES = "ba be bo da del dor el fa fin ga go ha hol in ka ker la len lo ma mer mi na nor o pa per ra ren ri sa ser so ta ter tho u va ver vi wa xe yo za zo".split()


def apply_edits(text: str, spans: list[Span], edits: list[Edit]) -> tuple[str, list[Span]]:
    """Replace character ranges; spans move with the text, and a span that is replaced covers its replacement.

    Edits must not overlap one another nor cut a span in two.
    """
    out: list[str] = []
    moved = [list(span) for span in spans]
    done = 0
    for start, end, replacement in sorted(edits):
        out += [text[done:start], replacement]
        done = end
        change = len(replacement) - (end - start)
        for span, old in zip(moved, spans):
            if old[0] >= end:
                span[0] += change
            if old[1] >= end:
                span[1] += change
    out.append(text[done:])
    return "".join(out), [(start, end) for start, end in moved]


def cuts_a_span(edit: Edit, spans: list[Span]) -> bool:
    """Whether an edit overlaps a span without holding it whole or lying strictly inside it."""
    start, end, _ = edit
    return any(s < end and start < e and not (start <= s and e <= end) and not (s <= start and end <= e) for s, e in spans)


def looks_like_name(entity: str) -> bool:
    """Every word that matters is capitalised, or the entity is a handle, hashtag or ticker."""
    words = [word for word in re.split(r"[\s\-]+", entity) if len(word) > 2]
    return bool(words) and all(not word[0].isalpha() or word[0].isupper() for word in words) and entity.lower() != entity


def made_up_name(rng: random.Random) -> str:
    """A name that no one has met."""
    name = "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 2, 3)))).capitalize()
    if rng.random() < 0.25:
        name += " " + "".join(rng.choice(SYLLABLES) for _ in range(2)).capitalize()
    return name


def swap_names(group: Group, names: dict[str, list[str]], rng: random.Random, share: float) -> tuple[str, list[Span]]:
    """Give name-like targets another name, everywhere in the text; each target's choice is its own."""
    spans = [(t.start, t.end) for t in group.targets if not t.is_implicit]
    edits: list[Edit] = []
    seen: dict[str, str | None] = {}
    for target in group.targets:
        entity = target.entity
        if target.is_implicit or entity in seen or target.domain not in NAME_DOMAINS or not looks_like_name(entity):
            continue
        seen[entity] = None
        if rng.random() >= share:
            continue
        pool = names.get(target.domain)
        new = rng.choice(pool) if pool and rng.random() < 0.6 else made_up_name(rng)
        if entity.islower():
            new = new.lower()
        for match in re.finditer(r"(?<!\w)" + re.escape(entity) + r"(?!\w)", group.text):
            edit = (match.start(), match.end(), new)
            overlaps = any(edit[0] < e and s < edit[1] for s, e, _ in edits)
            if not overlaps and not cuts_a_span(edit, spans):
                edits.append(edit)
    return apply_edits(group.text, spans, edits) if edits else (group.text, spans)


def add_typos(text: str, spans: list[Span], rng: random.Random) -> tuple[str, list[Span]]:
    """One or two slips outside the targets: a letter lost, doubled, or two swapped."""
    for _ in range(rng.choice((1, 1, 2))):
        places = [m for m in re.finditer(r"\w{5,}", text) if not any(m.start() < e and s < m.end() for s, e in spans)]
        if not places:
            return text, spans
        word = rng.choice(places)
        at = rng.randrange(word.start() + 1, word.end() - 2)
        kind = rng.random()
        if kind < 0.4:
            edit = (at, at + 1, "")
        elif kind < 0.6:
            edit = (at, at + 1, text[at] * 2)
        else:
            edit = (at, at + 2, text[at + 1] + text[at])
        text, spans = apply_edits(text, spans, [edit])
    return text, spans


def change_surface(text: str, spans: list[Span], lang: str, rng: random.Random, lowercase: bool) -> tuple[str, list[Span]]:
    """Case, final punctuation, accents, typos. Only changes that keep offsets true are made."""
    if rng.random() < 0.12 and text.rstrip()[-1:] in ".!?" and all(e < len(text.rstrip()) for _, e in spans):
        text = text.rstrip()[:-1].rstrip(".!? ") or text
        spans = [(s, min(e, len(text))) for s, e in spans]
    elif rng.random() < SHOUTED_SHARE and text.endswith(".") and not text.endswith("..") and all(e < len(text) for _, e in spans):
        text = text[:-1] + rng.choice(("!", "!!", "!!!"))
    if rng.random() < 0.05:
        text, spans = add_typos(text, spans, rng)
    if not lowercase:
        chance = rng.random()
        changed = text.lower() if chance < 0.12 else text.upper() if chance < 0.14 else text
        text = changed if len(changed) == len(text) else text
        if lang == "nl" and rng.random() < 0.06:
            plain = "".join(unicodedata.normalize("NFD", c)[0] for c in text)
            text = plain if len(plain) == len(text) else text
    return text, spans


def change_category(entity: str, lang: str, rng: random.Random) -> str:
    """A category as callers may write it: `SERVICE#GENERAL` → `service`, `bediening`, …"""
    text = entity.replace("#", " ").replace("_", " ").replace("/", " ")
    if rng.random() < 0.5:
        words = [word for word in text.split() if word.lower() not in ("general", "miscellaneous")]
        text = " ".join(words) or text
    if rng.random() < 0.6:
        text = text.lower()
    if lang == "nl" and rng.random() < 0.4:
        text = " ".join(DUTCH_CATEGORIES.get(word.lower(), word) for word in text.split())
    return text
