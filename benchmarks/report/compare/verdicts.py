"""Verdicts on the rows that two reports have in common: each figure's change, its interval and its p."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from emo_edge.benchmarks.measure.reference_workload import STEADY, drift
from emo_edge.benchmarks.measure.timing import LEAST_TIMES
from emo_edge.benchmarks.report.compare.samples import Ids, answered_samples, common, reordered
from emo_edge.benchmarks.report.compare.significance import beyond_noise, difference, ratio_of_medians, swapped_p
from emo_edge.benchmarks.report.schema import Accuracy, Latency, Report, Row
from emo_edge.benchmarks.report.schema_types import Interval, Times
from emo_edge.errors import InputError
from emo_edge.metrics.classification import mcnemar_p, paired_interval, uar, war

TIME_FLOOR, MEMORY_FLOOR, SIZE_FLOOR = 0.02, 0.05, 0.01
"""Smaller changes are no reason to act: a choice, not a measurement. Peak memory is one figure without an interval."""
Verdict = Literal["better", "worse", "no change", "within noise", "not comparable", "too few to tell"]
"""A tested figure that is neither better nor worse is within noise: it may have changed."""
Pairs = tuple[Ids, Ids, Ids]
RowPair = tuple[Row, Row]
WorkloadKey = Literal["machine", "clip_machine"]
"""Of `Latency`: among the readings, and among the clips."""
Kind = Literal["accuracy", "time", "memory", "size", "gate"]


@dataclass(frozen=True)
class Change:
    """One figure in both reports."""

    row: str
    what: str
    kind: Kind
    before: float | None
    after: float | None
    verdict: Verdict
    change: tuple[float, float | None, float | None] | None = None
    """Difference of fractions, or ratio of times and bytes (after over before), with its 95 % interval."""
    p: float | None = None
    """Before the correction for many comparisons; None where no test was made."""
    method: str = ""


@dataclass(frozen=True)
class Side:
    """A report, and the folder that its samples are in."""

    report: Report
    folder: Path | None


@dataclass(frozen=True)
class Grounds:
    """Limits of a comparison: reasons against comparing accuracy or times, and the drift of full precision itself."""

    no_accuracy: str = ""
    no_times: str = ""
    drift: float | None = None


def changes_of(before: Side, after: Side, grounds: Grounds, rows: Sequence[RowPair]) -> list[Change]:
    """Compare pairs of rows that both ran; verdicts of tests are corrected over all of them."""
    changes = []
    for row, other in rows:
        if not row.unavailable and not other.unavailable:
            named = [
                *_accuracy(row, other, before, after, grounds),
                *_times(row, other, grounds),
                *_rest(row, other),
            ]
        else:
            lost = other.unavailable and not row.unavailable
            named = [Change(row.name, "can be run", "gate", 1, 0, "worse")] if lost else []
        changes += [replace(change, row=pair_name(row, other)) for change in named]
    return _corrected(changes)


def row_pairs(before: Report, after: Report, chosen: Mapping[str, str] | None = None) -> list[RowPair]:
    """Pair the rows of two reports: those of one name, or of a name before and another after that are ``chosen``.

    Raises InputError for a row that is not there.
    """
    first, second = ({row.name: row for row in report.rows} for report in (before, after))
    if not chosen:
        return [(row, second[name]) for name, row in first.items() if name in second]
    for names, known, when in ((chosen.keys(), first, "before"), (chosen.values(), second, "after")):
        if unknown := [name for name in names if name not in known]:
            raise InputError(f"no row {unknown[0]!r} in the report {when}; there are: {', '.join(known)}")
    return [(first[old], second[new]) for old, new in chosen.items()]


def pair_name(row: Row, other: Row) -> str:
    """Name a pair of rows."""
    return row.name if row.name == other.name else f"{row.name} / {other.name}"


def drift_of(before: Report, after: Report) -> float | None:
    """Return the change of full precision's time as a fraction, in both directions alike; None for too few times."""
    first, second = (_total(report.rows[0]) for report in (before, after))
    if min(len(first), len(second)) < LEAST_TIMES:
        return None
    ratio = ratio_of_medians(first, second, TIME_FLOOR)[0].value
    return max(ratio, 1 / ratio) - 1


def machine_drift(row: Row, other: Row, key: WorkloadKey) -> float:
    """Return the change of the reference workload while a row was timed, as a fraction; 0 if it is not known."""
    first, second = (getattr(one.latency or Latency(), key) for one in (row, other))
    if not first or not second or min(len(first.raw), len(second.raw)) < LEAST_TIMES:
        return 0.0
    return drift(first.raw, second.raw) if min(*first.raw, *second.raw) else 0.0


