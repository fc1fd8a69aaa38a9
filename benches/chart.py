#!/usr/bin/env python3
"""Draws web/speed.svg, the chart of docs/performance.md, from the figures in benches/figures.json.

    python3 benches/chart.py            # writes the chart
    python3 benches/chart.py --check    # fails where the chart is not that of the figures
"""

import json
import sys
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "benches" / "figures.json"
CHART = ROOT / "web" / "speed.svg"

WIDTH = 720
LABELS = 250  # Width of the column of labels.
BAR = 20
STEP = 28
COLOURS = {"ink": "#1f2933", "faint": "#5f6b7a", "bar": "#2f6f9f", "ground": "#ffffff"}


def draw(charts: list[dict]) -> str:
    """The SVG with all charts."""
    parts, y = [], 14
    for chart in charts:
        y += 16
        parts.append(text(12, y, chart["title"], "ink", size=15, weight="bold"))
        y += 12
        longest = max(value for _, value in chart["bars"])
        for label, value in chart["bars"]:
            length = max(1, round((WIDTH - LABELS - 80) * value / longest))
            parts.append(text(LABELS, y + 15, label, "ink", anchor="end"))
            parts.append(f'<rect x="{LABELS + 10}" y="{y}" width="{length}" height="{BAR}" rx="2" fill="{COLOURS["bar"]}"/>')
            parts.append(text(LABELS + 16 + length, y + 15, f"{value:g}", "ink"))
            y += STEP
        parts.append(text(LABELS + 10, y + 8, chart["command"], "faint", size=11))
        y += 22
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">'
    ground = f'<rect width="{WIDTH}" height="{y}" fill="{COLOURS["ground"]}"/>'
    return "\n".join([head, "<title>Speed of sentor</title>", ground, *parts, "</svg>", ""])


def text(x: int, y: int, words: str, colour: str, size: int = 13, weight: str = "normal", anchor: str = "start") -> str:
    """One line of text."""
    return (
        f'<text x="{x}" y="{y}" font-family="sans-serif" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{COLOURS[colour]}">{escape(words)}</text>'
    )


def main() -> None:
    drawn = draw(json.loads(FIGURES.read_text(encoding="utf-8"))["charts"])
    if "--check" in sys.argv[1:]:
        if CHART.read_text(encoding="utf-8") != drawn:
            sys.exit(f"{CHART} is not the chart of {FIGURES}: run python3 benches/chart.py")
    else:
        CHART.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
