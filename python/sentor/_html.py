"""A result as HTML, for notebooks."""

from __future__ import annotations

from html import escape

from ._results import Mention, Result

# Readable on white and on black, and told apart by people who see no red or green: the sign says the same.
COLOURS = {"negative": "#d1495b", "neutral": "#8d99ae", "positive": "#2a9d8f"}
SIGNS = {"negative": "−", "neutral": "·", "positive": "+"}


class Page:
    """A result that notebooks show; `str()` gives the HTML."""

    def __init__(self, result: Result) -> None:
        self._result = result

    def _repr_html_(self) -> str:
        result = self._result
        rows = [row("text", result.sentiment, result.probabilities, "")]
        rows += [row(entity.entity, entity.sentiment, entity.probabilities, entity.match) for entity in result.entities]
        notes = "".join(f"<p><small>{escape(warning.message)}</small></p>" for warning in result.warnings)
        return (
            '<div class="sentor" style="max-width:60em;line-height:1.7">'
            f'<p style="white-space:pre-wrap">{marked(result)}</p>'
            f'<table><tbody>{"".join(rows)}</tbody></table>{notes}</div>'
        )

    def __str__(self) -> str:
        return self._repr_html_()

    def __repr__(self) -> str:
        return f"<{self._result.sentiment}: HTML of {len(self._repr_html_())} characters; shown in a notebook>"


def marked(result: Result) -> str:
    """The text with its mentions in colour. Of mentions that overlap, the one that starts first is marked."""
    mentions = [(mention, entity.entity) for entity in result.entities for mention in entity.mentions]
    parts: list[str] = []
    end = 0
    for mention, entity in sorted(mentions, key=lambda found: (found[0].start, -found[0].end)):
        if mention.start >= end:
            parts += [escape(result.text[end : mention.start]), mark(mention, entity)]
            end = mention.end
    return "".join([*parts, escape(result.text[end:])])


def mark(mention: Mention, entity: str) -> str:
    """A mention in the colour of its sentiment."""
    colour = COLOURS[mention.sentiment]
    percent = round(100 * getattr(mention.probabilities, mention.sentiment))
    title = escape(f"{entity}: {mention.sentiment} {percent} %", quote=True)
    style = f"background:{colour}33;border-bottom:2px solid {colour};border-radius:3px;padding:0 2px;color:inherit"
    return f'<mark style="{style}" title="{title}">{escape(mention.text)}<sup>{SIGNS[mention.sentiment]}</sup></mark>'


def row(name: str, sentiment: str, probabilities, match: str) -> str:
    """A row with the name, the label and a bar of the three probabilities."""
    shares = [(label, getattr(probabilities, label)) for label in COLOURS]
    bar = "".join(
        f'<span style="display:inline-block;height:.8em;width:{100 * share:.1f}%;background:{COLOURS[label]}" '
        f'title="{label} {round(100 * share)} %"></span>'
        for label, share in shares
    )
    cells = [f"<b>{escape(name)}</b>", escape(sentiment), f'<span style="display:inline-block;width:12em">{bar}</span>', match]
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"
