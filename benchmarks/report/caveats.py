"""What a reader must know before any figure of a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emo_edge.benchmarks.measure.machine_pulse import STEADY, slowness
from emo_edge.benchmarks.report.cells import clean, ms_text, percent_text, pointer, points_text
from emo_edge.benchmarks.report.schema import Report, Row
from emo_edge.runtimes.base.devices import GPU_DEVICES

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
    found = [*_machine(report), *_unsteady(report), *_devices(report), *_samples(report), *_rows(report)]
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


def _unsteady(report: Report) -> Iterator[Statement]:
    """Tell rows that were timed while the machine was slow, by its pulses in any of them."""
    series = [
        ((place, key), tuple(pulses.raw))
        for place, row in enumerate(report.rows)
        for key in ("machine", "clip_machine")
        if row.latency and (pulses := getattr(row.latency, key)) and pulses.raw and min(pulses.raw)
    ]
    for ((place, key), _), slow in zip(series, slowness([raw for _, raw in series]), strict=True):
        if slow > STEADY:
            what = f"{report.rows[place].name}{' read clips' if key == 'clip_machine' else ' was timed'}"
            yield _warning(
                f"The machine was up to {100 * slow:.0f} % slower than at its best while {what}: measure again to "
                "quote it.",
                *("rows", place, "latency", key),
            )


def _devices(report: Report) -> Iterator[Statement]:
    whole = report.rows[0]
    others = [(place, row) for place, row in enumerate(report.rows) if _elsewhere(row, whole)]
    if others:
        named = ", ".join(f"{row.name} on {row.device}" for _, row in others)
        yield _warning(
            f"Full precision ran on {whole.device}, {named}: times of different devices do not compare.",
            *("rows", others[0][0], "device"),
        )


def _elsewhere(row: Row, whole: Row) -> bool:
    """Tell a row that ran on another chip, whatever the engine; a device that is not told is taken for the same."""
    on_gpu = [device in GPU_DEVICES for device in (row.device, whole.device)]
    return bool(row.device and whole.device and not row.unavailable and on_gpu[0] != on_gpu[1])


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
    """Name the fastest row on full precision's device that kept its gate; None where none did, or nothing was timed.

    A machine that was busy or throttled has no fastest row. Rows are ranked without the detector where all were timed
    so, because it is the same code in every row.
    """
    whole = report.rows[0]
    kept = [row for row in report.rows if row.gate and row.gate.passed and not _elsewhere(row, whole)]
    kept = [row for row in kept if _p50(row) is not None]
    if not kept or report.machine.busy or report.machine.throttled:
        return None
    alone = all(_reading(row) is not None for row in kept)
    row = min(kept, key=lambda row: (_reading(row) if alone else _p50(row)) or 0.0)
    parts = [f"Fastest inside its gate: {clean(row.name)}, {_beside(_p50(row), _p50(whole), ' at the median')}"]
    if alone:
        parts.append(f"without the detector {_beside(_reading(row), _reading(whole))}")
    if row.against_reference and row.against_reference.delta_uar:
        parts.append(f"UAR changed by {points_text(row.against_reference.delta_uar)} points")
    if row.accuracy and row.accuracy.uar and whole.accuracy and whole.accuracy.uar:
        parts.append(f"to {percent_text(row.accuracy.uar)} from {percent_text(whole.accuracy.uar)}")
    return ", ".join(parts) + "."


def _beside(time: float | None, base: float | None, how: str = "") -> str:
    against = "" if base is None else f" against {ms_text(base)} ms of full precision"
    return f"{ms_text(time or 0.0)} ms{how}{against}"


def _reading(row: Row) -> float | None:
    return row.latency.reading.p50 if row.latency and row.latency.reading else None


def _p50(row: Row) -> float | None:
    return row.latency.total.p50 if row.latency and row.latency.total else None


def _name(row: Row) -> str:
    return "Full precision" if row.kind == "reference" else row.name


def _warning(text: str, *place: str | int) -> Statement:
    return Statement(clean(text), True, pointer(*place))


def _note(text: str, *place: str | int) -> Statement:
    return Statement(clean(text), False, pointer(*place))
