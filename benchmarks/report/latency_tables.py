"""The tables of time, memory and energy."""

from __future__ import annotations

from collections.abc import Sequence

from emo_edge.benchmarks.report.accuracy_tables import energy_cell, names, row_name
from emo_edge.benchmarks.report.cells import (
    Cell,
    Table,
    clean,
    figure,
    fixed,
    milliseconds,
    ms_text,
    pointer,
    size,
    worded,
)
from emo_edge.benchmarks.report.schema import Floor, Latency, Memory, Report, Row, Throughput
from emo_edge.benchmarks.report.schema_types import Times

FEW_TIMES = 100
SPREAD = ("p50", "p90", "p99", "min", "mean")
SPREAD_HEAD = ("row", "time of", "p50", "p90", "p99", "min", "mean")
WRITING = ("answer", "first token", "per token")
"""Stages of writing an answer, which a reading of labels does not have."""


def stage_names(report: Report) -> list[str]:
    """Return every stage of any row in the order they run; one that the first row lacks follows its predecessor."""
    names: list[str] = []
    for _, _, latency in timed_rows(report):
        position = 0
        for stage in latency.stages:
            if stage not in names:
                names.insert(position, stage)
            position = names.index(stage) + 1
    return names


def reads(stage: str) -> bool:
    """Return True for a stage of reading labels, False for one of writing an answer."""
    return stage.replace("_", " ") not in WRITING


def timed_rows(report: Report) -> list[tuple[int, Row, Latency]]:
    """Return the rows that were timed, with their indices."""
    return [(index, row, row.latency) for index, row in enumerate(report.rows) if row.latency]


def stages(report: Report) -> Table | None:
    """Return p50 and p90 of every stage of every row."""
    timed, stages = timed_rows(report), stage_names(report)
    if not timed:
        return None
    rows = [
        (
            Cell(clean(stage)),
            *(
                _stage(latency.stages.get(stage), ("rows", index, "latency", "stages", stage))
                for index, _, latency in timed
            ),
        )
        for stage in stages
    ]
    rows.append(
        (Cell("total"), *(_stage(latency.total, ("rows", index, "latency", "total")) for index, _, latency in timed))
    )
    head = ("stage", *(names(report)[index] for index, _, _ in timed))
    notes = ["Medians of stages need not add up to the median of the total."]
    if any(not reads(stage) for stage in stages):
        notes.append("The total is a reading of labels; stages of writing an answer are not in it.")
    return Table("Milliseconds of each stage, p50 (p90)", head, tuple(rows), tuple(notes))


def _stage(times: Times | None, path: Sequence[str | int]) -> Cell:
    if times is None or times.p50 is None:
        return figure(None, pointer(*path), "not a stage here" if times is None else "not measured")
    tail = "" if times.p90 is None else f" ({ms_text(times.p90)})"
    return figure(ms_text(times.p50) + tail, pointer(*path))


def totals(report: Report) -> Table | None:
    """Return the spread of the total, warm and cold, of a clip, and of the reference workload in between."""
    head = (*SPREAD_HEAD, "times measured", "warm-up rounds", "settled")
    rows = []
    for index, _, latency in timed_rows(report):
        at = ("rows", index, "latency")
        settled = {True: "yes", False: "NO", None: None}[latency.stable]
        warm = (
            figure(_text(latency.warmup_rounds), pointer(*at, "warmup_rounds")),
            worded(settled, pointer(*at, "stable")),
        )
        none = (Cell("–", number=True), Cell("–"))
        kinds = (
            ("one face, warm", "total", latency.total, warm),
            ("cold start, fresh process", "cold_start", latency.cold_start, none),
            ("a clip, warm", "clip", latency.clip, none),
            ("reference workload, among the readings", "machine", latency.machine, none),
            ("reference workload, among the clips", "clip_machine", latency.clip_machine, none),
        )
        rows += [
            (row_name(report, index), Cell(title), *_spread(times, (*at, key)), *ends)
            for title, key, times, ends in kinds
            if times
        ]
    few = any(cells[7].text.isdigit() and int(cells[7].text) < FEW_TIMES for cells in rows)
    note = f"A p99 of fewer than {FEW_TIMES} times is close to the longest of them."
    return Table("Milliseconds of a whole reading", head, tuple(rows), (note,) if few else ()) if rows else None


def written(report: Report) -> Table | None:
    """Return the times of free-text answers, as users of such models ask today."""
    titles = {
        "label": "label as free text",
        "label_bfloat16": "the same in bfloat16",
        "first_token": "description, until its first piece",
        "per_token": "each further piece",
    }
    rows = tuple(
        (row_name(report, index), Cell(title), *_spread(times, ("rows", index, "latency", "written", key)))
        for index, _, latency in timed_rows(report)
        for key, title in titles.items()
        if latency.written and (times := getattr(latency.written, key))
    )
    return Table("Milliseconds of free-text answers", (*SPREAD_HEAD, "times measured"), rows) if rows else None


