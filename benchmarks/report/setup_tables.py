"""The tables of the setup: data set, left-out samples, machine, versions."""

from __future__ import annotations

from emo_edge.benchmarks.report.cells import Cell, Table, clean, count, figure, pointer, size_text, worded
from emo_edge.benchmarks.report.schema import MachineState, Report

SKIPPED_SHOWN = 50
"""Lines of the table of left-out samples; ``samples/faces.parquet`` lists all."""


def data_set(report: Report) -> Table:
    """Return the data set and the number of samples of each label."""
    dataset, none = report.dataset, "not reported"
    fold = None if dataset.fold is None else str(dataset.fold)
    rows = [
        (Cell("data set"), worded(dataset.name, pointer("dataset", "name"))),
        (Cell("option"), worded(dataset.spec, pointer("dataset", "spec"), none)),
        (Cell("split"), worded(dataset.split, pointer("dataset", "split"), none)),
        (Cell("fold"), worded(fold, pointer("dataset", "fold"), "no folds")),
        (Cell("read from"), worded(dataset.source, pointer("dataset", "source"), none)),
        (Cell("samples"), count(dataset.samples, pointer("dataset", "samples"))),
    ]
    rows += [
        (
            Cell(clean(f"samples of {label}")),
            count(dataset.per_label.get(label), pointer("dataset", "per_label", label)),
        )
        for label in dataset.labels
    ]
    return Table("Data set", ("item", "value"), tuple(rows), tuple(map(clean, dataset.notes)))


def skipped(report: Report) -> Table | None:
    """Return the samples that were left out, with reasons."""
    left_out = report.dataset.skipped
    rows = tuple(
        (
            worded(one.key, pointer("dataset", "skipped", at, "key")),
            worded(one.reason, pointer("dataset", "skipped", at, "reason"), "no reason given"),
        )
        for at, one in enumerate(left_out[:SKIPPED_SHOWN])
    )
    notes = (
        (f"These are the first {SKIPPED_SHOWN}; samples/faces.parquet lists all.",)
        if len(left_out) > SKIPPED_SHOWN
        else ()
    )
    return Table("Samples that were left out", ("sample", "reason"), rows, notes) if rows else None


def machine(report: Report) -> Table:
    """Return the machine: processor, memory, system, and its state during the run."""
    info, none = report.machine, "not reported"
    memory = None if info.memory is None else size_text(info.memory)
    texts = {
        "description": info.description,
        "cpu": info.cpu,
        "cores": str(info.cores) if info.cores else None,
        "memory": memory,
    }
    texts |= {"gpu": info.gpu, "system": info.system, "governor": info.governor, "power_mode": info.power_mode}
    absent = {"gpu": "none", "governor": "cannot be read here", "power_mode": "none here"}
    rows = [
        (Cell(key.replace("_", " ")), worded(text, pointer("machine", key), absent.get(key, none)))
        for key, text in texts.items()
    ]
    throttled = {True: "YES", False: "no", None: None}[info.throttled]
    busy = {True: "YES", False: "no", None: None}[info.busy]
    rows += [
        (Cell("throttled"), worded(throttled, pointer("machine", "throttled"), "cannot be read here")),
        (Cell("busy with other work"), worded(busy, pointer("machine", "busy"), none)),
    ]
    if info.git:
        dirty = {True: ", with changes that are not committed", False: "", None: ""}[info.git.dirty]
        rows.append((Cell("source"), worded(f"{info.git.revision}{dirty}", pointer("machine", "git", "revision"))))
    return Table("Machine", ("item", "value"), tuple(rows))


def states(report: Report) -> Table:
    """Return load, clock and temperatures before and after the run."""
    moments = (("before", report.machine.before), ("after", report.machine.after))
    sensors = list(dict.fromkeys(name for _, state in moments for name in state.temperatures))
    rows = [
        (Cell("load average, 1, 5, 15 minutes"), *(_load(state, when) for when, state in moments)),
        (Cell("clock, MHz"), *(_number(state.mhz, pointer("machine", when, "mhz"), 0) for when, state in moments)),
    ]
    rows += [
        (
            Cell(clean(f"{name}, °C")),
            *(
                _number(state.temperatures.get(name), pointer("machine", when, "temperatures", name), 1)
                for when, state in moments
            ),
        )
        for name in sensors
    ]
    notes = () if sensors else ("No temperature can be read here.",)
    return Table("State of the machine", ("item", "before", "after"), tuple(rows), notes)


def _load(state: MachineState, when: str) -> Cell:
    text = ", ".join(f"{value:.2f}" for value in state.load) if state.load else None
    return figure(text, pointer("machine", when, "load"), "cannot be read here")


def _number(value: float | None, source: str, digits: int) -> Cell:
    return figure(None if value is None else f"{value:.{digits}f}", source, "cannot be read here")


def versions(report: Report) -> Table | None:
    """Return versions of libraries, and threads of engines."""
    rows = [
        (Cell(clean(name)), worded(text, pointer("machine", "versions", name), "not installed"))
        for name, text in report.machine.versions.items()
    ]
    rows += [
        (
            Cell(clean(f"threads of {name}")),
            worded(None if count is None else str(count), pointer("machine", "threads", name), "its own choice"),
        )
        for name, count in report.machine.threads.items()
    ]
    return Table("Versions and threads", ("item", "value"), tuple(rows)) if rows else None


def identities(report: Report) -> Table:
    """Return the identities of bundle and checkpoint."""
    bundle, checkpoint, none = report.bundle, report.checkpoint, "not reported"
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
    return Table("Bundle and checkpoint", ("item", "value"), tuple(rows))
