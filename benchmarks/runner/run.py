"""Benchmark of a bundle: from its checkpoint and a data set to a report whose figures the kept samples confirm."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from emo_edge import __version__
from emo_edge.benchmarks.datasets.registry import Dataset, open_dataset
from emo_edge.benchmarks.measure.machine import machine_section, read_state, watched_state
from emo_edge.benchmarks.measure.reference_workload import DEFAULT_WAITING, MachineSpeed, Waiting, matmul_chain
from emo_edge.benchmarks.measure.roofline import measure_roofline
from emo_edge.benchmarks.measure.versus import Versus
from emo_edge.benchmarks.runner.openers import preparers
from emo_edge.benchmarks.runner.redact import redacted, redactions
from emo_edge.benchmarks.runner.report import (
    SCHEMA,
    SKIPPED,
    bundle_section,
    checkpoint_section,
    dataset_section,
    readable_forms,
    report_notes,
)
from emo_edge.benchmarks.runner.row import BenchRun, missing_reference, profile_row, reference_row
from emo_edge.benchmarks.workload.checkpoint import Checkpoint, open_checkpoint, profile_bytes
from emo_edge.benchmarks.workload.config import REFERENCE, BenchConfig, asked_labels
from emo_edge.benchmarks.workload.images import latency_clip, open_latency_images
from emo_edge.benchmarks.workload.journal import REPORT_NAME, Journal
from emo_edge.benchmarks.workload.open import UNCACHED, TargetOptions, with_uncached
from emo_edge.benchmarks.workload.samples import prepared_samples
from emo_edge.benchmarks.workload.targets import NO_REFERENCE, reference_profile
from emo_edge.bundle.label_sets import resolve_labels
from emo_edge.bundle.reader import Bundle
from emo_edge.console.progress import QUIET, Reports
from emo_edge.errors import InputError
from emo_edge.inference.detectors import chosen_detector
from emo_edge.machine.versions import tool_versions
from emo_edge.rendering.tables.files import open_parquet
from emo_edge.storage.output_paths import require_output


@dataclass(frozen=True)
class BenchInputs:
    """Bundle, checkpoint, data set and labels of a benchmark: opened and checked, nothing computed yet."""

    bundle: Bundle
    checkpoint: Checkpoint
    plan: BenchConfig
    dataset: Dataset
    labels: tuple[str, ...]
    """In the order they are asked for."""
    profiles: tuple[str, ...]


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
    """Measure a bundle's profiles and its full-precision checkpoint on the same samples in the same run.

    Args:
        bundle: the directory.
        plan: options of the benchmark.
        out: folder of ``report.json``, its readable forms and a line for each sample; a stopped run goes on there.
            None takes ``bench-NAME`` here.
        checkpoint: that the bundle was exported from, a directory or a packaged name.
        command: as typed, for the report.
        overwrite: True removes a finished report, or another run's samples.
        waiting: for a quiet machine.
        reports: get every step.

    Returns:
        The folder.

    Raises InputError before any measurement where nothing can be measured: another checkpoint, unknown labels, no
    sample that opens. A profile that cannot run here is a row with the reason.
    """
    begun, started = time.monotonic(), datetime.now(timezone.utc)
    open_parquet()
    if out:
        require_output(out / REPORT_NAME)
    inputs = opened_inputs(bundle, plan, checkpoint)
    plan = inputs.plan
    folder = out or Path(f"bench-{inputs.bundle.manifest.name}")
    with Journal(folder, _identity(inputs), overwrite=overwrite) as journal:
        before = watched_state(watch_s=waiting.watch_s)
        with _prepared(inputs, journal, waiting, reports) as (run, versus, notes):
            report = _report(inputs, run, versus, notes)
        report.update(command=command, started=started.isoformat(timespec="seconds"))
        report["machine"] = machine_section(before, read_state(), plan.device, plan.threads)
        report["seconds"] = round(time.monotonic() - begun, 1)
        report = redacted(report, redactions(plan.root, plan.dataset, bundle, folder, inputs.checkpoint.directory))
        for name, text in readable_forms(report):
            journal.write(name, text)
        journal.finish(report)
    return folder


def _report(inputs: BenchInputs, run: BenchRun, versus: Versus | None, notes: list[str]) -> dict[str, Any]:
    """Measure every row; what the run itself knows at its end is None."""
    return {
        "schema": SCHEMA,
        "command": None,
        "started": None,
        "seconds": None,
        "synthetic": inputs.dataset.name.startswith("synthetic"),
        "bundle": bundle_section(inputs.bundle),
        "checkpoint": checkpoint_section(inputs.checkpoint),
        "machine": None,
        "dataset": dataset_section(inputs.plan, run.samples),
        "rows": _rows(run, inputs),
        "ceiling": asdict(run.roofline) if run.roofline else None,
        "vs": _other_command(versus, notes) if versus else None,
        "notes": notes,
    }


def opened_inputs(bundle: Path, plan: BenchConfig, checkpoint: str | None) -> BenchInputs:
    """Open everything that a benchmark reads; raise InputError for inputs that do not fit each other."""
    opened = Bundle.open(bundle)
    if opened.manifest.face_labels.expression:
        plan = plan.without_language()
    elif opened.manifest.components.language is None:
        other = "python -m emo_edge.benchmarks.action_units.evaluate measures action units"
        hint = f"; {other}" if opened.manifest.action_units else ""
        raise InputError(f"{bundle} is {opened.manifest.network_alone}: it has no labels to measure{hint}")
    profiles = plan.profiles_of(opened.manifest)
    source = open_checkpoint(opened, checkpoint)
    if opened.manifest.components.mmproj and not plan.profiles:
        profiles = tuple(name for name in profiles if name != reference_profile(opened))
    opened = with_uncached(opened)
    twice = [one for name in profiles for one in (name, f"{name}{UNCACHED}")]
    profiles = tuple(name for name in twice if name in opened.manifest.profiles)
    dataset = open_dataset(plan.dataset, plan.root, plan.split, plan.fold, dict(plan.label_map))
    labels = resolve_labels(opened.manifest, asked_labels(opened.manifest, dataset.labels))
    return BenchInputs(opened, source, plan, dataset, labels, profiles)


@contextmanager
def _prepared(
    inputs: BenchInputs, journal: Journal, waiting: Waiting, reports: Reports
) -> Iterator[tuple[BenchRun, Versus | None, list[str]]]:
    """Detect the faces, choose the pictures that are timed, and check that the other command runs."""
    bundle, plan, labels = inputs.bundle, inputs.plan, inputs.labels
    detector = chosen_detector(bundle, plan.detector, plan.limits)
    everywhere = preparers(bundle, plan, cut=inputs.dataset.cut)
    progress = reports.of("find faces")
    samples = prepared_samples(
        inputs.dataset, labels, plan.samples, plan.frames, journal, detector, progress, everywhere
    )
    for key, reason in samples.skipped[:SKIPPED]:
        reports.line(f"skipped {key}: {reason}")
    with tempfile.TemporaryDirectory() as folder:
        images, files = open_latency_images(samples, Path(folder))
        versus = Versus(plan.vs, bundle.directory, images, plan.device, plan.threads) if plan.vs else None
        if versus:
            versus.check()
        frames, clip = latency_clip(samples, images, plan.frames)
        source = inputs.checkpoint
        options = TargetOptions(str(source.directory), labels, plan.device, plan.threads, source.stream)
        reports.progress("measure this machine", 0, 1)
        roofline = measure_roofline(plan.threads)
        speed = MachineSpeed(matmul_chain(plan.threads), waiting.patience_s)
        run = BenchRun(
            bundle, plan, samples, tuple(images), tuple(frames), options, detector, roofline, journal, reports, speed
        )
        yield run, versus, report_notes(plan, samples, files, clip)


def _rows(run: BenchRun, inputs: BenchInputs) -> list[dict[str, Any]]:
    total, started = 1 + len(inputs.profiles), time.monotonic()
    if inputs.checkpoint.sha256 is None:
        run.reports.line(f"{REFERENCE}: {NO_REFERENCE}")
        reference, predictions = missing_reference(), None
    else:
        reference, predictions = reference_row(_numbered(run, 1, total), inputs.checkpoint.size_bytes)
    rows = [reference]
    for number, name in enumerate(inputs.profiles, 2):
        taken = time.monotonic() - started
        left = taken / len(rows) * (total - len(rows))
        run.reports.line(f"{len(rows)} of {total} rows, {taken:.0f} s, about {left:.0f} s left")
        numbered = _numbered(run, number, total)
        rows.append(profile_row(numbered, name, profile_bytes(run.bundle, name), predictions))
    return [row.to_json() for row in rows]


def _numbered(run: BenchRun, number: int, total: int) -> BenchRun:
    """Return the run with the row's number before every step under way."""
    progress = run.reports.progress
    reports = Reports(
        run.reports.line, lambda step, done, items: progress(f"row {number} of {total}, {step}", done, items)
    )
    return replace(run, reports=reports)


def _other_command(versus: Versus, notes: list[str]) -> dict[str, Any] | None:
    """Time the other command; a failure now costs its own figures alone."""
    try:
        return versus.measure()
    except InputError as error:
        notes.append(str(error))
        return None


def _identity(inputs: BenchInputs) -> dict[str, Any]:
    """Return the settings that a sample's row depends on: rows of an earlier run with others are not reused."""
    plan = inputs.plan
    return {
        "bundle": bundle_section(inputs.bundle)["manifest_sha256"],
        "checkpoint": inputs.checkpoint.sha256,
        "dataset": [plan.dataset, str(plan.root), plan.split, plan.fold, [*map(list, plan.label_map)], plan.samples],
        "frames": plan.frames,
        "detector": [plan.detector, plan.min_score, plan.min_face, plan.max_faces],
        "written": plan.written,
        "device": plan.device,
        "threads": plan.threads,
        "emo-edge": __version__,
        **tool_versions(),
    }
