"""One row of the report: a subject opened, read on every sample, timed, and closed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Any

from emo_edge.benchmarks.datasets.items import Frame
from emo_edge.benchmarks.measure.accuracy import accuracy_of, against, gate_of
from emo_edge.benchmarks.measure.cold_start import cold_starts
from emo_edge.benchmarks.measure.energy import energy_of
from emo_edge.benchmarks.measure.latency import clip_of, latency_of, sweep_of, throughput_of, written_of
from emo_edge.benchmarks.measure.machine_pulse import MachineSpeed
from emo_edge.benchmarks.measure.predictions import Predictions, read_samples
from emo_edge.benchmarks.measure.roofline import Ceiling, roofline_of
from emo_edge.benchmarks.measure.timing import Distribution
from emo_edge.benchmarks.workload.config import REFERENCE, BenchConfig
from emo_edge.benchmarks.workload.images import LatencyImage
from emo_edge.benchmarks.workload.journal import Journal
from emo_edge.benchmarks.workload.open import OpenedWith, open_subject
from emo_edge.benchmarks.workload.samples import FACES, BenchSamples
from emo_edge.benchmarks.workload.subjects import BenchTarget
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import EmoEdgeError
from emo_edge.faces.detector import FaceDetector
from emo_edge.runtimes.base.devices import GPU_DEVICES
from emo_edge.utils.extras import missing_extra
from emo_edge.utils.progress import Reports

STREAMED = "latency, energy: the memory does not hold the checkpoint in float32, its layers were read from the disk"
FAILURES = (EmoEdgeError, ModuleNotFoundError, MemoryError, RuntimeError, OSError)
"""What engines raise where a machine or a device cannot run a subject; the other rows stay."""


@dataclass(frozen=True)
class Bench:
    """All that the rows of one benchmark share."""

    bundle: Bundle
    plan: BenchConfig
    samples: BenchSamples
    shots: tuple[LatencyImage, ...]
    clip: tuple[Frame, ...]
    opened_with: OpenedWith
    detector: FaceDetector
    ceiling: Ceiling | None
    journal: Journal
    reports: Reports
    speed: MachineSpeed


def reference_row(bench: Bench, size_bytes: int) -> tuple[dict[str, Any], Predictions]:
    """Measure the checkpoint, without which there is no benchmark."""
    row = _row(REFERENCE, REFERENCE, size_bytes)
    found = _measured(bench, REFERENCE, row)
    if bench.plan.written and row["latency"]:
        row["latency"]["written"]["label_bfloat16"] = _half_label(bench)
    return row, found


def profile_row(bench: Bench, name: str, size_bytes: int, reference: Predictions) -> dict[str, Any]:
    """Measure a profile; one that this machine or device cannot run is a row that says why.

    One that reads the samples and then fails keeps its accuracy, and a note says why there are no times.
    """
    row = _row(shown(name), "profile", size_bytes)
    try:
        found = _measured(bench, name, row)
    except FAILURES as error:
        bench.reports.line(f"{name}: {_told(error)}")
        return _row(shown(name), "profile", size_bytes) | {"unavailable": _told(error)}
    samples = bench.samples.samples
    row["against_reference"] = against(reference, found, samples)
    row["gate"] = gate_of(name, reference, found, samples)
    if bench.ceiling and row["device"] not in GPU_DEVICES and row["latency"]:
        stages = row["latency"]["stages"]
        row["roofline"] = roofline_of(bench.bundle, name, bench.samples.labels, bench.ceiling, stages)
    return row


def shown(profile: str) -> str:
    """Name a profile's row and its file in the journal; never as the reference or the file of faces."""
    return f"profile-{profile}" if profile in (REFERENCE, FACES) else profile


def _row(name: str, kind: str, size_bytes: int) -> dict[str, Any]:
    absent: dict[str, Any] = dict.fromkeys(("accuracy", "against_reference", "gate", "latency", "roofline"))
    absent["memory"] = {"peak_rss": None, "device": None}
    absent["energy"] = {"joules_per_reading": None, "source": None, "reason": "not measured"}
    head: dict[str, Any] = {"name": name, "kind": kind, "device": None, "variants": {}}
    head |= {"size_bytes": size_bytes, "unavailable": None}
    return {**head, **absent, "notes": []}


