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
from emo_edge.benchmarks.report.schema import Floor, Latency, Memory, Report, Row, Throughput, Times

FEW_TIMES = 100
SPREAD = ("p50", "p90", "p99", "min", "mean")
SPREAD_HEAD = ("row", "what", "p50", "p90", "p99", "least", "mean")
WRITING = ("answer", "first token", "per token")
"""Stages of writing an answer, which a reading of labels has not."""


def stage_names(report: Report) -> list[str]:
    """Name every stage of any row in the order they run; what the first row has not comes after what is before it."""
    found: list[str] = []
    for _, _, latency in timed_rows(report):
        place = 0
        for stage in latency.stages:
            if stage not in found:
                found.insert(place, stage)
            place = found.index(stage) + 1
    return found


def reads(stage: str) -> bool:
    """Tell whether a stage is part of reading labels, not of writing an answer."""
    return stage.replace("_", " ") not in WRITING


def timed_rows(report: Report) -> list[tuple[int, Row, Latency]]:
    """Return the rows that were timed, with their places."""
    return [(place, row, row.latency) for place, row in enumerate(report.rows) if row.latency]


def stages(report: Report) -> Table | None:
    """Tell p50 and p90 of every stage of every row."""
    timed, stages = timed_rows(report), stage_names(report)
    if not timed:
        return None
    rows = [
        (
            Cell(clean(stage)),
            *(
                _stage(latency.stages.get(stage), ("rows", place, "latency", "stages", stage))
                for place, _, latency in timed
            ),
        )
        for stage in stages
    ]
    rows.append(
        (Cell("total"), *(_stage(latency.total, ("rows", place, "latency", "total")) for place, _, latency in timed))
    )
    head = ("stage", *(names(report)[place] for place, _, _ in timed))
    notes = ["Medians of stages need not add up to the median of the total."]
    if any(not reads(stage) for stage in stages):
        notes.append("Stages of writing an answer are no part of the total, which is a reading of labels.")
    return Table("Milliseconds of each stage, p50 (p90)", head, tuple(rows), tuple(notes))


def _stage(found: Times | None, place: Sequence[str | int]) -> Cell:
    if found is None or found.p50 is None:
        return figure(None, pointer(*place), "not a stage here" if found is None else "not measured")
    tail = "" if found.p90 is None else f" ({ms_text(found.p90)})"
    return figure(ms_text(found.p50) + tail, pointer(*place))


def totals(report: Report) -> Table | None:
    """Tell the spread of the total, warm and cold, of a clip, and of the machine meanwhile."""
    head = (*SPREAD_HEAD, "times measured", "warm-up rounds", "settled")
    rows = []
    for place, _, latency in timed_rows(report):
        at = ("rows", place, "latency")
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
            ("the machine meanwhile: a fixed computation", "machine", latency.machine, none),
            ("the same among the clips", "clip_machine", latency.clip_machine, none),
        )
        rows += [
            (row_name(report, place), Cell(title), *_spread(found, (*at, key)), *ends)
            for title, key, found, ends in kinds
            if found
        ]
    few = any(cells[7].text.isdigit() and int(cells[7].text) < FEW_TIMES for cells in rows)
    note = f"A p99 of fewer than {FEW_TIMES} times is hardly more than the longest of them."
    return Table("Milliseconds of a whole reading", head, tuple(rows), (note,) if few else ()) if rows else None


def written(report: Report) -> Table | None:
    """Tell how long free-text answers take, as users of such models ask today."""
    titles = {
        "label": "label as free text",
        "label_bfloat16": "the same in bfloat16",
        "first_token": "description, until its first piece",
        "per_token": "each further piece",
    }
    rows = tuple(
        (row_name(report, place), Cell(title), *_spread(found, ("rows", place, "latency", "written", key)))
        for place, _, latency in timed_rows(report)
        for key, title in titles.items()
        if latency.written and (found := getattr(latency.written, key))
    )
    return Table("Milliseconds of free-text answers", (*SPREAD_HEAD, "times measured"), rows) if rows else None


