"""Third stage of a calibration: INT8 variants of a bundle's graphs, with ranges, plan, evidence and speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_edge.bundle.manifest import UNIT_PRESENCE, Variant
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.int8.component import EvalSet, Int8Result, Int8Task, centred, planned_component
from emo_edge.calibration.int8.graph_files import stored_bytes
from emo_edge.calibration.int8.ranges import gather_ranges
from emo_edge.calibration.int8.sensitivity import Outputs
from emo_edge.calibration.int8.speed import SpeedCheck, compared_speed
from emo_edge.calibration.workflow.float_graphs import FloatGraphs
from emo_edge.calibration.workflow.gated_profile import INT8
from emo_edge.calibration.workflow.runs import GraphReference, GraphRun
from emo_edge.errors import AccuracyGateError, CheckpointError
from emo_edge.export.onnx.verify import run_in_batches
from emo_edge.machine.summary import describe_processor
from emo_edge.metrics.gates import CENTRED
from emo_edge.metrics.label_agreement import label_evidence
from emo_edge.metrics.tensor_parity import distances
from emo_edge.metrics.unit_agreement import UNIT_EVIDENCE, unit_agreement
from emo_edge.utils.files import require_disk_space

ROUNDS = 20
"""Of each speed check."""


@dataclass(frozen=True)
class Int8Variant:
    """One graph in INT8 that holds its gate, and its measurements."""

    component: str
    variant: Variant
    result: Int8Result
    speed: SpeedCheck
    """Against the fastest of the bundle's float variants, here."""
    baseline: str
    """That variant's name."""
    machine: str
    """The one that was timed."""

    def summary(self) -> str:
        """Describe for people how it was made."""
        return f"{self.result.summary()}; compared with {self.baseline}: {self.speed.verdict()} ({self.machine})"


def graph_variants(run: GraphRun, writer: BundleWriter) -> list[Int8Variant]:
    """Write and measure the requested graphs in INT8; return those that hold their gate."""
    if not run.config.int8:
        return []
    calibration = GraphCalibration(run)
    require_disk_space(writer.partial, calibration.bytes_at_most())
    variants = [calibration.variant(component, writer) for component in run.config.int8]
    return [variant for variant in variants if variant is not None]


