"""The chart of accuracy against time, in SVG that takes its colours from the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emo_edge.benchmarks.report.cells import clean, ms_text, percent_text, size_text
from emo_edge.benchmarks.report.html.elements import Markup, joined, tag
from emo_edge.benchmarks.report.html.label_placement import Box, Spot, place_labels
from emo_edge.benchmarks.report.schema import Report
from emo_edge.benchmarks.report.schema_types import Interval, Times

WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 18, 58
LARGEST_RADIUS, UNKNOWN_RADIUS = 26, 6
LOGARITHMIC = 4
"""Ratio of times from which their axis is logarithmic."""
LETTER = 7.4
"""Width of a character of a label, about, in the chart's units."""


@dataclass(frozen=True)
class Point:
    """A row of the chart."""

    name: str
    time: Times
    p50: float
    uar: Interval
    size: float | None
    reference: bool


@dataclass(frozen=True)
class Axis:
    """Positions of values on an axis."""

    at: Callable[[float], float]
    ticks: Sequence[float]
    logarithmic: bool = False


def points_of(report: Report) -> list[Point]:
    """Return the rows that have both a time and an accuracy."""
    points = []
    for row in report.rows:
        total, uar = row.latency and row.latency.total, row.accuracy and row.accuracy.uar
        if total and total.p50 is not None and uar:
            named = "full precision" if row.kind == "reference" else clean(row.name)
            points.append(Point(named, total, total.p50, uar, row.size_bytes, row.kind == "reference"))
    return points


def pareto(points: Sequence[Point]) -> Markup:
    """Draw UAR against p50 of a reading; whiskers are the interval of UAR and p50 to p90, areas the sizes."""
    across = time_axis([time for point in points for time in (point.p50, point.time.p90) if time is not None])
    up = fraction_axis([end for point in points for end in _ends(point.uar)])
    spots = [(across.at(point.p50), up.at(point.uar.value), radius(point, points)) for point in points]
    drawn = [_frame(across, up), _front(points, across, up)]
    drawn += [_whiskers(point, across, up) for point in points]
    drawn += [_bubble(point, *spot) for point, spot in zip(points, spots, strict=True)]
    drawn.append(_labels(points, spots, [line for point in points for line in _lines(point, across, up)]))
    title = tag("title", "UAR against time of a reading", id="pareto-title")
    about = tag("desc", described(points), id="pareto-desc")
    return tag(
        "svg",
        title,
        about,
        *drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby="pareto-title pareto-desc",
    )


def described(points: Sequence[Point]) -> str:
    """Return the content of the chart in words."""
    return "; ".join(
        f"{point.name}: {ms_text(point.p50)} ms, UAR {percent_text(point.uar)}"
        + (f", {size_text(point.size)}" if point.size is not None else ", size not known")
        for point in points
    )


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in both time and UAR, the fastest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda one: (one.p50, -one.uar.value)):
        if not kept or point.uar.value > kept[-1].uar.value:
            kept.append(point)
    return kept


def radius(point: Point, points: Sequence[Point]) -> float:
    """Size a bubble so that its area follows the bytes."""
    largest = max((one.size or 0.0 for one in points), default=0.0)
    if point.size is None or not largest:
        return UNKNOWN_RADIUS
    return max(2.5, LARGEST_RADIUS * math.sqrt(point.size / largest))


def time_axis(values: Sequence[float]) -> Axis:
    """Lay out milliseconds; logarithmic where they differ much."""
    low, high = min(values), max(values)
    start, span = LEFT + LARGEST_RADIUS + 4, WIDTH - LEFT - RIGHT - 2 * (LARGEST_RADIUS + 4)
    if low > 0 and high / low >= LOGARITHMIC:
        ratio = math.log(high / low)
        return Axis(lambda value: start + span * math.log(value / low) / ratio, log_ticks(low, high), True)
    low, high = low - 0.1 * (high - low or low or 1), high + 0.1 * (high - low or low or 1)
    low = max(low, 0.0)
    return Axis(lambda value: start + span * (value - low) / (high - low), round_ticks(low, high))


