"""Row layout: a window and its appended entities as token ids, and spans of characters as spans of tokens.

    [CLS] window [SEP] entity1 [SEP] entity2 [SEP] ...

The segment of a token is the number of [SEP] strictly before it; segments other than 0 see
themselves and segment 0 alone, so a score never depends on which entities are appended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable

from tokenizers import Tokenizer

Span = tuple[int, int]

# A text is in capitals if it has at least this many letters, and at least this share of them is in capitals.
LEAST_LETTERS = 8
LEAST_SHARE_OF_CAPITALS = 0.7


@dataclass
class Row:
    """Token ids and inclusive token spans, ready to be padded."""

    ids: list[int]
    spans: list[Span]


def load_tokenizer(path: str) -> Tokenizer:
    """A tokenizer that adds nothing, cuts nothing, and takes a typed "[SEP]" for plain text."""
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def quieten(text: str) -> str:
    """Lower-case a text in capitals, keeping its length in characters and bytes; return any other text unchanged."""
    cased = [c for c in text if c.lower() != c.upper()]
    if len(cased) < LEAST_LETTERS or sum(c.isupper() for c in cased) < LEAST_SHARE_OF_CAPITALS * len(cased):
        return text
    return "".join(c.lower() if len(c.lower()) == 1 and len(c.lower().encode()) == len(c.encode()) else c for c in text)


def tokens_of_span(offsets: list[Span], start: int, end: int) -> Span | None:
    """First and last token (inclusive) whose characters intersect [start, end), or none."""
    first = last = None
    for index, (token_start, token_end) in enumerate(offsets):
        if token_start < end and token_end > start:
            if first is None:
                first = index
            last = index
    return None if first is None else (first, last)


def hide(ids: list[int], offsets: list[Span], hidden: Iterable[Span], mask: int) -> tuple[list[int], list[Span]]:
    """Tokens with one `mask` for those that a range of characters touches; ranges that overlap or share a token become one."""
    touched = sorted(span for span in (tokens_of_span(offsets, *place) for place in hidden) if span is not None)
    out_ids: list[int] = []
    out_offsets: list[Span] = []
    done = 0
    for first, last in touched:
        if first < done:  # goes on where the last one was hidden
            if last >= done:
                out_offsets[-1] = (out_offsets[-1][0], offsets[last][1])
        else:
            out_ids += [*ids[done:first], mask]
            out_offsets += [*offsets[done:first], (offsets[first][0], offsets[last][1])]
        done = max(done, last + 1)
    return out_ids + ids[done:], out_offsets + offsets[done:]


def implicit_text(entity: str) -> str:
    """The text of an entity behind the separator: `SERVICE#GENERAL` → `SERVICE GENERAL`."""
    return entity.replace("#", " ").replace("_", " ")


def layout(window: list[int], entities: list[list[int]], cls: int, sep: int) -> tuple[list[int], list[Span | None]]:
    """Token ids of a row, and the token span of each appended entity (none where it is empty)."""
    ids = [cls, *window, sep]
    spans: list[Span | None] = []
    for entity in entities:
        spans.append((len(ids), len(ids) + len(entity) - 1) if entity else None)
        if entity:
            ids.extend(entity)
            ids.append(sep)
    return ids, spans


def segments_and_positions(ids: list[int], sep: int) -> tuple[list[int], list[int]]:
    """Reference implementation of the graph's layout: segment and position of each token."""
    segments, positions = [], []
    segment = start = 0
    first_length = ids.index(sep) + 1
    for index, token in enumerate(ids):
        segments.append(segment)
        positions.append(index if segment == 0 else first_length + index - start)
        if token == sep:
            segment += 1
            start = index + 1
    return segments, positions


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the special tokens of a vocabulary."""

    cls: int
    sep: int
    pad: int
    mask: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "SpecialTokens":
        ids = [tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[PAD]", "[MASK]")]
        return cls(*ids)


def encode_row(tokenizer: Tokenizer, special: SpecialTokens, text: str, spans: list[Span], implicit: list[str], hidden: Iterable[Span] = ()) -> tuple[Row, list[bool]]:
    """Encode one window, in small letters if it is in capitals, with a mask in place of what is `hidden`. The row's spans are first `spans`, then `implicit`; the flags say which exist.

    A span without a token (only spaces, say) gets (0, 0) and the flag False.
    """
    window = tokenizer.encode(quieten(text), add_special_tokens=False)
    window_ids, offsets = hide(window.ids, window.offsets, hidden, special.mask)
    entities = [tokenizer.encode(implicit_text(e), add_special_tokens=False).ids for e in implicit]
    ids, entity_spans = layout(window_ids, entities, special.cls, special.sep)
    token_spans: list[Span] = []
    found: list[bool] = []
    for start, end in spans:
        span = tokens_of_span(offsets, start, end)
        token_spans.append((0, 0) if span is None else (span[0] + 1, span[1] + 1))
        found.append(span is not None)
    for span in entity_spans:
        token_spans.append(span or (0, 0))
        found.append(span is not None)
    return Row(ids, token_spans), found
