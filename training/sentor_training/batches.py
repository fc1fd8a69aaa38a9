"""Turns groups into padded training batches: sampling, packing, augmentation, length buckets.

Everything random is derived from (seed, epoch, pool), so a run goes on exactly where it stopped.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from dataclasses import dataclass, field, fields, replace
from typing import Iterator

import torch
from tokenizers import Tokenizer

from .augment import NAME_DOMAINS, change_category, change_surface, looks_like_name, swap_names
from .data import Group, Target
from .names import hidden_places, is_name
from .recipes import Recipe, copies_of
from .rows import Row, Span, SpecialTokens, encode_row

PACKED_SHARE = 0.3
# Of packed texts, those joined as clauses of one sentence: a distractor beside the target, as adversarial sets add it.
JOINED_SHARE = 0.35
# How far to look for a text of the same language and domain to pack with.
PARTNERS_SEEN = 60
SWAPPED_SHARE = 0.35
EXPLICIT_AS_IMPLICIT_SHARE = 0.15
# Weight of a text's own label beside the 1 of a target, and of the label that all its targets share where it has none.
WHOLE_WEIGHT = 0.8
SENTENCE_WEIGHT = 0.5
# Of a word that only teachers have judged; a text has up to eight.
DENSE_WEIGHT = 0.25
LONE_NEUTRAL_SENTENCE_WEIGHT = 0.2
# Of twins whose text ends in a full stop, those that end in another way.
OTHER_END_SHARE = 0.4
OTHER_ENDS = ("!", "!!", "!!!", "")
POOL_ROWS = 1500
LONG_TEXT_WORDS = 80
CONJUNCTIONS = {
    "en": (", but ", ", and ", ", although ", "; ", ", while ", ", yet ", " - "),
    "nl": (", maar ", ", en ", ", hoewel ", "; ", ", terwijl ", ", al ", " - "),
}


# Probabilities of negative, neutral, positive.
Distribution = list[float]

# A row, the distributions its spans are to learn and their weights.
Encoded = tuple[Row, list[Distribution], list[float]]


@dataclass
class Labelled:
    """One row's text, its spans (sentences, mentions), its appended entities, wanted distributions and weights in that order."""

    text: str = ""
    spans: list[Span] = field(default_factory=list)
    wanted: list[Distribution] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    implicit: list[str] = field(default_factory=list)
    implicit_wanted: list[Distribution] = field(default_factory=list)
    implicit_weights: list[float] = field(default_factory=list)
    # Where the text has names that the model is not to see.
    hidden: list[Span] = field(default_factory=list)


@dataclass
class Batch:
    """Tensors of one training step; `wanted` [spans, 3] holds the distributions to learn."""

    ids: torch.Tensor
    attention: torch.Tensor
    span_row: torch.Tensor
    span_start: torch.Tensor
    span_end: torch.Tensor
    wanted: torch.Tensor
    weights: torch.Tensor
    # [pairs, 2]: spans that must get the same answer, of a row and of its twin.
    twins: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


def pad_rows(rows: list[Row], pad: int, multiple: int = 1) -> tuple[torch.Tensor, ...]:
    """ids, attention, span_row, span_start, span_end of rows padded to their longest (rounded up)."""
    width = max(len(row.ids) for row in rows)
    width += -width % multiple
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    attention = torch.zeros_like(ids)
    spans = []
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        attention[index, : len(row.ids)] = 1
        spans += [(index, start, end) for start, end in row.spans]
    columns = torch.tensor(spans, dtype=torch.long).reshape(-1, 3)
    return ids, attention, columns[:, 0], columns[:, 1], columns[:, 2]