def fraction_axis(values: Sequence[float]) -> Axis:
    """Lay out fractions from bottom to top."""
    pad = 0.12 * (max(values) - min(values)) or 0.02
    low, high = max(min(values) - pad, 0.0), min(max(values) + pad, 1.0)
    # Space for a bubble whose middle is at the very end.
    span = HEIGHT - TOP - BOTTOM - 2 * 14
    return Axis(lambda value: TOP + 14 + span * (high - value) / (high - low), round_ticks(low, high))


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers between two values, about ``count``."""
    rough = (high - low) / count
    scale = 10 ** math.floor(math.log10(rough))
    step = scale * next(factor for factor in (1, 2, 5, 10) if factor * scale >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 of every power of ten between two values; of more than eight, the powers alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [value for value in ticks if low * 0.9 <= value <= high * 1.1]
    return inside if len(inside) <= 8 else [10.0**power for power in powers if low <= 10.0**power <= high]


def _ends(interval: Interval) -> list[float]:
    return [interval.value, *(end for end in (interval.low, interval.high) if end is not None)]


def _frame(across: Axis, up: Axis) -> Markup:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    drawn = []
    for value in up.ticks:
        drawn.append(tag("line", x1=LEFT, x2=right, y1=up.at(value), y2=up.at(value), class_="grid"))
        text = f"{100 * value:.4g} %"
        drawn.append(tag("text", text, x=LEFT - 8, y=up.at(value) + 5, class_="tick", text_anchor="end"))
    for value in across.ticks:
        drawn.append(tag("line", x1=across.at(value), x2=across.at(value), y1=bottom, y2=bottom + 5, class_="axis"))
        drawn.append(
            tag("text", f"{value:.4g}", x=across.at(value), y=bottom + 21, class_="tick", text_anchor="middle")
        )
    drawn.append(tag("line", x1=LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
    scale = ", logarithmic" if across.logarithmic else ""
    below = f"milliseconds of a reading, p50 (left is faster{scale})"
    middle, high = (LEFT + right) / 2, (TOP + bottom) / 2
    drawn.append(tag("text", below, x=middle, y=HEIGHT - 12, class_="title", text_anchor="middle"))
    rotation = f"rotate(-90 14 {high:.0f})"
    label = "UAR (up is better)"
    drawn.append(tag("text", label, x=14, y=high, transform=rotation, class_="title", text_anchor="middle"))
    return joined(*drawn)


def _front(points: Sequence[Point], across: Axis, up: Axis) -> Markup:
    corners: list[tuple[float, float]] = []
    for point in front(points):
        x, y = across.at(point.p50), up.at(point.uar.value)
        corners += [(x, corners[-1][1]), (x, y)] if corners else [(x, y)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return tag("polyline", points=path, class_="front") if len(corners) > 1 else Markup("")


def _whiskers(point: Point, across: Axis, up: Axis) -> Markup:
    x, y, drawn = across.at(point.p50), up.at(point.uar.value), []
    if point.uar.low is not None and point.uar.high is not None:
        low, high = up.at(point.uar.low), up.at(point.uar.high)
        drawn.append(
            tag(
                "path",
                d=f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8",
                class_="whisker",
            )
        )
    if point.time.p90 is not None:
        end = across.at(point.time.p90)
        drawn.append(tag("path", d=f"M{x:.1f} {y:.1f}H{end:.1f}M{end:.1f} {y - 4:.1f}v8", class_="whisker"))
    return joined(*drawn)


def _bubble(point: Point, x: float, y: float, size: float) -> Markup:
    named = "bubble reference" if point.reference else "bubble"
    ring = tag("circle", cx=x, cy=y, r=size, class_=f"{named} unknown" if point.size is None else named)
    if point.reference:
        return joined(ring, tag("rect", x=x - 4, y=y - 4, width=8, height=8, class_="heart"))
    return joined(ring, tag("circle", cx=x, cy=y, r=3.5, class_="heart"))


def _lines(point: Point, across: Axis, up: Axis) -> tuple[Box, Box]:
    x, y, ends = across.at(point.p50), up.at(point.uar.value), [up.at(end) for end in _ends(point.uar)]
    right = x if point.time.p90 is None else across.at(point.time.p90)
    return Box(x - 4, min(ends), x + 4, max(ends)), Box(x, y - 4, right, y + 4)


def _labels(points: Sequence[Point], spots: Sequence[Spot], lines: Sequence[Box]) -> Markup:
    texts = [point.name if len(point.name) <= 24 else f"{point.name[:23]}…" for point in points]
    room = Box(LEFT, TOP - 8, WIDTH - RIGHT + 12, HEIGHT - BOTTOM - 2)
    boxes = place_labels([LETTER * len(text) for text in texts], spots, room, lines)
    drawn = []
    for text, (x, y, size), box in zip(texts, spots, boxes, strict=True):
        near = (min(max(x, box.left), box.right), min(max(y, box.top), box.bottom))
        if math.dist(near, (x, y)) > size + 10:
            drawn.append(tag("line", x1=x, y1=y, x2=near[0], y2=near[1], class_="leader"))
        drawn.append(
            tag("text", text, x=(box.left + box.right) / 2, y=box.bottom - 4, class_="label", text_anchor="middle")
        )
    return joined(*drawn)
