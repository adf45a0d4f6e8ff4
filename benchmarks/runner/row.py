"""One row of the report: open a target, read every sample with it, time it, close it, start it in fresh processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import cycle
from typing import Any

from emo_edge.benchmarks.datasets.items import Frame
from emo_edge.benchmarks.measure.accuracy import accuracy_of, against, gate_of
from emo_edge.benchmarks.measure.cold_start import cold_starts
from emo_edge.benchmarks.measure.energy import energy_of
from emo_edge.benchmarks.measure.latency import clip_of, latency_of, sweep_of, throughput_of, written_of
from emo_edge.benchmarks.measure.predictions import Predictions, read_samples
from emo_edge.benchmarks.measure.reference_workload import MachineSpeed
from emo_edge.benchmarks.measure.roofline import Roofline, roofline_of
from emo_edge.benchmarks.measure.timing import Distribution
from emo_edge.benchmarks.runner.openers import readers
from emo_edge.benchmarks.workload.config import REFERENCE, BenchConfig
from emo_edge.benchmarks.workload.images import LatencyImage
from emo_edge.benchmarks.workload.journal import FACES, Journal
from emo_edge.benchmarks.workload.open import TargetOptions, open_target
from emo_edge.benchmarks.workload.samples import BenchSamples
from emo_edge.benchmarks.workload.targets import NO_REFERENCE, BenchTarget
from emo_edge.bundle.reader import Bundle
from emo_edge.console.commands import with_common_flags
from emo_edge.console.progress import Reports
from emo_edge.errors import EmoEdgeError
from emo_edge.faces.detector import FaceDetector
from emo_edge.runtimes.base.device_names import GPU_DEVICES
from emo_edge.utils.extras import failed_import, is_failed_load

STREAMED = "latency, energy: the memory does not hold the checkpoint in float32, its layers were read from the disk"
FAILURES = (EmoEdgeError, ImportError, MemoryError, RuntimeError, OSError)
"""Raised by engines where a machine or a device cannot run a target; the other rows stay."""
NO_MEMORY: Mapping[str, Any] = {"peak_rss": None, "device": None}
NO_ENERGY: Mapping[str, Any] = {"joules_per_reading": None, "source": None, "reason": "not measured"}
Section = Mapping[str, Any]
"""A part of a row as ``report.json`` has it."""


@dataclass(frozen=True)
class BenchRun:
    """Inputs and tools that the rows of one benchmark have in common."""

    bundle: Bundle
    plan: BenchConfig
    samples: BenchSamples
    images: tuple[LatencyImage, ...]
    clip: tuple[Frame, ...]
    options: TargetOptions
    detector: FaceDetector
    roofline: Roofline | None
    journal: Journal
    reports: Reports
    speed: MachineSpeed


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the report; its fields are the keys of ``report.json``, None where nothing was measured."""

    name: str
    kind: str
    device: str | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    size_bytes: int | None
    unavailable: str | None = None
    accuracy: Section | None = None
    against_reference: Section | None = None
    gate: Section | None = None
    latency: Section | None = None
    roofline: Section | None = None
    memory: Section = field(default_factory=lambda: NO_MEMORY)
    energy: Section = field(default_factory=lambda: NO_ENERGY)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the row as ``report.json`` has it."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"notes": list(self.notes)}


@dataclass(frozen=True)
class WarmTimes:
    """Latency and energy of an open target; a note names what failed."""

    latency: Section | None = None
    energy: Section = field(default_factory=lambda: NO_ENERGY)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FreshProcesses:
    """Cold start and peak memory of processes of their own; a note gives the reason why there is none."""

    cold_start: Section | None = None
    memory: Section = field(default_factory=lambda: NO_MEMORY)
    notes: tuple[str, ...] = ()


def reference_row(run: BenchRun, size_bytes: int) -> tuple[Row, Predictions]:
    """Measure the checkpoint, without which there is no benchmark."""
    row, predictions = _measured(run, REFERENCE, Row(name=REFERENCE, kind=REFERENCE, size_bytes=size_bytes))
    if run.plan.written and row.latency and run.bundle.manifest.components.mmproj is None:
        written = {**row.latency["written"], "label_bfloat16": _half_label(run)}
        row = replace(row, latency={**row.latency, "written": written})
    return row, predictions


def missing_reference() -> Row:
    """Return the row of a VLM that was imported without its unquantized language model: nothing is set against it."""
    return Row(name=REFERENCE, kind=REFERENCE, size_bytes=None, unavailable=NO_REFERENCE)


def profile_row(run: BenchRun, name: str, size_bytes: int, reference: Predictions | None) -> Row:
    """Measure a profile; one that this machine or device cannot run is a row with the reason.

    One that reads the samples and then fails keeps its accuracy, and a note gives the reason why it has no times.
    """
    head = Row(name=row_name(name), kind="profile", size_bytes=size_bytes)
    try:
        row, predictions = _measured(run, name, head)
    except FAILURES as error:
        run.reports.line(f"{name}: {_reason(error)}")
        return replace(head, unavailable=_reason(error))
    samples = run.samples.samples
    return replace(
        row,
        against_reference=against(reference, predictions, samples) if reference else None,
        gate=gate_of(name, reference, predictions, samples) if reference else None,
        roofline=_roofline(run, name, row),
    )


