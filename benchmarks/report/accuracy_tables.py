"""The tables of accuracy: every row beside full precision, gates, labels, subgroups."""

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
    Times,
)

SMALL_GROUP = 30
"""Below it an interval of 95 % spans more than 30 points at an accuracy of one half (Wilson 1927)."""
ITSELF = "–"
"""Where full precision would be compared with itself."""


def row_name(report: Report, place: int) -> Cell:
    """Name a row, the first as what it is."""
    row = report.rows[place]
    named = "full precision" if row.kind == "reference" else row.name
    return worded(named, pointer("rows", place, "name" if row.kind == "profile" else "kind"))


def names(report: Report) -> tuple[str, ...]:
    """Name all rows."""
    return tuple(row_name(report, place).text for place in range(len(report.rows)))


def overview(report: Report) -> Table:
    """Put every row in one line: accuracy, what it lost, time, size, memory."""
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
    rows = tuple(_overview_row(report, place, row) for place, row in enumerate(report.rows))
    notes = [f"{row.name} was not run: {row.unavailable}" for row in report.rows if row.unavailable]
    notes += [f"{row.name}: {note}" for row in report.rows for note in row.notes]
    return Table("Every row on the same samples", head, rows, tuple(map(clean, notes)))


def _overview_row(report: Report, place: int, row: Row) -> tuple[Cell, ...]:
    at = ("rows", place)
    accuracy, against = row.accuracy or Accuracy(), row.against_reference or AgainstReference()
    latency, memory = row.latency or Latency(), row.memory or Memory()
    total, cold = latency.total or Times(), latency.cold_start or Times()
    reading = latency.reading or Times()
    own = ITSELF if row.kind == "reference" else NOT_MEASURED
    agreed = against.agreement
    cells = (
        row_name(report, place),
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
    """Tell on what each row ran: the device, and the variant of every component."""
    components = list(dict.fromkeys(name for row in report.rows for name in row.variants))
    rows = tuple(
        (
            row_name(report, place),
            worded(row.device, pointer("rows", place, "device"), "not told"),
            *(worded(row.variants.get(name), pointer("rows", place, "variants", name), "none") for name in components),
        )
        for place, row in enumerate(report.rows)
        if not row.unavailable
    )
    head = ("row", "device", *map(clean, components))
    return Table("What each row is made of", head, rows) if rows else None


def gates(report: Report) -> Table | None:
    """Tell which row is inside its gate."""
    rows = tuple(
        (
            row_name(report, place),
            worded("passed" if row.gate.passed else "FAILED", pointer("rows", place, "gate", "passed")),
            worded(row.gate.text, pointer("rows", place, "gate", "text"), "no limit is told"),
        )
        for place, row in enumerate(report.rows)
        if row.gate
    )
    return Table("Limits of accuracy, and who kept them", ("row", "gate", "what was asked"), rows) if rows else None


def distances(report: Report) -> Table | None:
    """Tell how far each row is from full precision, and how well its probabilities are calibrated."""
    head = (
        "row",
        "macro-F1 (95 %)",
        "calibration error",
        "Brier score",
        "log loss",
        "mean KL",
        "KL, 95th percentile",
        "right alone: full precision, this",
        "McNemar p",
    )
    rows = tuple(_distance_row(report, place, row) for place, row in enumerate(report.rows) if row.accuracy)
    return Table("Distance from full precision, and calibration", head, rows) if rows else None


def _distance_row(report: Report, place: int, row: Row) -> tuple[Cell, ...]:
    found, against = row.accuracy or Accuracy(), row.against_reference or AgainstReference()
    at, beside, tested = ("rows", place, "accuracy"), ("rows", place, "against_reference"), against.mcnemar
    own = ITSELF if row.kind == "reference" else NOT_MEASURED
    alone = f"{tested.only_reference}, {tested.only_this}" if tested else None
    return (
        row_name(report, place),
        percent(found.f1, pointer(*at, "f1")),
        fixed(found.ece, pointer(*at, "ece")),
        fixed(found.brier, pointer(*at, "brier")),
        fixed(found.nll, pointer(*at, "nll")),
        scientific(against.kl_mean, pointer(*beside, "kl_mean"), own),
        scientific(against.kl_p95, pointer(*beside, "kl_p95"), own),
        figure(alone, pointer(*beside, "mcnemar"), own),
        fixed(tested.p if tested else None, pointer(*beside, "mcnemar", "p"), missing=own),
    )


def answers(report: Report) -> Table | None:
    """Score free-text answers by the label they name."""
    rows = tuple(
        (row_name(report, place), *_answer_cells(told, ("rows", place, "accuracy", "text")))
        for place, row in enumerate(report.rows)
        if row.accuracy and (told := row.accuracy.text)
    )
    head = ("row", "samples", "name a label", "WAR", "UAR", "WAR of the scores", "same label as the scores")
    return Table("Free-text answers, by the label they name; scores of the same samples", head, rows) if rows else None


def _answer_cells(told: TextFigures, at: Sequence[str | int]) -> tuple[Cell, ...]:
    shares = ("named", "war", "uar", "war_scored", "same_as_scored")
    return (
        count(told.samples, pointer(*at, "samples")),
        *(percent(getattr(told, key), pointer(*at, key)) for key in shares),
    )


def per_class(report: Report) -> Table | None:
    """Tell recall, precision and F1 of each label."""
    shown = [place for place, row in enumerate(report.rows) if row.accuracy and row.accuracy.per_class]
    if not shown:
        return None
    named = names(report)
    rows = []
    for label in report.dataset.labels:
        support = report.dataset.per_label.get(label)
        cells = [Cell(clean(label)), count(support, pointer("dataset", "per_label", label))]
        rows.append((*cells, *(_class_cell(report, place, label) for place in shown)))
    head = ("label", "samples", *(named[place] for place in shown))
    return Table("Recall / precision / F1 of each label, %", head, tuple(rows))


def _class_cell(report: Report, place: int, label: str) -> Cell:
    found = (report.rows[place].accuracy or Accuracy()).per_class.get(label, ClassFigures())
    shares = (found.recall, found.precision, found.f1)
    text = " / ".join(map(_percent, shares))
    known = any(share is not None for share in shares)
    return figure(text if known else None, pointer("rows", place, "accuracy", "per_class", label))


def subgroups(report: Report) -> Table | None:
    """Tell the accuracy of each subgroup that the data set knows."""
    known: dict[tuple[str, str], None] = {}
    for row in report.rows:
        for kind, members in (row.accuracy.groups if row.accuracy else {}).items():
            known |= {(kind, member): None for member in members}
    shown = [place for place, row in enumerate(report.rows) if row.accuracy and row.accuracy.groups]
    if not known:
        return None
    lines = [[_group(report, place, kind, member) for place in shown] for kind, member in known]
    rows = tuple(
        (
            Cell(clean(f"{kind}: {member}")),
            max((line[0] for line in cells), key=lambda cell: not cell.missing),
            *(line[1] for line in cells),
        )
        for (kind, member), cells in zip(known, lines, strict=True)
    )
    small = any(cell[1].text.isdigit() and int(cell[1].text) < SMALL_GROUP for cell in rows)
    note = f"A group of fewer than {SMALL_GROUP} samples tells next to nothing: tens of points are chance."
    head = ("group", "samples", *(names(report)[place] for place in shown))
    return Table("UAR / WAR (95 %) of each subgroup, %", head, rows, (note,) if small else ())


def _group(report: Report, place: int, kind: str, member: str) -> tuple[Cell, Cell]:
    accuracy = report.rows[place].accuracy or Accuracy()
    found, at = (
        accuracy.groups.get(kind, {}).get(member, Group(samples=0)),
        ("rows", place, "accuracy", "groups", kind, member),
    )
    return count(found.samples or None, pointer(*at, "samples")), figure(_group_text(found), pointer(*at))


def _group_text(found: Group) -> str | None:
    if found.uar is None and found.war is None:
        return None
    ends = found.war_low is not None and found.war_high is not None
    spread = f" ({_percent(found.war_low)}–{_percent(found.war_high)})" if ends else ""
    return f"{_percent(found.uar)} / {_percent(found.war)}{spread}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def energy_cell(row: Row, place: int) -> Cell:
    """Tell the energy of a reading, else why not."""
    found = row.energy or Energy()
    if found.joules_per_reading is None:
        return worded(None, pointer("rows", place, "energy", "reason"), clean(found.reason or NOT_MEASURED))
    source = f" ({clean(found.source)})" if found.source else ""
    return figure(f"{found.joules_per_reading:.2f} J{source}", pointer("rows", place, "energy", "joules_per_reading"))


def measured(table: Table | None) -> Table | None:
    """Drop a table whose every entry but the names is missing."""
    return table if table and any(any_measured(cells[1:]) for cells in table.rows) else None
