"""The chart of stage times: one bar a row, one piece a stage, in SVG."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from emo_edge.benchmarks.report.cells import clean, ms_text
from emo_edge.benchmarks.report.html.elements import Markup, joined, tag
from emo_edge.benchmarks.report.html.scatter import round_ticks
from emo_edge.benchmarks.report.latency_tables import reads, stage_names, timed_rows
from emo_edge.benchmarks.report.schema import Report

WIDTH, LEFT, RIGHT, HEIGHT, STEP, AXIS = 640, 8, 30, 26, 58, 36
PALETTE = 8
"""Colours of the page; letters distinguish stages of the same colour."""
FAR = 3.0
"""Ratio of bars from which the short ones are drawn once more, larger."""


@dataclass(frozen=True)
class Bar:
    """A row's stages in the order they run; medians in milliseconds."""

    name: str
    pieces: tuple[tuple[str, float], ...]
    total: float | None

    @property
    def length(self) -> float:
        """Milliseconds that the bar spans, the mark of the total with it."""
        return max(sum(ms for _, ms in self.pieces), self.total or 0.0)


def bars_of(report: Report) -> list[Bar]:
    """Return the rows that have stages."""
    stages, bars = [stage for stage in stage_names(report) if reads(stage)], []
    for _, row, latency in timed_rows(report):
        times = [(stage, latency.stages[stage].p50) for stage in stages if stage in latency.stages]
        pieces = tuple((stage, ms) for stage, ms in times if ms is not None)
        total = latency.total.p50 if latency.total else None
        if sum(ms for _, ms in pieces):
            named = "full precision" if row.kind == "reference" else clean(row.name)
            bars.append(Bar(named, pieces, total))
    return bars


def enlarged(bars: Sequence[Bar]) -> list[Bar]:
    """Return the bars that are too short next to the longest to be read; none where all are alike."""
    longest = max(bar.length for bar in bars)
    return [bar for bar in bars if bar.length * FAR <= longest]


def keys_of(bars: Sequence[Bar], stages: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Give each stage a letter and a colour, in the order of ``stages``."""
    present = {stage for bar in bars for stage, _ in bar.pieces}
    names = [stage for stage in stages if stage in present]
    letters = [*string.ascii_uppercase, *(str(number) for number in range(1, len(names)))]
    return {name: (letters[index], index % PALETTE) for index, name in enumerate(names)}


def stage_bars(bars: Sequence[Bar], keys: dict[str, tuple[str, int]], name: str) -> Markup:
    """Draw bars on one scale; ``name`` is the chart's own in the page."""
    longest = max(bar.length for bar in bars)
    scale = (WIDTH - LEFT - RIGHT) / longest
    height = STEP * len(bars) + AXIS
    drawn = [_axis(longest, scale, STEP * len(bars))]
    drawn += [_bar(bar, keys, scale, STEP * index) for index, bar in enumerate(bars)]
    title = tag("title", "Milliseconds of each stage", id=f"{name}-title")
    about = "; ".join(f"{bar.name}: " + ", ".join(f"{stage} {ms_text(ms)}" for stage, ms in bar.pieces) for bar in bars)
    return tag(
        "svg",
        title,
        tag("desc", about, id=f"{name}-desc"),
        *drawn,
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def legend(keys: dict[str, tuple[str, int]]) -> Markup:
    """Name the letters."""
    entries = [
        tag("li", tag("span", letter, class_=f"key hue{hue}"), f" {stage}") for stage, (letter, hue) in keys.items()
    ]
    return tag("ul", *entries, class_="legend")


def _axis(longest: float, scale: float, bottom: float) -> Markup:
    drawn = []
    for value in round_ticks(0, longest):
        x = LEFT + value * scale
        drawn.append(tag("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid"))
        text = f"{value:.4g}" if value else "0 ms"
        drawn.append(tag("text", text, x=x, y=bottom + 20, class_="tick", text_anchor="middle" if value else "start"))
    return joined(*drawn)


def _bar(bar: Bar, keys: dict[str, tuple[str, int]], scale: float, top: float) -> Markup:
    total = "" if bar.total is None else f", total {ms_text(bar.total)} ms at the median"
    name = bar.name if len(bar.name) <= 40 else f"{bar.name[:39]}…"
    drawn, x = [tag("text", f"{name}{total}", x=LEFT, y=top + 18, class_="label")], float(LEFT)
    for stage, ms in bar.pieces:
        letter, hue = keys[stage]
        width = ms * scale
        drawn.append(tag("rect", x=x, y=top + 25, width=width, height=HEIGHT, class_=f"piece hue{hue}"))
        full = f"{letter} {ms_text(ms)}"
        text = full if width > 8.5 * len(full) else letter if width > 15 else ""
        if text:
            drawn.append(tag("text", text, x=x + width / 2, y=top + 43, class_="on-piece", text_anchor="middle"))
        x += width
    if bar.total is not None:
        at = LEFT + bar.total * scale
        drawn.append(tag("path", d=f"M{at:.1f} {top + 22:.1f}v{HEIGHT + 6}", class_="mark"))
    return joined(*drawn)
