"""The order of a report's tables under their headings, the same in Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emo_edge.benchmarks.report import accuracy_tables as accuracy
from emo_edge.benchmarks.report import latency_tables as times
from emo_edge.benchmarks.report import setup_tables as settings
from emo_edge.benchmarks.report.cells import Table, clean
from emo_edge.benchmarks.report.schema import Report


@dataclass(frozen=True)
class Chapter:
    """A heading with its tables, or with the reason why there are none."""

    key: str
    """Name in links; the page places its charts by it."""
    title: str
    tables: tuple[Table, ...]
    empty: str = ""
    notes: tuple[str, ...] = ()


def chapters(report: Report) -> list[Chapter]:
    """Put a report's tables in order."""
    return [
        _chapter("overview", "Accuracy, time and size", [accuracy.overview(report), accuracy.variants(report)]),
        _chapter("gates", "Gates", [accuracy.gates(report)], "No row has a gate."),
        _chapter("stages", "Time of each stage", [times.stages(report)], "No row was timed."),
        _chapter(
            "times",
            "All times",
            [
                make(report)
                for make in (times.totals, times.written, times.throughput, times.prompts, times.other_command)
            ],
            "No row was timed.",
        ),
        _chapter(
            "resources", "Memory, energy, roofline", [times.resources(report), times.roofline(report)], "Not measured."
        ),
        _chapter(
            "distance",
            "Distance from full precision",
            [accuracy.distances(report), accuracy.values(report), accuracy.answers(report)],
            "Not measured.",
        ),
        _chapter("labels", "Labels", [accuracy.per_class(report)], "No row has figures of each label."),
        _chapter("groups", "Subgroups", [accuracy.subgroups(report)], "The data set has no groups."),
        _chapter("data", "Data", [settings.data_set(report), settings.skipped(report)]),
        _chapter("machine", "Machine", [settings.machine(report), settings.states(report), settings.versions(report)]),
        _chapter("reproduce", "How to reproduce", [settings.identities(report)], notes=report.notes),
    ]


def _chapter(
    key: str, title: str, tables: Iterable[Table | None], empty: str = "", notes: Iterable[str] = ()
) -> Chapter:
    kept = tuple(table for one in tables if (table := accuracy.measured(one)))
    return Chapter(key, title, kept, "" if kept else empty, tuple(map(clean, notes)))


def subject(report: Report) -> str:
    """Return one line with the samples, the machine and the time of the benchmark."""
    when = f", {report.started}" if report.started else ""
    took = f", {report.seconds:.0f} s" if report.seconds is not None else ""
    samples = f"{report.dataset.samples} samples of {report.dataset.name}"
    return clean(f"{samples} on {report.machine.cpu or report.machine.description}{when}{took}")