class GraphCalibration:
    """Writes the INT8 variants of one bundle's graphs.

    Ranges come from the collected samples, the plan from the searched ones, every figure from the measured ones.
    """

    def __init__(self, run: GraphRun) -> None:
        self.run, self.config, self.reports = run, run.config, run.reports
        self.graphs = FloatGraphs(run)

    def bytes_at_most(self) -> int:
        """Bytes that the graphs in INT8 take: no more than those they are made of."""
        return sum(stored_bytes(self.graphs.floats(component)[1]) for component in self.config.int8)

    def variant(self, component: str, writer: BundleWriter) -> Int8Variant | None:
        """Write and measure one; None, and a line with the reason, where no INT8 form holds the gate.

        Raises AccuracyGateError instead if the config is strict.
        """
        try:
            return self._variant(component, writer)
        except (AccuracyGateError, CheckpointError) as error:
            # A CheckpointError: the user's own landmark graph may be of an opset without Q/DQ in float16.
            if self.config.strict:
                raise
            # A variant that the bundle had before keeps its file.
            for path in self._files(component, writer):
                path.unlink()
            self.reports.line(f"{component} {INT8}: left out. {error}")
            return None

    def _variant(self, component: str, writer: BundleWriter) -> Int8Variant:
        target = writer.path(f"{component}-{INT8}.onnx")
        result = self._quantized(component, target)
        evidence = self._evidence(component, target)
        baseline, speed = self._speed(component, target)
        evidence["speed"] = {"ratio": speed.ratio, "ratio_p10": speed.spread[0], "ratio_p90": speed.spread[1]}
        files = tuple(writer.entry(path) for path in self._files(component, writer))
        machine = f"{describe_processor()}, {self.run.threads or 'all'} threads"
        variant = Int8Variant(component, Variant(files=files, evidence=evidence), result, speed, baseline, machine)
        self.reports.line(f"{component} {INT8}: {sum(file.size for file in files) / 1e6:.1f} MB, {variant.summary()}")
        return variant

    def _quantized(self, component: str, target: Path) -> Int8Result:
        """Gather the ranges and write the form in INT8."""
        source, base = self.graphs.floats(component)
        stamp, searched = self.graphs.stamp(component), self.run.searched
        ranges = gather_ranges(
            source,
            self.graphs.feeds(component),
            state=self.run.work / f"{component}-{stamp}.ranges.npz",
            threads=self.run.threads,
            progress=lambda done: self.reports.progress(f"{component} ranges", done, len(self.run.collected)),
        )
        task = Int8Task(
            source,
            ranges,
            searched=self._eval_set(component, searched),
            blocks_on=self._eval_set(component, searched.first(self.config.sensitivity)),
            gate=self.config.int8_gate,
            base=base,
            threads=self.run.threads,
        )
        return planned_component(
            task,
            target,
            kept=lambda method: self.run.work / f"{component}-{stamp}-{method}-{self.config.sensitivity}-blocks.json",
            progress=self.reports.of(f"{component} blocks in INT8"),
        )

    def _files(self, component: str, writer: BundleWriter) -> list[Path]:
        """List the files written of a graph, the one to open first."""
        return sorted(writer.partial.glob(f"{component}-{INT8}.onnx*"))

    def _eval_set(self, component: str, reference: GraphReference) -> EvalSet:
        def evidence(outputs: Outputs) -> Mapping[str, float]:
            probabilities = self.run.probabilities_with(reference, component, outputs)
            labels = {} if probabilities is None else label_evidence(reference.probabilities, probabilities)
            return {**self._units(reference.of(component)[0], outputs), **labels}

        return EvalSet(reference.of(component)[1], evidence)

    def _units(self, truth: Outputs, outputs: Outputs) -> dict[str, float]:
        """Compare the decisions on action units; nothing of a graph that gives none."""
        section = self.run.bundle.manifest.action_units
        if section is None or UNIT_PRESENCE not in truth:
            return {}
        return unit_agreement(truth[UNIT_PRESENCE], outputs[UNIT_PRESENCE], section.thresholds)

    def _evidence(self, component: str, graph: Path) -> dict[str, dict[str, float]]:
        """Measure a graph on the samples that nothing was chosen on: its outputs, and the labels that follow.

        Raises AccuracyGateError if it fails its gate there.
        """
        truth, feed = self.run.reference.of(component)
        with self.graphs.opened(component, graph) as session:
            outputs = run_in_batches(session, feed, progress=self.reports.of(f"measure {component} {INT8}"))
        if broken := [name for name, value in outputs.items() if not np.isfinite(value).all()]:
            raise AccuracyGateError(f"its output {', '.join(broken)} is not finite on the samples it is measured on")
        probabilities = self.run.probabilities_with(self.run.reference, component, outputs)
        labels = {} if probabilities is None else self.run.truth.evidence(probabilities)
        whole, units = {CENTRED: centred(truth, outputs)}, self._units(truth, outputs)
        failures = self.config.int8_gate.failures({**units, **labels, **whole})
        if failures:
            raise AccuracyGateError(f"on the samples it is measured on it fails its gate: {'; '.join(failures)}")
        evidence = {**distances(truth, outputs), "all outputs": whole, **({UNIT_EVIDENCE: units} if units else {})}
        return {**evidence, "labels": labels} if labels else evidence

    def _speed(self, component: str, graph: Path) -> tuple[str, SpeedCheck]:
        """Time a graph against each float variant, one sample at a time; the fastest float one is the baseline."""
        feed = {name: value[:1] for name, value in self.run.reference.of(component)[1].items()}
        checks = {
            name: compared_speed(
                self.graphs.path(component, name), graph, feed, rounds=ROUNDS, threads=self.run.threads
            )
            for name in self.graphs.float_names(component)
        }
        name = max(checks, key=lambda name: checks[name].ratio)
        return name, checks[name]
