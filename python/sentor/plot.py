"""Charts; needs matplotlib (`pip install 'sentor[plot]'`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ._html import COLOURS
from ._results import Failed, Result

__all__ = ["entities"]


def entities(data: Any, *, most: int = 20, column: str = "entity_sentiments", ax: Any = None) -> Any:
    """Draw for each entity the share of texts that are negative, neutral and positive about it, and return the axes.

    Parameters
    ----------
    data
        What `Scorer.score` returned for several texts, or a table of `Scorer.score_arrow`: a data frame of pandas or Polars, or
        a table of pyarrow.
    most
        Entities to show at most: those of the most texts.
    column
        Column of the scores, with the prefix that was given.
    ax
        Axes to draw on, of matplotlib; new ones if there are none.

    Examples
    --------
    >>> results = sentor.Scorer().score(["Great phone.", "Poor phone."], entities=["phone"])
    >>> axes = sentor.plot.entities(results)
    >>> axes.get_title()
    'Sentiment by entity, 2 texts'
    """
    import matplotlib.pyplot as plt

    counts, texts = count(data, column)
    if not counts:
        raise ValueError("there are no entities to draw; score with entities=…")
    names = sorted(counts, key=lambda name: (-sum(counts[name].values()), name))[:most][::-1]
    axes = ax if ax is not None else plt.subplots(figsize=(8, 1 + 0.4 * len(names)), layout="constrained")[1]
    left = [0.0] * len(names)
    for label, colour in COLOURS.items():
        shares = [100 * counts[name][label] / sum(counts[name].values()) for name in names]
        bars = axes.barh(names, shares, left=left, color=colour, label=label)
        axes.bar_label(bars, [f"{share:.0f} %" if share >= 8 else "" for share in shares], label_type="center", color="white")
        left = [before + share for before, share in zip(left, shares)]
    axes.set_yticks(range(len(names)), [f"{name} ({sum(counts[name].values())})" for name in names])
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the texts, %")
    axes.set_title(f"Sentiment by entity, {texts} texts")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def count(data: Any, column: str) -> tuple[dict[str, dict[str, int]], int]:
    """For each entity the number of texts with each label, and the number of texts."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COLOURS, 0))
    texts = 0
    for found in rows(data, column):
        texts += 1
        for name, label in found:
            counts[name][label] += 1
    return counts, texts


def rows(data: Any, column: str) -> Iterable[list[tuple[str, str]]]:
    """For each text its entities with their labels."""
    if isinstance(data, (Result, Failed)):
        data = [data]
    names = getattr(data, "column_names", None) or getattr(data, "columns", None)
    if names is not None:
        if column not in list(names):
            raise ValueError(f"there is no column {column!r}; draw a table that score_arrow has scored")
        data = data[column]
        data = data.to_pylist() if hasattr(data, "to_pylist") else list(data)
        for cell in data:
            yield [] if cell is None else [(found["entity"], found["sentiment"]) for found in cell if isinstance(found, Mapping)]
        return
    for result in data:
        yield [(found.entity, found.sentiment) for found in result.entities] if isinstance(result, Result) else []
