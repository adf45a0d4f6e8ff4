"""The tables of accuracy: every row compared with full precision, gates, labels, subgroups."""

from __future__ import annotations

from collections.abc import Sequence

from emo_edge.benchmarks.report.cells import (
    NOT_MEASURED,
    Cell,
    Table,
    any_measured,
    clean,
    count,
    figure,
    fixed,
    milliseconds,
    percent,
    percent_text,
    pointer,
    points,
    scientific,
    size,
    worded,
)
from emo_edge.benchmarks.report.schema import (
    Accuracy,
    AgainstReference,
    ClassFigures,
    Energy,
    Group,
    Latency,
    Memory,
    Report,
    Row,
    TextFigures,
)
from emo_edge.benchmarks.report.schema_types import Times

SMALL_GROUP = 30
"""Below it an interval of 95 % spans more than 30 points at an accuracy of one half (Wilson 1927)."""
ITSELF = "–"
"""Cell of full precision compared with itself."""


def row_name(report: Report, index: int) -> Cell:
    """Return the name of a row; the first is full precision."""
    row = report.rows[index]
    named = "full precision" if row.kind == "reference" else row.name
    return worded(named, pointer("rows", index, "name" if row.kind == "profile" else "kind"))


def names(report: Report) -> tuple[str, ...]:
    """Return the names of all rows."""
    return tuple(row_name(report, index).text for index in range(len(report.rows)))


def overview(report: Report) -> Table:
    """Return one line for each row: accuracy, its change, time, size, memory."""
    head = (
        "row",
        "WAR (95 %)",
        "UAR (95 %)",
        "change of UAR, points (95 %)",
        "same label as full precision (95 %)",
        "p50, ms",
        "p90, ms",
        "without detector, p50 ms",
        "cold start, ms",
        "size",
        "peak RSS",
    )
    rows = tuple(_overview_row(report, index, row) for index, row in enumerate(report.rows))
    notes = [f"{row.name} was not run: {row.unavailable}" for row in report.rows if row.unavailable]
    notes += [f"{row.name}: {note}" for row in report.rows for note in row.notes]
    return Table("Every row on the same samples", head, rows, tuple(map(clean, notes)))


def _overview_row(report: Report, index: int, row: Row) -> tuple[Cell, ...]:
    at = ("rows", index)
    accuracy, against = row.accuracy or Accuracy(), row.against_reference or AgainstReference()
    latency, memory = row.latency or Latency(), row.memory or Memory()
    total, cold = latency.total or Times(), latency.cold_start or Times()
    reading = latency.reading or Times()
    own = ITSELF if row.kind == "reference" else NOT_MEASURED
    agreed = against.agreement
    cells = (
        row_name(report, index),
        percent(accuracy.war, pointer(*at, "accuracy", "war")),
        percent(accuracy.uar, pointer(*at, "accuracy", "uar")),
        points(against.delta_uar, pointer(*at, "against_reference", "delta_uar"), own),
        figure(percent_text(agreed) if agreed else None, pointer(*at, "against_reference", "agreement"), own),
        milliseconds(total.p50, pointer(*at, "latency", "total", "p50")),
        milliseconds(total.p90, pointer(*at, "latency", "total", "p90")),
        milliseconds(reading.p50, pointer(*at, "latency", "reading", "p50")),
        milliseconds(cold.p50, pointer(*at, "latency", "cold_start", "p50")),
        size(row.size_bytes, pointer(*at, "size_bytes")),
        size(memory.peak_rss, pointer(*at, "memory", "peak_rss")),
    )
    return tuple(Cell("not run", cell.source, True) if row.unavailable and cell.missing else cell for cell in cells)


