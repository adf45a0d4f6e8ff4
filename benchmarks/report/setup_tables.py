"""The tables of what was measured where: data set, left-out samples, machine, versions."""

from __future__ import annotations

from emo_edge.benchmarks.report.cells import Cell, Table, clean, count, figure, pointer, size_text, worded
from emo_edge.benchmarks.report.schema import MachineState, Report

SKIPPED_SHOWN = 50
"""Lines of the table of left-out samples; ``report.json`` names all."""


def data_set(report: Report) -> Table:
    """Tell which samples."""
    found, none = report.dataset, "not told"
    fold = None if found.fold is None else str(found.fold)
    rows = [
        (Cell("data set"), worded(found.name, pointer("dataset", "name"))),
        (Cell("asked for as"), worded(found.spec, pointer("dataset", "spec"), none)),
        (Cell("split"), worded(found.split, pointer("dataset", "split"), none)),
        (Cell("fold"), worded(fold, pointer("dataset", "fold"), "no folds")),
        (Cell("read from"), worded(found.source, pointer("dataset", "source"), none)),
        (Cell("samples"), count(found.samples, pointer("dataset", "samples"))),
    ]
    rows += [
        (Cell(clean(f"samples of {label}")), count(found.per_label.get(label), pointer("dataset", "per_label", label)))
        for label in found.labels
    ]
    return Table("Data set", ("what", "value"), tuple(rows), tuple(map(clean, found.notes)))


def skipped(report: Report) -> Table | None:
    """Name the samples that were left out."""
    left_out = report.dataset.skipped
    rows = tuple(
        (
            worded(one.key, pointer("dataset", "skipped", at, "key")),
            worded(one.reason, pointer("dataset", "skipped", at, "reason"), "no reason told"),
        )
        for at, one in enumerate(left_out[:SKIPPED_SHOWN])
    )
    notes = (f"These are the first {SKIPPED_SHOWN}; report.json names all.",) if len(left_out) > SKIPPED_SHOWN else ()
    return Table("Samples that were left out", ("sample", "reason"), rows, notes) if rows else None


def machine(report: Report) -> Table:
    """Tell the machine."""
    found, none = report.machine, "not told"
    memory = None if found.memory is None else size_text(found.memory)
    texts = {
        "description": found.description,
        "cpu": found.cpu,
        "cores": str(found.cores) if found.cores else None,
        "memory": memory,
    }
    texts |= {"gpu": found.gpu, "system": found.system, "governor": found.governor, "power_mode": found.power_mode}
    absent = {"gpu": "none found", "governor": "cannot be read here", "power_mode": "none here"}
    rows = [
        (Cell(key.replace("_", " ")), worded(text, pointer("machine", key), absent.get(key, none)))
        for key, text in texts.items()
    ]
    throttled = {True: "YES", False: "no", None: None}[found.throttled]
    busy = {True: "YES", False: "no", None: None}[found.busy]
    rows += [
        (Cell("throttled"), worded(throttled, pointer("machine", "throttled"), "cannot be read here")),
        (Cell("busy with other work"), worded(busy, pointer("machine", "busy"), none)),
    ]
    if found.git:
        dirty = {True: ", with changes that are not committed", False: "", None: ""}[found.git.dirty]
        rows.append((Cell("source"), worded(f"{found.git.revision}{dirty}", pointer("machine", "git", "revision"))))
    return Table("Machine", ("what", "value"), tuple(rows))


def states(report: Report) -> Table:
    """Set the machine before the run beside the machine after it."""
    found = (("before", report.machine.before), ("after", report.machine.after))
    sensors = list(dict.fromkeys(name for _, state in found for name in state.temperatures))
    rows = [
        (Cell("load average, 1, 5, 15 minutes"), *(_load(state, when) for when, state in found)),
        (Cell("clock, MHz"), *(_number(state.mhz, pointer("machine", when, "mhz"), 0) for when, state in found)),
    ]
    rows += [
        (
            Cell(clean(f"{name}, °C")),
            *(
                _number(state.temperatures.get(name), pointer("machine", when, "temperatures", name), 1)
                for when, state in found
            ),
        )
        for name in sensors
    ]
    notes = () if sensors else ("No temperature can be read here.",)
    return Table("State of the machine", ("what", "before", "after"), tuple(rows), notes)


def _load(state: MachineState, when: str) -> Cell:
    text = ", ".join(f"{value:.2f}" for value in state.load) if state.load else None
    return figure(text, pointer("machine", when, "load"), "cannot be read here")


def _number(value: float | None, source: str, digits: int) -> Cell:
    return figure(None if value is None else f"{value:.{digits}f}", source, "cannot be read here")


def versions(report: Report) -> Table | None:
    """Tell library versions, and threads of engines."""
    rows = [
        (Cell(clean(name)), worded(text, pointer("machine", "versions", name), "not installed"))
        for name, text in report.machine.versions.items()
    ]
    rows += [
        (
            Cell(clean(f"threads of {name}")),
            worded(None if count is None else str(count), pointer("machine", "threads", name), "as it chooses"),
        )
        for name, count in report.machine.threads.items()
    ]
    return Table("Versions and threads", ("what", "value"), tuple(rows)) if rows else None


def identities(report: Report) -> Table:
    """Tell which files were measured."""
    bundle, checkpoint, none = report.bundle, report.checkpoint, "not told"
    rows = [
        (Cell("bundle"), worded(bundle.name, pointer("bundle", "name"))),
        (Cell("its manifest, sha256"), worded(bundle.manifest_sha256, pointer("bundle", "manifest_sha256"), none)),
        (Cell("its purpose"), worded(bundle.purpose, pointer("bundle", "purpose"), none)),
        (
            Cell("full precision"),
            worded(checkpoint.name if checkpoint else None, pointer("checkpoint"), "no checkpoint was given"),
        ),
    ]
    if checkpoint:
        rows.append(
            (
                Cell("its weights, sha256"),
                worded(checkpoint.weights_sha256, pointer("checkpoint", "weights_sha256"), none),
            )
        )
    return Table("What was measured", ("what", "value"), tuple(rows))
