"""``emo-edge bench compare``: changes between two reports beyond noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from emo_edge.benchmarks.measure.reference_workload import STEADY
from emo_edge.benchmarks.report.cells import clean, ms_text, signed, size_text
from emo_edge.benchmarks.report.compare.conditions import Condition, conditions, disturbances
from emo_edge.benchmarks.report.compare.significance import ALPHA
from emo_edge.benchmarks.report.compare.verdicts import (
    MEMORY_FLOOR,
    SIZE_FLOOR,
    TIME_FLOOR,
    Change,
    Grounds,
    RowPair,
    Side,
    WorkloadKey,
    changes_of,
    drift_of,
    machine_drift,
    pair_name,
    row_pairs,
)
from emo_edge.benchmarks.report.reader import report_from_json
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.errors import AccuracyGateError, InputError

WORKLOAD_KEYS: dict[WorkloadKey, str] = {"machine": "among the readings", "clip_machine": "among the clips"}
HEAD = ("row", "what", "before", "after", "change (95 %)", "verdict")


@dataclass(frozen=True)
class Comparison:
    """Two reports compared."""

    conditions: tuple[Condition, ...]
    """Conditions in which the two differ."""
    notes: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def regressions(self) -> list[Change]:
        """Changes for the worse beyond noise."""
        return [change for change in self.changes if change.verdict == "worse"]

    @property
    def unjudged(self) -> int:
        """Number of figures in both that could not be compared: other conditions, or too few times."""
        return sum(change.verdict in ("not comparable", "too few to tell") for change in self.changes)

    def as_json(self) -> dict[str, Any]:
        """Return everything, with the limits that verdicts rest on."""
        floors = {"time": TIME_FLOOR, "memory": MEMORY_FLOOR, "size": SIZE_FLOOR}
        counts = {"regressions": len(self.regressions), "unjudged": self.unjudged}
        return {"schema": 1, "alpha": ALPHA, "floors": floors, **counts, **asdict(self)}


def side(path: Path) -> Side:
    """Open ``report.json``, or the folder that holds it; raise InputError for other files."""
    return Side(report_from_json(path), path if path.is_dir() else path.parent)


def compare(before: Side, after: Side, rows: Mapping[str, str] | None = None) -> Comparison:
    """Compare two reports and find the changes beyond noise.

    Accuracy is tested on the samples that both rows read, where they were kept; times on their raw values, where
    machine, data set and versions are the same; the chance that anything at all is called a change where there is none
    is `ALPHA` (Holm's correction). The change of full precision itself, and of the reference workload among the
    readings of a row, counts as the machine's; times are not compared where that exceeds `STEADY`.

    Args:
        before: a report.
        after: another one, of the same bundle later, or of another model on the same pictures.
        rows: names of rows before, and of those after that they are compared with; None takes all of the same name.

    Raises InputError for kept samples that cannot be read, and for rows that are not there.
    """
    pairs = row_pairs(before.report, after.report, rows)
    unlike = conditions(before.report, after.report)
    drift = drift_of(before.report, after.report)
    grounds = Grounds(_accuracy_spoilt(unlike), _times_spoilt(before, after, unlike), drift)
    changes = changes_of(before, after, grounds, pairs)
    return Comparison(tuple(unlike), tuple(_notes(before, after, drift, pairs)), tuple(changes))


def comparison_text(comparison: Comparison) -> str:
    """Write a comparison as text."""
    unlike = ["not the same in both (before / after):", *(f"  {one}" for one in comparison.conditions)]
    notes = [*(unlike if comparison.conditions else []), *(f"note: {note}" for note in comparison.notes)]
    rows = [HEAD, *(_row(change) for change in comparison.changes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    table = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines = [*notes, *([""] if notes else []), *table, "", _summary(comparison)]
    return "\n".join(clean(line) for line in lines)


@click.command("compare", cls=EdgeCommand)
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@click.option("--fail-on-regression", is_flag=True, help="Exit with 7 if any figure is worse beyond noise.")
@click.option(
    "--rows",
    multiple=True,
    metavar="BEFORE=AFTER",
    help="Compare a row of BEFORE with one of another name, and no others: balanced=small.",
)
def main(before: Path, after: Path, as_json: bool, fail_on_regression: bool, rows: tuple[str, ...]) -> None:
    """Compare the reports BEFORE and AFTER, and list the changes beyond noise.

    Each is a report.json or its folder. Accuracy is compared sample by sample where the folder samples/ is
    there; times only where machine, data set and versions are the same. The reports may be of two models, a
    small and a large one, on the same pictures: labels are compared by name.
    """
    comparison = compare(side(before), side(after), _rows(rows))
    echo(json.dumps(comparison.as_json(), indent=1, allow_nan=False) if as_json else comparison_text(comparison))
    if fail_on_regression and comparison.regressions:
        raise AccuracyGateError(f"worse than before: {_named(comparison.regressions)}")


def _rows(options: Sequence[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    if wrong := [option for option, (old, sign, new) in zip(options, pairs, strict=True) if not (old and sign and new)]:
        raise InputError(f"--rows reads BEFORE=AFTER, not {wrong[0]!r}")
    return {old: new for old, _, new in pairs}


def _accuracy_spoilt(unlike: Sequence[Condition]) -> str:
    reasons = [one.what for one in unlike if one.spoils_accuracy]
    return f"not the same in both: {', '.join(reasons)}" if reasons else ""


def _times_spoilt(before: Side, after: Side, unlike: Sequence[Condition]) -> str:
    reasons = [one.what for one in unlike if one.spoils_times]
    parts = [f"not the same in both: {', '.join(reasons)}"] if reasons else []
    for name, own in (("before", before), ("after", after)):
        parts += [f"{name}: {reason}" for reason in disturbances(own.report)]
    return "; ".join(parts)


def _notes(before: Side, after: Side, drift: float | None, pairs: Sequence[RowPair]) -> Iterator[str]:
    if reasons := _times_spoilt(before, after, conditions(before.report, after.report)):
        yield f"times are not compared ({reasons})"
    elif drift is None:
        yield "full precision was not timed often enough in both: a change of the machine in between is not known"
    elif drift > TIME_FLOOR:
        yield (
            f"full precision itself changed by {100 * drift:.1f} %: the machine, or code of all rows; only changes of "
            "other rows beyond that count"
        )
    for row, other in pairs:
        for key, where in WORKLOAD_KEYS.items():
            moved = machine_drift(row, other, key)
            if moved > TIME_FLOOR:
                end = "its times are not compared" if moved > STEADY else "only changes beyond that count"
                yield f"{pair_name(row, other)}: the reference workload changed by {100 * moved:.1f} % {where}; {end}"
    for when, own, place in (("before", before, 0), ("after", after, 1)):
        lone = {row.name for row in own.report.rows} - {pair[place].name for pair in pairs}
        if lone:
            yield f"only {when}: {', '.join(sorted(lone))}"


def _summary(comparison: Comparison) -> str:
    real = [change for change in comparison.changes if change.verdict in ("better", "worse")]
    if not real:
        unchanged = any(change.verdict in ("no change", "within noise") for change in comparison.changes)
        return f"no change beyond noise{_left_open(comparison)}" if unchanged else "nothing can be compared"
    parts = {verdict: [change for change in real if change.verdict == verdict] for verdict in ("better", "worse")}
    named = "; ".join(f"{verdict}: {_named(changes)}" for verdict, changes in parts.items() if changes)
    return named + _left_open(comparison)


def _left_open(comparison: Comparison) -> str:
    return f"; not compared: {comparison.unjudged} of {len(comparison.changes)} figures" if comparison.unjudged else ""


def _named(changes: Sequence[Change]) -> str:
    return clean(", ".join(f"{change.row} ({change.what})" for change in changes))


def _row(change: Change) -> tuple[str, ...]:
    write = _writer(change)
    gap = "" if change.change is None else _gap(change)
    values = ["-" if value is None else write(value) for value in (change.before, change.after)]
    return (change.row, change.what, *values, gap, change.verdict)


def _writer(change: Change) -> Callable[[float], str]:
    if change.kind == "accuracy":
        return lambda value: f"{100 * value:.1f} %"
    if change.kind == "gate":
        return lambda value: "yes" if value else "no"
    return ms_text if change.kind == "time" else size_text


def _gap(change: Change) -> str:
    assert change.change is not None
    if change.kind == "accuracy":
        value, low, high = (None if end is None else signed(100 * end) for end in change.change)
        unit = " points"
    else:
        value, low, high = (None if end is None else signed(100 * (end - 1)) for end in change.change)
        unit = " %"
    return f"{value}{unit}" if low is None or high is None else f"{value}{unit} ({low} to {high})"