def variants(report: Report) -> Table | None:
    """Return the device of each row and the variant of every component."""
    components = list(dict.fromkeys(name for row in report.rows for name in row.variants))
    rows = tuple(
        (
            row_name(report, index),
            worded(row.device, pointer("rows", index, "device"), "not reported"),
            *(worded(row.variants.get(name), pointer("rows", index, "variants", name), "none") for name in components),
        )
        for index, row in enumerate(report.rows)
        if not row.unavailable
    )
    head = ("row", "device", *map(clean, components))
    return Table("Device and variants of each row", head, rows) if rows else None


def gates(report: Report) -> Table | None:
    """Return the rows that have a gate: passed or failed, and the limits."""
    rows = tuple(
        (
            row_name(report, index),
            worded("passed" if row.gate.passed else "FAILED", pointer("rows", index, "gate", "passed")),
            worded(row.gate.text, pointer("rows", index, "gate", "text"), "no limit is given"),
        )
        for index, row in enumerate(report.rows)
        if row.gate
    )
    return Table("Gates: limits of accuracy", ("row", "gate", "limits"), rows) if rows else None


def distances(report: Report) -> Table | None:
    """Return the distance of each row from full precision, and the calibration of its probabilities."""
    head = (
        "row",
        "macro-F1 (95 %)",
        "calibration error",
        "Brier score",
        "log loss",
        "mean KL",
        "KL, 95th percentile",
        "only full precision right, only this row right",
        "McNemar p",
    )
    rows = tuple(_distance_row(report, index, row) for index, row in enumerate(report.rows) if row.accuracy)
    return Table("Distance from full precision, and calibration", head, rows) if rows else None


def _distance_row(report: Report, index: int, row: Row) -> tuple[Cell, ...]:
    accuracy, against = row.accuracy or Accuracy(), row.against_reference or AgainstReference()
    at, compared_at, tested = ("rows", index, "accuracy"), ("rows", index, "against_reference"), against.mcnemar
    own = ITSELF if row.kind == "reference" else NOT_MEASURED
    alone = f"{tested.only_reference}, {tested.only_this}" if tested else None
    return (
        row_name(report, index),
        percent(accuracy.f1, pointer(*at, "f1")),
        fixed(accuracy.ece, pointer(*at, "ece")),
        fixed(accuracy.brier, pointer(*at, "brier")),
        fixed(accuracy.nll, pointer(*at, "nll")),
        scientific(against.kl_mean, pointer(*compared_at, "kl_mean"), own),
        scientific(against.kl_p95, pointer(*compared_at, "kl_p95"), own),
        figure(alone, pointer(*compared_at, "mcnemar"), own),
        fixed(tested.p if tested else None, pointer(*compared_at, "mcnemar", "p"), missing=own),
    )


def values(report: Report) -> Table | None:
    """Return the distance of valence, arousal and other values from full precision's."""
    rows = tuple(
        (
            row_name(report, index),
            worded(name, pointer(*at, name)),
            fixed(one.mean_error, pointer(*at, name, "mean_error"), 4),
            fixed(one.max_error, pointer(*at, name, "max_error"), 4),
        )
        for index, row in enumerate(report.rows)
        if row.against_reference and (at := ("rows", index, "against_reference", "values"))
        for name, one in row.against_reference.values.items()
    )
    head = ("row", "value", "mean difference", "largest difference")
    return Table("Values beside the labels, compared with full precision", head, rows) if rows else None


def answers(report: Report) -> Table | None:
    """Return the scores of free-text answers by the label they name."""
    rows = tuple(
        (row_name(report, index), *_answer_cells(figures, ("rows", index, "accuracy", "text")))
        for index, row in enumerate(report.rows)
        if row.accuracy and (figures := row.accuracy.text)
    )
    head = ("row", "samples", "name a label", "WAR", "UAR", "WAR of the scores", "same label as the scores")
    return Table("Free-text answers, by the label they name; scores of the same samples", head, rows) if rows else None


