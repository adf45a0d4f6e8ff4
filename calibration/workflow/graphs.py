"""INT8 variants of a bundle's graphs: ranges, plan, evidence and speed. Of the command line's layer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.manifest import GraphComponent, Variant
from emo_edge.bundle.prompts import classify_question
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.int8.component import AT_ONCE, EvalSet, Int8Result, centred, planned_component
from emo_edge.calibration.int8.graph_files import fingerprint, stored_bytes
from emo_edge.calibration.int8.ranges import gather_ranges
from emo_edge.calibration.int8.sensitivity import Outputs
from emo_edge.calibration.int8.speed import SpeedCheck, compared_speed
from emo_edge.calibration.language.variants import GroundTruth
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.calibration.workflow.gated_profile import INT8
from emo_edge.errors import AccuracyGateError, CheckpointError
from emo_edge.export.onnx.export import PRECISIONS
from emo_edge.export.onnx.verify import run_in_batches
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.export.reference.outputs import Reference, probabilities_with
from emo_edge.machine.summary import describe_processor
from emo_edge.metrics.gates import CENTRED
from emo_edge.metrics.label_agreement import label_evidence
from emo_edge.metrics.tensor_parity import distances
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.tensors import Tensor, TensorSpec
from emo_edge.utils.progress import Reports

ROUNDS = 20
"""Of each speed check."""


@dataclass(frozen=True)
class Int8Variant:
    """One graph in INT8 that holds its gate, and what was measured of it."""

    component: str
    variant: Variant
    planned: Int8Result
    speed: SpeedCheck
    """Against the fastest of the bundle's float variants, here."""
    beside: str
    """That variant's name."""
    machine: str
    """That was timed."""

    def made(self) -> str:
        """Say how it came about, for people."""
        return f"{self.planned.told()}; beside {self.beside} {self.speed.verdict()} ({self.machine})"


@dataclass(frozen=True)
class GraphSamples:
    """What the graphs are calibrated and measured on."""

    collected: Sequence[Sample]
    """For the ranges; streamed."""
    searched: Reference
    """For the plan: the first of those collected."""
    measured: Reference
    """For every figure; other samples."""
    truth: GroundTruth
    """Of those measured."""


