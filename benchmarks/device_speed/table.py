"""Times of engines compared with PyTorch, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emo_edge.benchmarks.device_speed.rounds import EAGER, Row
from emo_edge.benchmarks.measure.timing import distribution

STAGES = {
    "vision": "vision tower",
    "connector": "connector",
    "face": "face network",
    "au": "network of action units",
    "prefill": "prefill",
    "labels": "prefill and label scores",
    "decode": "a token of an answer",
}


@dataclass(frozen=True)
class Ratio:
    """A time divided by another: median of the quotients round by round, tenth and ninetieth percentile."""

    value: float
    low: float
    high: float


def table(rows: Sequence[Row]) -> str:
    """Write the measured rows as Markdown, and below them those that were not measured, with the reason."""
    lines = [
        "| stage | engine | device | precision | ms (p10–p90) | beside eager PyTorch's first precision (p10–p90) "
        "| beside its fastest | nearness |",
        "|---|---|---|---|---|---|---|---|",
        *(_line(row, rows) for row in rows if not row.problem),
    ]
    missing: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.problem:
            missing.setdefault((row.engine, row.device, row.problem), []).append(f"{row.stage} {row.precision}")
    if missing:
        lines += ["", "Not measured:"]
        lines += [
            f"- {engine} on {device} ({', '.join(what)}): {why}" for (engine, device, why), what in missing.items()
        ]
    return "\n".join(lines)


def ratio(row: Row, base: Row) -> Ratio:
    """Divide the times of a row by another's of the same rounds."""
    quotients = np.array(row.times_ms) / np.array(base.times_ms)
    low, value, high = np.percentile(quotients, (10, 50, 90))
    return Ratio(float(value), float(low), float(high))


def eager_rows(rows: Sequence[Row], row: Row) -> list[Row]:
    """Return PyTorch's eager rows of the same stage and processor, its first precision first."""
    return [
        other
        for other in rows
        if other.engine == EAGER and (other.stage, other.processor) == (row.stage, row.processor) and other.times_ms
    ]


def as_json(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    """Return a row with every raw time, and its ratio to each eager precision."""
    known = {"stage": row.stage, "engine": row.engine, "device": row.device, "precision": row.precision}
    if row.problem:
        return {**known, "not_measured": row.problem}
    ratios = {other.precision: asdict(ratio(row, other)) for other in eager_rows(rows, row)}
    return {
        **known,
        "first_ms": row.first_ms,
        "nearness": row.similarity,
        "positions": row.positions,
        "ms": distribution(row.times_ms),
        "beside_eager": ratios,
    }


def _line(row: Row, rows: Sequence[Row]) -> str:
    low, high = np.percentile(row.times_ms, (10, 90))
    eager = eager_rows(rows, row)
    first = fastest = "-"
    if eager:
        compared = ratio(row, eager[0])
        first = f"{compared.value:.2f} ({compared.low:.2f}–{compared.high:.2f}) of {eager[0].precision}"
        best = min(eager, key=lambda other: other.median_ms)
        fastest = f"{ratio(row, best).value:.2f} of {best.precision}"
    read = f", {row.positions} positions" if row.positions else ""
    similar = "-" if row.similarity is None else f"{row.similarity:.5f}"
    return (
        f"| {STAGES[row.stage]}{read} | {row.engine} | {row.device} | {row.precision} "
        f"| {row.median_ms:.3f} ({low:.3f}–{high:.3f}) | {first} | {fastest} | {similar} |"
    )