def row_name(profile: str) -> str:
    """Name a profile's row and its file in the journal; never as the reference or the file of faces."""
    return f"profile-{profile}" if profile in (REFERENCE, FACES) else profile


def _measured(run: BenchRun, name: str, head: Row) -> tuple[Row, Predictions]:
    """Measure what every target has: accuracy and times while it is open, then its starts in fresh processes."""
    target = open_target(run.bundle, name, run.options)
    try:
        progress = run.reports.of(f"{name}: samples")
        everywhere = readers(run.bundle, name, run.options, run.plan.workers)
        written, journal = run.plan.written, run.journal
        predictions = read_samples(target, head.name, run.samples, written, journal, progress, everywhere)
        accuracy = accuracy_of(predictions, run.samples.samples, run.samples.labels)
        run.reports.line(f"{name}: WAR {accuracy['war']['value']:.4f} on {len(run.samples.samples)} samples")
        streamed = name == REFERENCE and run.options.stream
        warm = WarmTimes(notes=(STREAMED,)) if streamed else _warm_times(run, name, target)
    finally:
        target.close()
    row = replace(head, device=target.device, variants=dict(target.variants), accuracy=accuracy)
    if warm.latency is None:
        return replace(row, energy=warm.energy, notes=warm.notes), predictions
    fresh = _fresh_processes(run, name)
    run.reports.line(f"{name}: {warm.latency['total']['p50']:.1f} ms a reading (median)")
    latency = {**warm.latency, "cold_start": fresh.cold_start}
    notes = (*warm.notes, *fresh.notes)
    return replace(row, latency=latency, memory=fresh.memory, energy=warm.energy, notes=notes), predictions


def _warm_times(run: BenchRun, name: str, target: BenchTarget) -> WarmTimes:
    """Time a target that has read every sample; if it fails now, its predictions stay."""
    times, notes, images = WarmTimes(), list[str](), cycle(run.images)
    run.reports.progress(f"{name}: times", 0, 1)
    try:
        reading = latency_of(target, run.images, run.plan.latency_rounds, run.detector, run.speed)
        clip, reason = clip_of(target, run.clip, run.plan.latency_rounds, run.speed)
        notes += [reason] if reason else []
        times = WarmTimes(_latency(run, target, reading, clip))
        energy = energy_of(lambda: target.read([next(images).frame()], clip=False), len(run.images), target.device)
        times = replace(times, energy=energy)
    except FAILURES as error:
        notes.append(f"{'energy' if times.latency else 'latency, energy'}: {_reason(error)}")
        run.reports.line(f"{name}: {notes[-1]}")
    return replace(times, notes=tuple(notes))


def _latency(run: BenchRun, target: BenchTarget, reading: Section, clip: Section) -> Section:
    """Return ``latency`` of a row, its cold start still to come."""
    rounds, images, plan, prompt = run.plan.latency_rounds, run.images, run.plan, run.bundle.manifest.prompt
    return {
        **reading,
        "cold_start": None,
        "throughput": throughput_of(target, images, plan.batches, rounds) if plan.batches else None,
        "prompt_sweep": sweep_of(target, prompt.template) if plan.sweep else None,
        **clip,
        "written": written_of(target, images, min(rounds, 10), prompt.describe) if plan.written else None,
    }


def _fresh_processes(run: BenchRun, name: str) -> FreshProcesses:
    """Start the target in processes of their own, when this one no longer holds it."""
    if not run.plan.cold:
        return FreshProcesses(notes=("cold start and memory: left out with --cold 0",))
    run.reports.progress(f"{name}: starts in fresh processes", 0, 1)
    writes = bool(run.plan.written)
    try:
        return FreshProcesses(
            *cold_starts(run.bundle.directory, name, run.options, run.images, run.plan.cold, writes=writes)
        )
    except FAILURES as error:
        return FreshProcesses(notes=(f"cold start and memory: {_reason(error)}",))


def _roofline(run: BenchRun, name: str, row: Row) -> Section | None:
    if run.roofline is None or row.device in GPU_DEVICES or not row.latency:
        return None
    return roofline_of(run.bundle, name, run.samples.labels, run.roofline, row.latency["stages"])


def _half_label(run: BenchRun) -> Distribution:
    """Time the written label in bfloat16, as users of such models run them."""
    target = open_target(run.bundle, REFERENCE, run.options, half=True)
    try:
        rounds = min(run.plan.latency_rounds, 10)
        label: Distribution = written_of(target, run.images, rounds, run.bundle.manifest.prompt.describe)["label"]
    finally:
        target.close()
    return label


def _reason(error: BaseException) -> str:
    """Return the text of a failure; a MemoryError has none as a rule, and is named."""
    text = str(failed_import(error) if isinstance(error, Exception) and is_failed_load(error) else error)
    return with_common_flags(text) or type(error).__name__
