"""Caveats of a report's figures, and its bottom line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emo_edge.benchmarks.measure.reference_workload import STEADY, slowness
from emo_edge.benchmarks.report.cells import clean, ms_text, percent_text, pointer, points_text
from emo_edge.benchmarks.report.schema import Report, Row
from emo_edge.runtimes.base.device_names import GPU_DEVICES

FEW = 200
"""Samples below which an accuracy near one half has an interval wider than 13 points (Wilson 1927)."""


@dataclass(frozen=True)
class Statement:
    """A sentence, a mark for warnings, and the JSON pointer of the figure in ``report.json`` that it rests on."""

    text: str
    warns: bool
    source: str


def statements(report: Report) -> list[Statement]:
    """Collect the limits of the figures, warnings first."""
    limits = [*_machine(report), *_unsteady(report), *_devices(report), *_samples(report), *_rows(report)]
    return sorted(limits, key=lambda one: not one.warns)


def _machine(report: Report) -> Iterator[Statement]:
    machine = report.machine
    if machine.busy:
        because = f": {machine.busy_reason}" if machine.busy_reason else ""
        yield _warning(f"The machine was busy with other work{because}. Do not quote its times.", "machine", "busy")
    if machine.throttled:
        yield _warning("The processor throttled during the run. Do not quote its times.", "machine", "throttled")
    if machine.throttled is None:
        yield _note("This machine does not report if its processor throttled.", "machine", "throttled")
    if machine.git and machine.git.dirty:
        yield _warning("Run from a source tree with changes that are not committed.", "machine", "git", "dirty")


def _unsteady(report: Report) -> Iterator[Statement]:
    """Warn of rows that were timed while the machine was slow, by the reference workload in any of them."""
    runs = [
        ((index, key), tuple(times.raw))
        for index, row in enumerate(report.rows)
        for key in ("machine", "clip_machine")
        if row.latency and (times := getattr(row.latency, key)) and times.raw and min(times.raw)
    ]
    for ((index, key), _), slow in zip(runs, slowness([raw for _, raw in runs]), strict=True):
        if slow > STEADY:
            during = f"{report.rows[index].name}{' read clips' if key == 'clip_machine' else ' was timed'}"
            yield _warning(
                f"The machine was up to {100 * slow:.0f} % slower than at its best while {during}: measure again "
                "before you quote it.",
                *("rows", index, "latency", key),
            )


def _devices(report: Report) -> Iterator[Statement]:
    whole = report.rows[0]
    others = [(index, row) for index, row in enumerate(report.rows) if _elsewhere(row, whole)]
    if others:
        named = ", ".join(f"{row.name} on {row.device}" for _, row in others)
        yield _warning(
            f"Full precision ran on {whole.device}, {named}: times of different devices cannot be compared.",
            *("rows", others[0][0], "device"),
        )


def _elsewhere(row: Row, whole: Row) -> bool:
    """Return True for a row that ran on another chip, whatever the engine; an unknown device counts as the same."""
    on_gpu = [device in GPU_DEVICES for device in (row.device, whole.device)]
    return bool(row.device and whole.device and not row.unavailable and on_gpu[0] != on_gpu[1])


def _samples(report: Report) -> Iterator[Statement]:
    data = report.dataset
    if report.synthetic:
        yield _warning(
            "Synthetic data: the samples are generated, none shows a person. The figures measure the effect of "
            "compression, not the accuracy on people.",
            "synthetic",
        )
    if data.skipped:
        count, listed = data.skipped_samples or len(data.skipped), len(data.skipped)
        which = "each is" if count == listed else f"the first {listed} are"
        yield _note(f"{count} samples were left out; {which} listed below with the reason.", "dataset", "skipped")
    if empty := [label for label in data.labels if data.per_label and not data.per_label.get(label)]:
        yield _warning(f"No sample of {', '.join(empty)}.", "dataset", "per_label")
    if data.samples < FEW:
        yield _note(
            f"{data.samples} samples: differences within the intervals are not significant.", "dataset", "samples"
        )


def _rows(report: Report) -> Iterator[Statement]:
    for index, row in enumerate(report.rows):
        if row.unavailable:
            yield _warning(f"{_name(row)} was not run: {row.unavailable}", "rows", index, "unavailable")
        if row.gate and not row.gate.passed:
            because = f": {row.gate.text}" if row.gate.text else ""
            resting = "text" if row.gate.text else "passed"
            yield _warning(f"{_name(row)} fails its gate{because}", "rows", index, "gate", resting)
        if row.latency and row.latency.stable is False:
            text = f"The times of {_name(row)} had not settled when measuring began."
            yield _warning(text, "rows", index, "latency", "stable")


def bottom_line(report: Report) -> str | None:
    """Name the fastest row on full precision's device that passes its gate; None where none does or none was timed.

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
    parts = [
        f"Fastest row that passes its gate: {clean(row.name)}, {_compared_ms(_p50(row), _p50(whole), ' at the median')}"
    ]
    if alone:
        parts.append(f"without the detector {_compared_ms(_reading(row), _reading(whole))}")
    if row.against_reference and row.against_reference.delta_uar:
        parts.append(f"UAR changed by {points_text(row.against_reference.delta_uar)} points")
    if row.accuracy and row.accuracy.uar and whole.accuracy and whole.accuracy.uar:
        parts.append(f"to {percent_text(row.accuracy.uar)} from {percent_text(whole.accuracy.uar)}")
    return ", ".join(parts) + "."


def _compared_ms(time: float | None, baseline: float | None, how: str = "") -> str:
    against = "" if baseline is None else f", compared with {ms_text(baseline)} ms of full precision"
    return f"{ms_text(time or 0.0)} ms{how}{against}"


def _reading(row: Row) -> float | None:
    return row.latency.reading.p50 if row.latency and row.latency.reading else None


def _p50(row: Row) -> float | None:
    return row.latency.total.p50 if row.latency and row.latency.total else None


def _name(row: Row) -> str:
    return "Full precision" if row.kind == "reference" else row.name


def _warning(text: str, *path: str | int) -> Statement:
    return Statement(clean(text), True, pointer(*path))


def _note(text: str, *path: str | int) -> Statement:
    return Statement(clean(text), False, pointer(*path))