class GraphCalibration:
    """Makes the INT8 variants of one bundle's graphs.

    Args:
        bundle: as it is.
        model: what it was exported from.
        samples: to calibrate and measure on.
        plan: base precision, gate and strictness.
        work: keeps what a stopped run measured.
        threads: of ONNX Runtime.
        reports: told of every step.
    """

    def __init__(
        self,
        bundle: Bundle,
        model: EmoLlamaForConditionalGeneration,
        samples: GraphSamples,
        plan: CalibrationConfig,
        work: Path,
        threads: int | None,
        reports: Reports,
    ) -> None:
        self.bundle, self.model, self.samples, self.plan = bundle, model, samples, plan
        self.work, self.threads, self.reports = work, threads, reports

    def bytes_at_most(self) -> int:
        """Bytes that the graphs in INT8 take: no more than those they are made of."""
        return sum(stored_bytes(self._floats(component)[1]) for component in self.plan.int8)

    def variant(self, component: str, writer: BundleWriter) -> Int8Variant | None:
        """Make and measure one; None, and a line that says why, where no INT8 form holds the gate.

        Raises AccuracyGateError instead if the plan is strict.
        """
        try:
            return self._variant(component, writer)
        except (AccuracyGateError, CheckpointError) as error:
            # A CheckpointError: the user's own landmark graph may be of an opset without Q/DQ in float16.
            if self.plan.strict:
                raise
            # A variant that the bundle had before keeps its file.
            for path in self._files(component, writer):
                path.unlink()
            self.reports.line(f"{component} {INT8}: left out. {error}")
            return None

    def _variant(self, component: str, writer: BundleWriter) -> Int8Variant:
        source, base = self._floats(component)
        stamp = self._stamp(component)
        target = writer.path(f"{component}-{INT8}.onnx")
        ranges = gather_ranges(
            source,
            self._feeds(component),
            state=self.work / f"{component}-{stamp}.ranges.npz",
            threads=self.threads,
            progress=lambda done: self.reports.progress(f"{component} ranges", done, len(self.samples.collected)),
        )
        planned = planned_component(
            source,
            target,
            ranges,
            self._judged(component, self.samples.searched),
            self._judged(component, self.samples.searched.first(self.plan.sensitivity)),
            self.plan.int8_gate,
            base=base,
            kept=lambda method: self.work / f"{component}-{stamp}-{method}-{self.plan.sensitivity}-blocks.json",
            threads=self.threads,
            progress=self.reports.of(f"{component} blocks in INT8"),
        )
        evidence = self._evidence(component, target)
        beside, speed = self._speed(component, target)
        evidence["speed"] = {"ratio": speed.ratio, "ratio_p10": speed.spread[0], "ratio_p90": speed.spread[1]}
        files = tuple(writer.entry(path) for path in self._files(component, writer))
        machine = f"{describe_processor()}, {self.threads or 'all'} threads"
        found = Int8Variant(component, Variant(files=files, evidence=evidence), planned, speed, beside, machine)
        self.reports.line(f"{component} {INT8}: {sum(file.size for file in files) / 1e6:.1f} MB, {found.made()}")
        return found

    def _stamp(self, component: str) -> str:
        """Tell graphs apart whose measurements a stopped run left; a connector reads the vision net's features."""
        read = ("vision", component) if component == "connector" else (component,)
        graphs = [fingerprint(self._path(part, self._float_names(part)[0])) for part in read]
        return hashlib.sha256("".join(graphs).encode()).hexdigest()[:12]

    def _files(self, component: str, writer: BundleWriter) -> list[Path]:
        """List what was written of a graph, the one to open first."""
        return sorted(writer.partial.glob(f"{component}-{INT8}.onnx*"))

    def _graph(self, component: str) -> GraphComponent:
        return self.bundle.manifest.components.graph(component)

    def _path(self, component: str, variant: str) -> Path:
        return self.bundle.files(self._graph(component).variants[variant])[0]

    def _float_names(self, component: str) -> list[str]:
        return [name for name in PRECISIONS if name in self._graph(component).variants]

    def _floats(self, component: str) -> tuple[Path, Path]:
        """Return the most precise graph, which is measured, and the one that is written in INT8."""
        names = self._float_names(component)
        base = self.plan.int8_base if self.plan.int8_base in names else names[0]
        return self._path(component, names[0]), self._path(component, base)

    def _feeds(self, component: str) -> Iterator[dict[str, Tensor]]:
        """Give the inputs of every collected sample, a batch at a time; nothing of them is kept."""
        if component != "connector":
            for vision, face in self._crops():
                yield {"image": face if component == "face" else vision}
            return
        with self._opened("vision", self._path("vision", self._float_names("vision")[0])) as session:
            for vision, _ in self._crops():
                yield {**session.run({"image": vision}), **self._question(len(vision))}

    def _crops(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Cut the collected samples for both networks, uint8 [n, H, W, 3] each; without a face network n is 0 there."""
        samples = self.samples.collected
        for start in range(0, len(samples), AT_ONCE):
            pairs = [self.model.crops(sample.image, sample.box) for sample in samples[start : start + AT_ONCE]]
            faces = [face.pixels for _, face in pairs if face]
            yield np.stack([seen.pixels for seen, _ in pairs]), np.stack(faces) if faces else np.empty(0, np.uint8)

    def _question(self, count: int) -> dict[str, Tensor]:
        question = classify_question(self.model.config.prompt, self.samples.searched.labels)
        return {name: ids.cpu().numpy() for name, ids in self.model.question_inputs([question] * count).items()}

    def _judged(self, component: str, reference: Reference) -> EvalSet:
        def evidence(outputs: Outputs) -> Mapping[str, float]:
            shares = probabilities_with(self.model, reference, component, outputs)
            return {} if shares is None else label_evidence(reference.probabilities, shares)

        return EvalSet(reference.of(component)[1], evidence)

    def _evidence(self, component: str, graph: Path) -> dict[str, dict[str, float]]:
        """Measure a graph on the samples that nothing was chosen on: its outputs, and the labels that follow.

        Raises AccuracyGateError if it misses its gate there.
        """
        truth, feed = self.samples.measured.of(component)
        with self._opened(component, graph) as session:
            outputs = run_in_batches(session, feed, progress=self.reports.of(f"measure {component} {INT8}"))
        if strange := [name for name, value in outputs.items() if not np.isfinite(value).all()]:
            raise AccuracyGateError(f"its output {', '.join(strange)} is not finite on the samples it is measured on")
        shares = probabilities_with(self.model, self.samples.measured, component, outputs)
        labels = {} if shares is None else self.samples.truth.evidence(shares)
        whole = {CENTRED: centred(truth, outputs)}
        failures = self.plan.int8_gate.failures({**labels, **whole})
        if failures:
            raise AccuracyGateError(f"on the samples it is measured on it misses its gate: {'; '.join(failures)}")
        found = {**distances(truth, outputs), "all outputs": whole}
        return {**found, "labels": labels} if labels else found

    def _opened(self, component: str, graph: Path) -> OnnxSession:
        return OnnxSession(graph, *_specs(self._graph(component)), threads=self.threads)

    def _speed(self, component: str, graph: Path) -> tuple[str, SpeedCheck]:
        """Time a graph beside each float variant, one sample at a time; the float one that is fastest counts."""
        feed = {name: value[:1] for name, value in self.samples.measured.of(component)[1].items()}
        checks = {
            name: compared_speed(self._path(component, name), graph, feed, rounds=ROUNDS, threads=self.threads)
            for name in self._float_names(component)
        }
        name = max(checks, key=lambda name: checks[name].ratio)
        return name, checks[name]


def _specs(component: GraphComponent) -> tuple[list[TensorSpec], list[TensorSpec]]:
    inputs, outputs = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
    return inputs, outputs