def _accuracy(row: Row, other: Row, before: Side, after: Side, grounds: Grounds) -> Iterator[Change]:
    first, second = row.accuracy or Accuracy(), other.accuracy or Accuracy()
    pairs = None if grounds.no_accuracy else _pairs((row, other), before, after)
    for name, figure, old, new in (("WAR", war, first.war, second.war), ("UAR", uar, first.uar, second.uar)):
        if old is None or new is None:
            continue
        plain = Change(row.name, name, "accuracy", old.value, new.value, "not comparable", method=grounds.no_accuracy)
        if grounds.no_accuracy:
            yield plain
            continue
        if pairs is None:
            gap, p = difference(old, new)
            yield replace(plain, change=_ends(gap), p=p, method="unpaired: the samples are not the same, or not kept")
            continue
        truth, labels_before, labels_after = pairs
        low, high = paired_interval(figure, truth, labels_before, labels_after)
        gap = Interval(value=figure(truth, labels_after) - figure(truth, labels_before), low=low, high=high)
        p = (
            mcnemar_p(truth, labels_before, labels_after)
            if name == "WAR"
            else swapped_p(truth, labels_before, labels_after)
        )
        test = "McNemar's exact test" if name == "WAR" else "labels swapped at random"
        yield replace(plain, change=_ends(gap), p=p, method=f"{test} on {len(truth)} samples that both read")


def _pairs(rows: RowPair, before: Side, after: Side) -> Pairs | None:
    """Return truth and both predicted labels of the common samples; None where they are not most of both."""
    labels = [list(side.report.dataset.labels) for side in (before, after)]
    kept = [
        answered_samples(side.folder, row.name, len(own))
        for row, side, own in zip(rows, (before, after), labels, strict=True)
        if side.folder
    ]
    if len(kept) < 2 or kept[0] is None or kept[1] is None:
        return None
    pairs = common(kept[0], reordered(kept[1], labels[1], labels[0]))
    return pairs if 2 * len(pairs[0]) > max(len(kept[0].truth), len(kept[1].truth)) else None


def _times(row: Row, other: Row, grounds: Grounds) -> Iterator[Change]:
    shared = 0.0 if row.kind == "reference" else grounds.drift or 0.0
    for name, old, new, key in _timed(row.latency or Latency(), other.latency or Latency()):
        if old is None or new is None or not old.p50 or not new.p50:
            continue
        moved = machine_drift(row, other, key)
        floor = max(TIME_FLOOR, shared, moved)
        slow = f"the reference workload changed by {100 * moved:.0f} % in between" if moved > STEADY else ""
        plain = Change(row.name, name, "time", old.p50, new.p50, "not comparable", method=grounds.no_times or slow)
        if plain.method:
            yield plain
        elif min(len(old.raw), len(new.raw)) < LEAST_TIMES or not min(*old.raw, *new.raw):
            few = f"{len(old.raw)} and {len(new.raw)} raw times; {LEAST_TIMES} are needed"
            yield replace(plain, verdict="too few to tell", method=few, change=(new.p50 / old.p50, None, None))
        else:
            ratio, p = ratio_of_medians(old.raw, new.raw, floor)
            method = f"medians of {len(old.raw)} and {len(new.raw)} times, beyond {100 * floor:.1f} %"
            yield replace(plain, change=_ends(ratio), p=p, method=method)


def _timed(first: Latency, second: Latency) -> Iterator[tuple[str, Times | None, Times | None, WorkloadKey]]:
    """List the times that are compared, with the reference workload that was timed among them."""
    yield "one face, p50 ms", first.total, second.total, "machine"
    yield "one face without detector, p50 ms", first.reading, second.reading, "machine"
    yield "a clip, p50 ms", first.clip, second.clip, "clip_machine"
    yield "cold start, p50 ms", first.cold_start, second.cold_start, "machine"


def _rest(row: Row, other: Row) -> Iterator[Change]:
    rss = [one.memory.peak_rss if one.memory else None for one in (row, other)]
    device = [one.memory.device if one.memory else None for one in (row, other)]
    yield from _bytes(row.name, "peak RSS", "memory", rss, MEMORY_FLOOR)
    yield from _bytes(row.name, "device memory", "memory", device, MEMORY_FLOOR)
    yield from _bytes(row.name, "size", "size", [row.size_bytes, other.size_bytes], SIZE_FLOOR)
    if row.gate and other.gate:
        passed = (row.gate.passed, other.gate.passed)
        verdict: Verdict = "no change" if passed[0] == passed[1] else "better" if passed[1] else "worse"
        yield Change(row.name, "gate passed", "gate", float(passed[0]), float(passed[1]), verdict)


def _bytes(name: str, what: str, kind: Kind, pair: Sequence[int | None], floor: float) -> Iterator[Change]:
    before, after = pair
    if before and after:
        ratio = after / before
        verdict: Verdict = "no change" if abs(ratio - 1) <= floor else "worse" if ratio > 1 else "better"
        method = f"one figure each; beyond {100 * floor:.0f} %"
        yield Change(name, what, kind, before, after, verdict, (ratio, None, None), method=method)


def _corrected(changes: Sequence[Change]) -> list[Change]:
    """Return the changes with the corrected verdict of every test."""
    tested = [change for change in changes if change.p is not None]
    real = beyond_noise([change.p for change in tested if change.p is not None])
    settled = dict(zip(map(id, tested), real, strict=True))
    return [
        replace(one, verdict=_verdict(one) if settled[id(one)] else "within noise") if id(one) in settled else one
        for one in changes
    ]


def _verdict(change: Change) -> Verdict:
    assert change.change is not None
    more = change.change[0] > (0 if change.kind == "accuracy" else 1)
    return "better" if more == (change.kind == "accuracy") else "worse"


def _ends(interval: Interval) -> tuple[float, float | None, float | None]:
    return interval.value, interval.low, interval.high


def _total(row: Row) -> tuple[float, ...]:
    return row.latency.total.raw if row.latency and row.latency.total else ()