def _spread(times: Times, at: Sequence[str | int]) -> list[Cell]:
    cells = [milliseconds(getattr(times, key), pointer(*at, key), "–") for key in SPREAD]
    counted = (times.samples, "samples") if times.samples is not None else (len(times.raw) or None, "raw")
    # The length of an array has no pointer of its own.
    return [*cells, figure(_text(counted[0]), pointer(*at, counted[1]))]


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def throughput(report: Report) -> Table | None:
    """Return faces a second, by the number of faces read at once."""
    known = {size: None for _, _, latency in timed_rows(report) for size in latency.throughput or {}}
    sizes = sorted(known, key=lambda text: (not text.isdigit(), int(text) if text.isdigit() else 0, text))
    rows = tuple(
        (
            row_name(report, index),
            *(
                fixed(
                    latency.throughput.get(size, Throughput()).faces_per_s,
                    pointer("rows", index, "latency", "throughput", size, "faces_per_s"),
                    digits=1,
                )
                for size in sizes
            ),
        )
        for index, _, latency in timed_rows(report)
        if latency.throughput
    )
    head = ("row", *(f"{clean(size)} at once" for size in sizes))
    return Table("Faces a second, by faces in a picture", head, rows) if rows else None


def prompts(report: Report) -> Table | None:
    """Return the prefill's time by the length of the prompt."""
    lengths = sorted({one.tokens for _, _, latency in timed_rows(report) for one in latency.prompt_sweep or []})
    rows = []
    for index, _, latency in timed_rows(report):
        measured = {one.tokens: (at, one.prefill_ms) for at, one in enumerate(latency.prompt_sweep or [])}
        cells = []
        for tokens in lengths:
            at, times = measured.get(tokens, (0, None))
            cells.append(_stage(times, ("rows", index, "latency", "prompt_sweep", at, "prefill_ms")))
        if measured:
            rows.append((row_name(report, index), *cells))
    head = ("row", *(f"{tokens} tokens" for tokens in lengths))
    return Table("Milliseconds of prefill, by the prompt's length, p50 (p90)", head, tuple(rows)) if rows else None


def resources(report: Report) -> Table | None:
    """Return memory and energy."""
    rows = tuple(
        (
            row_name(report, index),
            size((row.memory or Memory()).peak_rss, pointer("rows", index, "memory", "peak_rss")),
            size((row.memory or Memory()).device, pointer("rows", index, "memory", "device")),
            energy_cell(row, index),
        )
        for index, row in enumerate(report.rows)
        if (row.memory or row.energy) and not row.unavailable
    )
    return (
        Table("Memory and energy", ("row", "peak RSS", "device memory", "energy of a reading"), rows) if rows else None
    )


def roofline(report: Report) -> Table | None:
    """Return the floor of each stage by the machine's roofline, as a fraction of its time."""
    head = ("row", "stage", "bytes moved", "operations", "floor, ms", "floor / p50")
    rows = []
    for index, row in enumerate(report.rows):
        for stage, floor in (row.roofline or {}).items():
            rows.append(
                (row_name(report, index), Cell(clean(stage)), *_floor(floor, ("rows", index, "roofline", stage)))
            )
    if not rows:
        return None
    rates, note = report.ceiling, "The machine's roofline was not measured."
    if rates and rates.copy_bytes_per_s and rates.matmul_flops_per_s:
        note = (
            f"The floor is the work at this machine's own rates: {rates.copy_bytes_per_s / 1e9:.1f} GB/s copied, "
            f"{rates.matmul_flops_per_s / 1e9:.0f} GFLOP/s in matmuls ({clean(rates.dtype or 'type not reported')})."
        )
    return Table("Roofline", head, tuple(rows), (note,))


def _floor(floor: Floor, at: Sequence[str | int]) -> tuple[Cell, ...]:
    percentage = None if floor.fraction is None else f"{100 * floor.fraction:.0f} %"
    return (
        size(floor.bytes, pointer(*at, "bytes")),
        figure(None if floor.flops is None else f"{floor.flops / 1e9:.3g} GFLOP", pointer(*at, "flops")),
        milliseconds(floor.floor_ms, pointer(*at, "floor_ms")),
        figure(percentage, pointer(*at, "share")),
    )


def other_command(report: Report) -> Table | None:
    """Return the times of another command compared with ours."""
    other = report.vs
    if not other:
        return None
    ratio = other.ratio
    text = None
    if ratio:
        text = f"{ratio.value:.2f}" + (
            "" if ratio.low is None or ratio.high is None else f" ({ratio.low:.2f}–{ratio.high:.2f})"
        )
    cells = (
        worded(other.command, pointer("vs", "command")),
        figure(text, pointer("vs", "ratio")),
        figure(str(len(other.raw_ms)), pointer("vs", "raw_ms")),
    )
    return Table(
        "Another command on the same files, alternating with ours",
        ("command", "our time / theirs (95 %)", "times measured"),
        (cells,),
    )