def _answer_cells(figures: TextFigures, at: Sequence[str | int]) -> tuple[Cell, ...]:
    keys = ("named", "war", "uar", "war_scored", "same_as_scored")
    return (
        count(figures.samples, pointer(*at, "samples")),
        *(percent(getattr(figures, key), pointer(*at, key)) for key in keys),
    )


def per_class(report: Report) -> Table | None:
    """Return recall, precision and F1 of each label."""
    shown = [index for index, row in enumerate(report.rows) if row.accuracy and row.accuracy.per_class]
    if not shown:
        return None
    named = names(report)
    rows = []
    for label in report.dataset.labels:
        support = report.dataset.per_label.get(label)
        cells = [Cell(clean(label)), count(support, pointer("dataset", "per_label", label))]
        rows.append((*cells, *(_class_cell(report, index, label) for index in shown)))
    head = ("label", "samples", *(named[index] for index in shown))
    return Table("Recall / precision / F1 of each label, %", head, tuple(rows))


def _class_cell(report: Report, index: int, label: str) -> Cell:
    figures = (report.rows[index].accuracy or Accuracy()).per_class.get(label, ClassFigures())
    fractions = (figures.recall, figures.precision, figures.f1)
    text = " / ".join(map(_percent, fractions))
    known = any(fraction is not None for fraction in fractions)
    return figure(text if known else None, pointer("rows", index, "accuracy", "per_class", label))


def subgroups(report: Report) -> Table | None:
    """Return the accuracy of each subgroup that the data set has."""
    known: dict[tuple[str, str], None] = {}
    for row in report.rows:
        for kind, members in (row.accuracy.groups if row.accuracy else {}).items():
            known |= {(kind, member): None for member in members}
    shown = [index for index, row in enumerate(report.rows) if row.accuracy and row.accuracy.groups]
    if not known:
        return None
    lines = [[_group(report, index, kind, member) for index in shown] for kind, member in known]
    rows = tuple(
        (
            Cell(clean(f"{kind}: {member}")),
            max((line[0] for line in cells), key=lambda cell: not cell.missing),
            *(line[1] for line in cells),
        )
        for (kind, member), cells in zip(known, lines, strict=True)
    )
    small = any(cell[1].text.isdigit() and int(cell[1].text) < SMALL_GROUP for cell in rows)
    note = f"Figures of a group of fewer than {SMALL_GROUP} samples vary by tens of points by chance alone."
    head = ("group", "samples", *(names(report)[index] for index in shown))
    return Table("UAR / WAR (95 %) of each subgroup, %", head, rows, (note,) if small else ())


def _group(report: Report, index: int, kind: str, member: str) -> tuple[Cell, Cell]:
    accuracy = report.rows[index].accuracy or Accuracy()
    group, at = (
        accuracy.groups.get(kind, {}).get(member, Group(samples=0)),
        ("rows", index, "accuracy", "groups", kind, member),
    )
    return count(group.samples or None, pointer(*at, "samples")), figure(_group_text(group), pointer(*at))


def _group_text(group: Group) -> str | None:
    if group.uar is None and group.war is None:
        return None
    ends = group.war_low is not None and group.war_high is not None
    spread = f" ({_percent(group.war_low)}–{_percent(group.war_high)})" if ends else ""
    return f"{_percent(group.uar)} / {_percent(group.war)}{spread}"


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def energy_cell(row: Row, index: int) -> Cell:
    """Return the energy of a reading, or the reason why it was not measured."""
    energy = row.energy or Energy()
    if energy.joules_per_reading is None:
        return worded(None, pointer("rows", index, "energy", "reason"), clean(energy.reason or NOT_MEASURED))
    source = f" ({clean(energy.source)})" if energy.source else ""
    return figure(f"{energy.joules_per_reading:.2f} J{source}", pointer("rows", index, "energy", "joules_per_reading"))


def measured(table: Table | None) -> Table | None:
    """Return the table, or None where every entry but the names is missing."""
    return table if table and any(any_measured(cells[1:]) for cells in table.rows) else None