def crop(group: Group, rng: random.Random) -> Group:
    """Cut a long text to the sentences (or words) round one of its targets."""
    if len(group.text.split()) <= LONG_TEXT_WORDS:
        return group
    explicit = [t for t in group.targets if not t.is_implicit and not t.is_dense]
    if not explicit:
        return group
    centre = rng.choice(explicit)
    ends = [m.end() for m in re.finditer(r"[.!?]+[\"')\]]*\s+|\n+", group.text)] + [len(group.text)]
    pieces = list(zip([0, *ends[:-1]], ends))
    low = next(i for i, (s, e) in enumerate(pieces) if s <= centre.start < e)
    high = next((i for i, (s, e) in enumerate(pieces) if e >= centre.end), low)
    words = lambda a, b: len(group.text[pieces[a][0] : pieces[b][1]].split())
    while True:
        grow = [(a, b) for a, b in ((low - 1, high), (low, high + 1)) if a >= 0 and b < len(pieces) and words(a, b) <= LONG_TEXT_WORDS]
        if not grow:
            break
        low, high = rng.choice(grow)
    start, end = pieces[low][0], pieces[high][1]
    if words(low, high) > LONG_TEXT_WORDS:
        spaces = [m.start() + 1 for m in re.finditer(r"\s", group.text)]
        before = [start, *(s for s in spaces if start < s <= centre.start)]
        after = [*(s - 1 for s in spaces if centre.end < s <= end), end]
        start, end = before[max(0, len(before) - LONG_TEXT_WORDS // 2)], after[min(len(after) - 1, LONG_TEXT_WORDS // 2)]
    kept = [t for t in group.targets if t.is_implicit or (start <= t.start and t.end <= end)]
    shifted = [t if t.is_implicit else replace(t, start=t.start - start, end=t.end - start) for t in kept]
    whole = (group.whole, group.whole_soft) if (start, end) == (0, len(group.text)) else (None, None)
    return Group(group.text[start:end], group.lang, shifted, *whole)


def partner(group: Group, waiting: list[Group]) -> int:
    """The index of a waiting group that could stand in the same review or article; of any where none is near."""
    kind = lambda some: (some.lang, some.targets[0].domain if some.targets else "")
    first = max(0, len(waiting) - PARTNERS_SEEN)
    near = (i for i in range(len(waiting) - 1, first - 1, -1) if kind(waiting[i]) == kind(group))
    return next(near, len(waiting) - 1)


class Sampler:
    """Endless, resumable stream of batches; `position` says where it is."""

    def __init__(self, groups: list[Group], recipe: Recipe, tokenizer: Tokenizer, aspect_words: frozenset[str], seed: int) -> None:
        self.aspect_words = aspect_words
        self.groups, self.recipe, self.tokenizer, self.seed = groups, recipe, tokenizer, seed
        self.special = SpecialTokens.of(tokenizer)
        # A text with a label of its own alone, without targets, is met once.
        self.copies = [max((copies_of(recipe, t.dataset) for t in g.targets if not t.is_dense), default=1.0) for g in groups]
        mass = [0.0, 0.0, 0.0]
        names: dict[str, set[str]] = defaultdict(set)
        for group, copies in zip(groups, self.copies):
            for target in (target for target in group.targets if not target.is_dense):
                mass[target.label] += copies
                if not target.is_implicit and target.domain in NAME_DOMAINS and looks_like_name(target.entity) and len(target.entity) < 30:
                    names[target.domain].add(target.entity)
        self.class_weights = [(sum(mass) / 3 / m) ** recipe.class_balance if m else 1.0 for m in mass]
        self.names = {domain: sorted(found) for domain, found in names.items()}
        self.position = {"epoch": 0, "pool": 0, "batch": 0}

    def __iter__(self) -> Iterator[Batch]:
        while True:
            order = self._epoch_order()
            pools = max(1, len(order) // POOL_ROWS)
            while self.position["pool"] < pools:
                pool = self.position["pool"]
                chosen = order[pool * POOL_ROWS : (pool + 1) * POOL_ROWS]
                for batch in self._batches(chosen)[self.position["batch"] :]:
                    self.position["batch"] += 1
                    yield batch
                self.position.update(pool=pool + 1, batch=0)
            self.position.update(epoch=self.position["epoch"] + 1, pool=0, batch=0)

    def _epoch_order(self) -> list[int]:
        rng = random.Random(f"{self.seed}-{self.position['epoch']}")
        order = []
        for index, copies in enumerate(self.copies):
            order += [index] * (int(copies) + (rng.random() < copies % 1))
        rng.shuffle(order)
        return order

    def _batches(self, chosen: list[int]) -> list[Batch]:
        rng = random.Random(f"{self.seed}-{self.position['epoch']}-{self.position['pool']}")
        units: list[list[Encoded]] = []
        waiting = [self.groups[index] for index in chosen]
        while waiting:
            packed = [waiting.pop()]
            if waiting and rng.random() < PACKED_SHARE:
                packed.append(waiting.pop(partner(packed[0], waiting)))
                if waiting and rng.random() < 0.3:
                    packed.append(waiting.pop(partner(packed[0], waiting)))
            labelled = self._labelled(packed, rng)
            row = self._encode(labelled)
            if row and len(row[0].ids) > self.recipe.max_tokens and len(packed) > 1:
                alone = [self._encode(self._labelled([group], rng)) for group in packed]
                units += [[r] for r in alone if r and len(r[0].ids) <= self.recipe.max_tokens + 64]
            elif row and len(row[0].ids) <= self.recipe.max_tokens + 64:
                units.append([row])
                twin = self._twin(labelled, rng) if rng.random() < self.recipe.twin_share else None
                if twin and len(twin[0].spans) == len(row[0].spans):
                    units[-1].append(twin)
        length = lambda unit: max(len(row[0].ids) for row in unit)
        units.sort(key=lambda unit: (length(unit), rng.random()))
        batches, current = [], []
        for unit in units:
            if current and (sum(map(len, current)) + len(unit)) * length(unit) > self.recipe.batch_tokens:
                batches.append(self._collate(current))
                current = []
            current.append(unit)
        if current:
            batches.append(self._collate(current))
        rng.shuffle(batches)
        return batches

    def _labelled(self, packed: list[Group], rng: random.Random) -> Labelled:
        """Augment each text on its own, then join them into one window."""
        out = Labelled()
        for group in packed:
            group = crop(group, rng)
            hidden = self._hidden_targets(group, rng)
            text, spans = swap_names(group, self.names, rng, SWAPPED_SHARE)
            text, spans = change_surface(text, spans, group.lang, rng, self.recipe.lowercase)
            if out.text:
                text = self._join(out, text, spans, group.lang, rng)
            base = len(out.text)
            given = [target for target in group.targets if not target.is_dense]
            labels = {t.label for t in given}
            if (group.whole is not None or group.whole_soft) and text.strip():
                out.spans.append((base, base + len(text)))
                out.wanted.append(self._mixed(group.whole, group.whole_soft))
                out.weights.append(WHOLE_WEIGHT)
            elif len(labels) == 1 and text.strip():
                lone_neutral = labels == {1} and len(given) == 1
                out.spans.append((base, base + len(text)))
                means = [sum(values) / len(given) for values in zip(*(self._wanted(t) for t in given))]
                out.wanted.append(means)
                out.weights.append(LONE_NEUTRAL_SENTENCE_WEIGHT if lone_neutral else SENTENCE_WEIGHT)
            explicit = [target.entity for target in group.targets if not target.is_implicit]
            named = [pair for pair in zip(explicit, spans) if pair[0] in hidden]
            places = hidden_places(text, named, self.aspect_words)
            out.hidden += [(base + start, base + end) for start, end in places]
            moved = iter(spans)
            for target in group.targets:
                if target.is_implicit:
                    if len(packed) == 1:
                        self._append(out, change_category(target.entity, group.lang, rng), self._wanted(target), 1.0)
                    continue
                start, end = next(moved)
                out.spans.append((base + start, base + end))
                out.wanted.append(self._wanted(target))
                out.weights.append(DENSE_WEIGHT if target.is_dense else 1.0)
                if target.is_dense:
                    continue
                is_hidden = target.entity in hidden and is_name(target.entity, self.aspect_words)
                if target.entity and not is_hidden and rng.random() < EXPLICIT_AS_IMPLICIT_SHARE:
                    self._append(out, text[start:end], self._wanted(target), 0.5)
            out.text += text
        return out

    def _twin(self, row: Labelled, rng: random.Random) -> Encoded | None:
        """The same row with no name hidden, and perhaps with another end; nothing where neither makes a difference."""
        end = rng.choice(OTHER_ENDS) if rng.random() < OTHER_END_SHARE else "."
        if not row.text.endswith(".") or row.text.endswith("..") or any(place[1] == len(row.text) for place in row.hidden):
            end = "."
        if end == "." and not row.hidden:
            return None
        text = row.text if end == "." else row.text[:-1] + end
        spans = [(start, stop if stop < len(row.text) else len(text)) for start, stop in row.spans]
        return self._encode(replace(row, text=text, spans=spans, hidden=[]))

    def _hidden_targets(self, group: Group, rng: random.Random) -> set[str]:
        """Entities whose names are hidden: of most texts all, of the others each with even chance.

        The label of a text, and of each of its targets, is the same whichever of its names are hidden.
        """
        hides_all = rng.random() < self.recipe.hidden_share
        return {target.entity for target in group.targets if not target.is_implicit and (hides_all or rng.random() < 0.5)}

    @staticmethod
    def _join(row: Labelled, text: str, spans: list[Span], lang: str, rng: random.Random) -> str:
        """Put a space or a conjunction behind the row's text; returns the next text as it goes on."""
        stem = row.text.rstrip().rstrip(".!")
        if rng.random() >= JOINED_SHARE or not stem or any(end > len(stem) for _, end in row.spans[1:]):
            row.text += " "
            return text
        row.text = stem
        row.spans = [(start, min(end, len(stem))) for start, end in row.spans]
        row.text += rng.choice(CONJUNCTIONS[lang])
        begins_a_name = any(start == 0 for start, _ in spans)
        if not begins_a_name and text[:1].isupper() and text[1:2].islower():
            text = text[0].lower() + text[1:]
        return text

    @staticmethod
    def _append(row: Labelled, entity: str, wanted: Distribution, weight: float) -> None:
        row.implicit.append(entity)
        row.implicit_wanted.append(wanted)
        row.implicit_weights.append(weight)

    def _smoothed(self, label: int) -> Distribution:
        """A label as probabilities, smoothed."""
        smoothing = self.recipe.label_smoothing
        return [smoothing / 3 + (1 - smoothing) * (label == other) for other in range(3)]

    def _mixed(self, label: int | None, soft: Distribution | None) -> Distribution:
        """Probabilities to learn: a label, smoothed, and what teachers say, where there are both; else the one there is."""
        if label is None or soft is None:
            return soft if label is None else self._smoothed(label)
        share = self.recipe.soft_share
        return [(1 - share) * own + share * theirs for own, theirs in zip(self._smoothed(label), soft)]

    def _wanted(self, target: Target) -> Distribution:
        """Probabilities to learn for a target."""
        return self._mixed(None if target.is_dense else target.label, target.soft)

    def _encode(self, row: Labelled) -> Encoded | None:
        encoded, found = encode_row(self.tokenizer, self.special, row.text, row.spans, row.implicit, row.hidden)
        wanted, weights = row.wanted + row.implicit_wanted, row.weights + row.implicit_weights
        kept = [i for i, exists in enumerate(found) if exists]
        if not kept:
            return None
        encoded.spans = [encoded.spans[i] for i in kept]
        # A span weighs as much as the classes that it is to learn.
        of_classes = [sum(p * w for p, w in zip(wanted[i], self.class_weights)) for i in kept]
        return encoded, [wanted[i] for i in kept], [weights[i] * by_class for i, by_class in zip(kept, of_classes)]

    def _collate(self, units: list[list[Encoded]]) -> Batch:
        rows = [row for unit in units for row in unit]
        tensors = pad_rows([row for row, _, _ in rows], self.special.pad)
        wanted = torch.tensor([distribution for _, of_row, _ in rows for distribution in of_row])
        weights = torch.tensor([weight for _, _, weights in rows for weight in weights])
        twins: list[tuple[int, int]] = []
        first = 0
        for unit in units:
            spans = len(unit[0][1])
            if len(unit) > 1:
                twins += [(first + i, first + spans + i) for i in range(spans)]
            first += spans * len(unit)
        return Batch(*tensors, wanted, weights, torch.tensor(twins, dtype=torch.long).reshape(-1, 2))
