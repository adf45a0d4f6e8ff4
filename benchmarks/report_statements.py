"""What a reader must know before any figure of a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emo_edge.benchmarks.report_cells import clean, ms_text, percent_text, pointer, points_text
from emo_edge.benchmarks.report_parts import Report, Row

FEW = 200
"""Samples below which a share near one half has an interval wider than 13 points (Wilson 1927)."""


@dataclass(frozen=True)
class Statement:
    """A sentence, whether it warns, and what it rests on in ``report.json``."""

    text: str
    warns: bool
    source: str


def statements(report: Report) -> list[Statement]:
    """Collect what limits the figures, the gravest first."""
    found = [*_machine(report), *_samples(report), *_rows(report)]
    return sorted(found, key=lambda one: not one.warns)


def _machine(report: Report) -> Iterator[Statement]:
    machine = report.machine
    if machine.busy:
        because = f": {machine.busy_reason}" if machine.busy_reason else ""
        yield _warning(
            f"The machine was busy with other work{because}. Its times are not to be quoted.", "machine", "busy"
        )
    if machine.throttled:
        yield _warning(
            "The processor throttled during the run. Its times are not to be quoted.", "machine", "throttled"
        )
    if machine.throttled is None:
        yield _note("Whether the processor throttled cannot be read on this machine.", "machine", "throttled")
    if machine.git and machine.git.dirty:
        yield _warning("Run from a source tree with changes that are not committed.", "machine", "git", "dirty")


def _samples(report: Report) -> Iterator[Statement]:
    data = report.dataset
    if report.synthetic:
        yield _warning(
            "Synthetic data: the samples are generated, none shows a person. The figures tell what compression "
            "changed, not how well people are read.",
            "synthetic",
        )
    if data.skipped:
        yield _note(
            f"Samples were left out; each is named below with its reason: {len(data.skipped)}.", "dataset", "skipped"
        )
    if empty := [label for label in data.labels if data.per_label and not data.per_label.get(label)]:
        yield _warning(f"No sample of {', '.join(empty)}.", "dataset", "per_label")
    if data.samples < FEW:
        yield _note(f"{data.samples} samples: differences within the intervals tell nothing.", "dataset", "samples")


def _rows(report: Report) -> Iterator[Statement]:
    for place, row in enumerate(report.rows):
        if row.unavailable:
            yield _warning(f"{_name(row)} was not run: {row.unavailable}", "rows", place, "unavailable")
        if row.gate and not row.gate.passed:
            because = f": {row.gate.text}" if row.gate.text else ""
            resting = "text" if row.gate.text else "passed"
            yield _warning(f"{_name(row)} missed its gate{because}", "rows", place, "gate", resting)
        if row.latency and row.latency.stable is False:
            text = f"The times of {_name(row)} had not settled when measuring began."
            yield _warning(text, "rows", place, "latency", "stable")


def bottom_line(report: Report) -> str | None:
    """Name the fastest row that kept its gate beside full precision; None where no gate was kept or nothing timed."""
    kept = [(time, row) for row in report.rows if row.gate and row.gate.passed and (time := _p50(row)) is not None]
    whole, base = report.rows[0], _p50(report.rows[0])
    if not kept:
        return None
    time, row = min(kept, key=lambda pair: pair[0])
    beside = "" if base is None else f" against {ms_text(base)} ms of full precision"
    parts = [f"Fastest inside its gate: {clean(row.name)}, {ms_text(time)} ms at the median{beside}"]
    if row.against_reference and row.against_reference.delta_uar:
        parts.append(f"UAR changed by {points_text(row.against_reference.delta_uar)} points")
    if row.accuracy and row.accuracy.uar and whole.accuracy and whole.accuracy.uar:
        parts.append(f"to {percent_text(row.accuracy.uar)} from {percent_text(whole.accuracy.uar)}")
    return ", ".join(parts) + "."


def _p50(row: Row) -> float | None:
    return row.latency.total.p50 if row.latency and row.latency.total else None


def _name(row: Row) -> str:
    return "Full precision" if row.kind == "reference" else row.name


def _warning(text: str, *place: str | int) -> Statement:
    return Statement(clean(text), True, pointer(*place))


def _note(text: str, *place: str | int) -> Statement:
    return Statement(clean(text), False, pointer(*place))
