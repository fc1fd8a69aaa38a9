"""Scores the targets of a data file with any model: each text is one window, with all its targets in one row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from tokenizers import Tokenizer

from .batches import pad_rows
from .data import LABELS, read_targets
from .names import hidden_places
from .rows import Row, SpecialTokens, encode_row

# (ids, attention, span_row, span_start, span_end) → logits
Runner = Callable[..., np.ndarray]


@dataclass
class Scored:
    """Logits and gold labels of a file's targets, in file order; `texts` numbers the text of each."""

    logits: np.ndarray
    gold: np.ndarray
    texts: np.ndarray


def centred(row: Row, limit: int, special: SpecialTokens) -> Row:
    """Cut a row with one span to `limit` tokens around that span (texts beyond the model's positions)."""
    (start, end), = row.spans
    window_end = row.ids.index(special.sep)
    room = limit - 2 - (len(row.ids) - window_end - 1)
    if start > window_end:
        kept = row.ids[1 : 1 + room]
        moved = start - (window_end - 1 - len(kept))
        return Row([special.cls, *kept, *row.ids[window_end:]], [(moved, moved + end - start)])
    low = max(1, min(start - room // 2, window_end - room))
    kept = row.ids[low : low + room]
    return Row([special.cls, *kept, *row.ids[window_end:]], [(start - low + 1, min(end - low + 1, len(kept)))])


def encode_file(path: Path, tokenizer: Tokenizer, limit: int, aspect_words: frozenset[str] | None, first_texts: int | None = None) -> tuple[list[Row], list[list[int]], np.ndarray]:
    """Rows of a data file, the record numbers of each row's spans, and the gold labels by record.

    Names are hidden, unless there are no aspect words to tell them by.
    """
    special = SpecialTokens.of(tokenizer)
    by_text: dict[str, list[tuple[int, dict]]] = {}
    gold = []
    for number, record in enumerate(read_targets(path)):
        by_text.setdefault(record["text"], []).append((number, record))
        gold.append(LABELS.index(record["label"]))
    rows, numbers = [], []
    for text, records in list(by_text.items())[:first_texts]:
        records = sorted(records, key=lambda item: item[1]["start"] < 0)
        spans = [(r["start"], r["end"]) for _, r in records if r["start"] >= 0]
        implicit = [r["entity"] for _, r in records if r["start"] < 0]
        hidden = hidden_places(text, ((r["entity"], (r["start"], r["end"])) for _, r in records if r["start"] >= 0), aspect_words)
        row, _ = encode_row(tokenizer, special, text, spans, implicit, hidden)
        if len(row.ids) <= limit:
            rows.append(row)
            numbers.append([number for number, _ in records])
            continue
        for number, record in records:
            one = [(record["start"], record["end"])] if record["start"] >= 0 else []
            row, _ = encode_row(tokenizer, special, text, one, [] if one else [record["entity"]], hidden)
            rows.append(centred(row, limit, special) if len(row.ids) > limit else row)
            numbers.append([number])
    return rows, numbers, np.array(gold)


def score_rows(rows: list[Row], run: Runner, pad: int, batch_tokens: int = 4000, multiple: int = 1) -> list[np.ndarray]:
    """Logits of each row's spans; rows of similar length go together."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))
    results: list[np.ndarray] = [np.empty((0, 3))] * len(rows)
    at = 0
    while at < len(order):
        size = 1
        while at + size < len(order) and (size + 1) * len(rows[order[at + size]].ids) <= batch_tokens:
            size += 1
        chosen = order[at : at + size]
        logits = run(*pad_rows([rows[i] for i in chosen], pad, multiple))
        done = 0
        for index in chosen:
            count = len(rows[index].spans)
            results[index] = logits[done : done + count]
            done += count
        at += size
    return results


def score_file(path: Path, tokenizer: Tokenizer, run: Runner, aspect_words: frozenset[str] | None, limit: int = 512, first_texts: int | None = None) -> Scored:
    """Score every target of a file (or those of its first texts); names are masked if aspect words are given."""
    rows, numbers, gold = encode_file(path, tokenizer, limit, aspect_words, first_texts)
    logits = np.full((len(gold), 3), np.nan, dtype=np.float32)
    texts = np.zeros(len(gold), dtype=np.int64)
    for text, (records, values) in enumerate(zip(numbers, score_rows(rows, run, SpecialTokens.of(tokenizer).pad))):
        logits[records] = values
        texts[records] = text
    scored = ~np.isnan(logits[:, 0])
    return Scored(logits[scored], gold[scored], texts[scored])


def torch_runner(model: torch.nn.Module) -> Runner:
    """Run a torch model without gradients."""

    device = next(model.parameters()).device

    def run(*tensors: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            return model(*(tensor.to(device) for tensor in tensors)).float().cpu().numpy()

    return run
