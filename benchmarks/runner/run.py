"""A bundle, its checkpoint and a data set in; a report whose numbers can be checked from the files beside it out."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from emo_edge import __version__
from emo_edge.benchmarks.datasets.registry import Dataset, open_dataset
from emo_edge.benchmarks.measure.machine import machine_section, read_state, watched_state
from emo_edge.benchmarks.measure.machine_pulse import DEFAULT_WAITING, MachineSpeed, Waiting, chain_pulse
from emo_edge.benchmarks.measure.roofline import measured_ceiling
from emo_edge.benchmarks.measure.versus import Versus
from emo_edge.benchmarks.runner.redact import private_places, without_places
from emo_edge.benchmarks.runner.report import (
    SCHEMA,
    bundle_section,
    checkpoint_section,
    dataset_section,
    readable_forms,
    report_notes,
)
from emo_edge.benchmarks.runner.row import Bench, profile_row, reference_row
from emo_edge.benchmarks.workload.checkpoint import Checkpoint, open_checkpoint, profile_bytes
from emo_edge.benchmarks.workload.config import BenchConfig, asked_labels
from emo_edge.benchmarks.workload.images import open_shots, shot_clip
from emo_edge.benchmarks.workload.journal import Journal
from emo_edge.benchmarks.workload.open import OpenedWith
from emo_edge.benchmarks.workload.samples import found_faces
from emo_edge.bundle.manifest import resolve_labels
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.faces.detectors import open_detector
from emo_edge.machine.versions import tool_versions
from emo_edge.utils.progress import QUIET, Reports


def bench(
    bundle: Path,
    plan: BenchConfig,
    out: Path | None = None,
    *,
    checkpoint: str | None = None,
    command: str = "",
    overwrite: bool = False,
    waiting: Waiting = DEFAULT_WAITING,
    reports: Reports = QUIET,
) -> Path:
    """Measure a bundle's profiles beside its full-precision checkpoint, on the same samples in the same run.

    Args:
        bundle: the directory.
        plan: what to measure, and on what.
        out: folder of ``report.json``, its readable forms and a line for each sample; a stopped run goes on there.
            None takes ``bench-NAME`` here.
        checkpoint: what the bundle was exported from, a directory or a packaged name.
        command: what was typed, for the report.
        overwrite: whether a finished report, or another run's samples, are removed.
        waiting: for a quiet machine.
        reports: told of every step.

    Returns:
        The folder.

    Raises InputError before any measurement for what cannot be measured: another checkpoint, unknown labels, no
    sample that opens. A profile that cannot run here is a row that says why.
    """
    begun, started = time.monotonic(), datetime.now(timezone.utc)
    opened = Bundle.open(bundle)
    profiles = plan.profiles_of(opened.manifest)
    source = open_checkpoint(opened, checkpoint)
    dataset = open_dataset(plan.dataset, plan.root, plan.split, plan.fold, dict(plan.label_map))
    labels = resolve_labels(opened.manifest, asked_labels(opened.manifest, dataset.labels))
    folder = out or Path(f"bench-{opened.manifest.name}")
    with Journal(folder, _identity(opened, source, plan), overwrite=overwrite) as journal:
        before = watched_state(watch_s=waiting.watch_s)
        patience_s = waiting.patience_s
        with _prepared(opened, source, plan, dataset, labels, journal, patience_s, reports) as (run, versus, notes):
            report = {
                "schema": SCHEMA,
                "command": command,
                "started": started.isoformat(timespec="seconds"),
                "seconds": None,
                "synthetic": dataset.name.startswith("synthetic"),
                "bundle": bundle_section(opened),
                "checkpoint": checkpoint_section(source),
                "machine": None,
                "dataset": dataset_section(plan, run.samples),
                "rows": _rows(run, source, profiles),
                "ceiling": asdict(run.ceiling) if run.ceiling else None,
                "vs": _timed_beside(versus, notes) if versus else None,
                "notes": notes,
            }
        report["machine"] = machine_section(before, read_state(), plan.device, plan.threads)
        report["seconds"] = round(time.monotonic() - begun, 1)
        places = private_places(plan.root, plan.dataset, bundle, folder, source.directory)
        report = without_places(report, places)
        for name, text in readable_forms(report):
            journal.write(name, text)
        journal.finish(report)
    return folder


@contextmanager
def _prepared(
    bundle: Bundle,
    checkpoint: Checkpoint,
    plan: BenchConfig,
    dataset: Dataset,
    labels: tuple[str, ...],
    journal: Journal,
    patience_s: float,
    reports: Reports,
) -> Iterator[tuple[Bench, Versus | None, list[str]]]:
    """Find the faces, choose the pictures of the timings, and see that the other command runs."""
    detector = open_detector(bundle.manifest.detector)
    samples = found_faces(dataset, labels, plan.samples, plan.frames, journal, detector, reports.of("find faces"))
    for key, reason in samples.skipped:
        reports.line(f"skipped {key}: {reason}")
    with tempfile.TemporaryDirectory() as place:
        shots, files = open_shots(samples, Path(place))
        versus = Versus(plan.vs, bundle.directory, shots, plan.device, plan.threads) if plan.vs else None
        if versus:
            versus.check()
        frames, clip = shot_clip(samples, shots, plan.frames)
        wanted = OpenedWith(str(checkpoint.directory), labels, plan.device, plan.threads, checkpoint.stream)
        ceiling = measured_ceiling(plan.threads)
        speed = MachineSpeed(chain_pulse(plan.threads), patience_s)
        run = Bench(
            bundle, plan, samples, tuple(shots), tuple(frames), wanted, detector, ceiling, journal, reports, speed
        )
        yield run, versus, report_notes(plan, samples, files, clip)


def _rows(run: Bench, checkpoint: Checkpoint, profiles: tuple[str, ...]) -> list[dict[str, Any]]:
    reference, truth = reference_row(run, checkpoint.size_bytes)
    return [reference, *(profile_row(run, name, profile_bytes(run.bundle, name), truth) for name in profiles)]


def _timed_beside(versus: Versus, notes: list[str]) -> dict[str, Any] | None:
    """Time the other command; one that fails now costs no more than its own figures."""
    try:
        return versus.measure()
    except InputError as error:
        notes.append(str(error))
        return None


def _identity(bundle: Bundle, checkpoint: Checkpoint, plan: BenchConfig) -> dict[str, Any]:
    """List what makes a sample's row: with any other of these, a row of an earlier run would be another."""
    return {
        "bundle": bundle_section(bundle)["manifest_sha256"],
        "checkpoint": checkpoint.sha256,
        "dataset": [plan.dataset, str(plan.root), plan.split, plan.fold, [*map(list, plan.label_map)], plan.samples],
        "frames": plan.frames,
        "written": plan.written,
        "device": plan.device,
        "threads": plan.threads,
        "emo-edge": __version__,
        **tool_versions(),
    }