def _spread(found: Times, at: Sequence[str | int]) -> list[Cell]:
    cells = [milliseconds(getattr(found, key), pointer(*at, key), "–") for key in SPREAD]
    counted = (found.samples, "samples") if found.samples is not None else (len(found.raw) or None, "raw")
    # The length of an array has no place of its own.
    return [*cells, figure(_text(counted[0]), pointer(*at, counted[1]))]


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def throughput(report: Report) -> Table | None:
    """Tell faces a second, by how many are read at once."""
    known = {size: None for _, _, latency in timed_rows(report) for size in latency.throughput or {}}
    sizes = sorted(known, key=lambda text: (not text.isdigit(), int(text) if text.isdigit() else 0, text))
    rows = tuple(
        (
            row_name(report, place),
            *(
                fixed(
                    latency.throughput.get(size, Throughput()).faces_per_s,
                    pointer("rows", place, "latency", "throughput", size, "faces_per_s"),
                    digits=1,
                )
                for size in sizes
            ),
        )
        for place, _, latency in timed_rows(report)
        if latency.throughput
    )
    head = ("row", *(f"{clean(size)} at once" for size in sizes))
    return Table("Faces a second, by faces in a picture", head, rows) if rows else None


def prompts(report: Report) -> Table | None:
    """Tell the prefill's time by the length of the prompt."""
    lengths = sorted({one.tokens for _, _, latency in timed_rows(report) for one in latency.prompt_sweep or []})
    rows = []
    for place, _, latency in timed_rows(report):
        found = {one.tokens: (at, one.prefill_ms) for at, one in enumerate(latency.prompt_sweep or [])}
        cells = []
        for tokens in lengths:
            at, times = found.get(tokens, (0, None))
            cells.append(_stage(times, ("rows", place, "latency", "prompt_sweep", at, "prefill_ms")))
        if found:
            rows.append((row_name(report, place), *cells))
    head = ("row", *(f"{tokens} tokens" for tokens in lengths))
    return Table("Milliseconds of prefill, by the prompt's length, p50 (p90)", head, tuple(rows)) if rows else None


def resources(report: Report) -> Table | None:
    """Tell memory and energy."""
    rows = tuple(
        (
            row_name(report, place),
            size((row.memory or Memory()).peak_rss, pointer("rows", place, "memory", "peak_rss")),
            size((row.memory or Memory()).device, pointer("rows", place, "memory", "device")),
            energy_cell(row, place),
        )
        for place, row in enumerate(report.rows)
        if (row.memory or row.energy) and not row.unavailable
    )
    return (
        Table("Memory and energy", ("row", "peak RSS", "device memory", "energy of a reading"), rows) if rows else None
    )


def roofline(report: Report) -> Table | None:
    """Tell how near each stage comes to what the machine can do."""
    head = ("row", "stage", "bytes moved", "operations", "floor, ms", "floor as a share of p50")
    rows = []
    for place, row in enumerate(report.rows):
        for stage, found in (row.roofline or {}).items():
            rows.append(
                (row_name(report, place), Cell(clean(stage)), *_floor(found, ("rows", place, "roofline", stage)))
            )
    if not rows:
        return None
    known, note = report.ceiling, "The machine's ceiling was not measured."
    if known and known.copy_bytes_per_s and known.matmul_flops_per_s:
        note = (
            f"The floor is the work at this machine's own ceiling: {known.copy_bytes_per_s / 1e9:.1f} GB/s copied, "
            f"{known.matmul_flops_per_s / 1e9:.0f} GFLOP/s in products ({clean(known.dtype or 'type not told')})."
        )
    return Table("Roofline", head, tuple(rows), (note,))


def _floor(found: Floor, at: Sequence[str | int]) -> tuple[Cell, ...]:
    share = None if found.share is None else f"{100 * found.share:.0f} %"
    return (
        size(found.bytes, pointer(*at, "bytes")),
        figure(None if found.flops is None else f"{found.flops / 1e9:.3g} GFLOP", pointer(*at, "flops")),
        milliseconds(found.floor_ms, pointer(*at, "floor_ms")),
        figure(share, pointer(*at, "share")),
    )


def other_command(report: Report) -> Table | None:
    """Set another command beside ours."""
    found = report.vs
    if not found:
        return None
    ratio = found.ratio
    text = None
    if ratio:
        text = f"{ratio.value:.2f}" + (
            "" if ratio.low is None or ratio.high is None else f" ({ratio.low:.2f}–{ratio.high:.2f})"
        )
    cells = (
        worded(found.command, pointer("vs", "command")),
        figure(text, pointer("vs", "ratio")),
        figure(str(len(found.raw_ms)), pointer("vs", "raw_ms")),
    )
    return Table(
        "Another command on the same files, in turns with ours",
        ("command", "our time / theirs (95 %)", "times measured"),
        (cells,),
    )