def _measured(bench: Bench, name: str, row: dict[str, Any]) -> Predictions:
    """Fill in what is measured of every subject, and return what it says."""
    subject = open_subject(bench.bundle, name, bench.opened_with)
    try:
        row["device"], row["variants"] = subject.device, dict(subject.variants)
        progress = bench.reports.of(f"{name}: samples")
        found = read_samples(subject, row["name"], bench.samples, bench.plan.written, bench.journal, progress)
        row["accuracy"] = accuracy_of(found, bench.samples.samples, bench.samples.labels)
        bench.reports.line(f"{name}: WAR {row['accuracy']['war']['value']:.4f} on {len(bench.samples.samples)} samples")
        if name == REFERENCE and bench.opened_with.stream:
            row["notes"].append(STREAMED)
            return found
        _add_times(bench, name, subject, row)
    finally:
        subject.close()
    if row["latency"]:
        _add_cold(bench, name, row)
        bench.reports.line(f"{name}: {row['latency']['total']['p50']:.1f} ms a reading (median)")
    return found


def _add_times(bench: Bench, name: str, subject: BenchTarget, row: dict[str, Any]) -> None:
    """Time a subject that has read every sample; if it fails now, what it said of them stays."""
    shots = cycle(bench.shots)
    try:
        row["latency"] = _latency(bench, subject, row["notes"])
        row["energy"] = energy_of(
            lambda: subject.read([next(shots).frame()], clip=False), len(bench.shots), subject.device
        )
    except FAILURES as error:
        row["notes"].append(f"{'energy' if row['latency'] else 'latency, energy'}: {_told(error)}")
        bench.reports.line(f"{name}: {row['notes'][-1]}")


def _told(error: BaseException) -> str:
    """Say a failure in words; an error of the memory has none as a rule."""
    return str(missing_extra(error) if isinstance(error, ModuleNotFoundError) else error) or type(error).__name__


def _add_cold(bench: Bench, name: str, row: dict[str, Any]) -> None:
    """Start the subject in processes of their own, when this one no longer holds it."""
    if not bench.plan.cold:
        row["notes"].append("cold start and memory: left out with --cold 0")
        return
    writes = bool(bench.plan.written)
    try:
        row["latency"]["cold_start"], row["memory"] = cold_starts(
            bench.bundle.directory, name, bench.opened_with, bench.shots, bench.plan.cold, writes=writes
        )
    except FAILURES as error:
        row["notes"].append(f"cold start and memory: {_told(error)}")


def _latency(bench: Bench, subject: BenchTarget, notes: list[str]) -> dict[str, Any]:
    rounds, shots, plan = bench.plan.latency_rounds, bench.shots, bench.plan
    found = latency_of(subject, shots, rounds, bench.detector, bench.speed)
    clip, reason = clip_of(subject, bench.clip, rounds, bench.speed)
    notes += [reason] if reason else []
    prompt = bench.bundle.manifest.prompt
    return found | {
        "cold_start": None,
        "throughput": throughput_of(subject, shots, plan.batches, rounds) if plan.batches else None,
        "prompt_sweep": sweep_of(subject, prompt.template) if plan.sweep else None,
        **clip,
        "written": written_of(subject, shots, min(rounds, 10), prompt.describe) if plan.written else None,
    }


def _half_label(bench: Bench) -> Distribution:
    """Time the written label in bfloat16, as users of such models run them."""
    subject = open_subject(bench.bundle, REFERENCE, bench.opened_with, half=True)
    try:
        rounds = min(bench.plan.latency_rounds, 10)
        label: Distribution = written_of(subject, bench.shots, rounds, bench.bundle.manifest.prompt.describe)["label"]
    finally:
        subject.close()
    return label
