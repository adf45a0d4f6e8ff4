"""Cost of INT8 for the networks before the language model: ``python -m emo_edge.benchmarks.studies.int8``.

Ranges, sensitivities and the plan come from drawings of one seed, every figure of the table from drawings of another.
Every distance is from the PyTorch reference in float32; times are measured on this machine, alternating with fp32.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.emo_tiny.samples import CALIBRATION_SEED, HELD_OUT_SEED, synthetic_samples
from emo_edge.calibration.int8.clipping_thresholds import METHODS
from emo_edge.calibration.int8.component import EvalSet, Int8Result, Int8Task, planned_component
from emo_edge.calibration.int8.graph_files import stored_bytes
from emo_edge.calibration.int8.qdq_graph import int8_from_float
from emo_edge.calibration.int8.ranges import ActivationRanges, gather_ranges
from emo_edge.calibration.int8.sensitivity import Outputs
from emo_edge.calibration.int8.speed import SpeedCheck, compared_speed
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import AccuracyGateError
from emo_edge.export.onnx.export import PRECISIONS, component_contracts, in_precision, onnx_from_component
from emo_edge.export.onnx.graph_file import save_graph
from emo_edge.export.onnx.verify import run_in_batches
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.export.reference.outputs import Reference, probabilities_with, reference_on
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.metrics.gates import INT8_GATE, Gate
from emo_edge.metrics.label_agreement import label_evidence
from emo_edge.metrics.tensor_parity import distances
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.files import write_json

LABELS = LABEL_SETS["rafdb7"]
COMPONENTS = ("vision", "connector", "face")
SENSITIVITY = 32
"""Drawings that each block is measured on."""
ROUNDS = 30


@dataclass(frozen=True)
class Row:
    """One graph: its precision, its evidence, and its time compared with fp32's."""

    component: str
    name: str
    size: int
    cosine: float
    """Smallest of any sample of any output."""
    evidence: Mapping[str, float]
    speed: SpeedCheck | None
    """One sample, against fp32; None for fp32 itself."""
    kept: tuple[str, ...] = ()
    """Blocks that a plan did not put into INT8."""


class Component:
    """One component's graphs, written and measured."""

    def __init__(
        self,
        model: EmoLlamaForConditionalGeneration,
        name: str,
        searched: Reference,
        held_out: Reference,
        truth: Sequence[int],
        work: Path,
    ) -> None:
        self.model, self.name, self.searched, self.held_out = model, name, searched, held_out
        self.truth, self.work = truth, work
        self.contracts = component_contracts(model, name)
        full = onnx_from_component(model, name)
        self.files = {
            kind: save_graph(in_precision(full, kind), work / f"{name}-{kind}.onnx")[0] for kind in PRECISIONS
        }

    def eval_set(self, reference: Reference) -> EvalSet:
        """Return the component's inputs on these samples, and the evidence of its outputs."""
        return EvalSet(reference.of(self.name)[1], lambda outputs: self.evidence(outputs, reference, None))

    def ranges(self) -> ActivationRanges:
        """Gather the activations' ranges."""
        return gather_ranges(self.files["fp32"], self.eval_set(self.searched).feeds())

    def evidence(self, outputs: Outputs, reference: Reference, truth: Sequence[int] | None) -> dict[str, float]:
        """Compare the label distributions that follow from these outputs; nothing for a graph that has no tokens."""
        probabilities = probabilities_with(self.model, reference, self.name, outputs)
        return {} if probabilities is None else label_evidence(reference.probabilities, probabilities, truth)

    def planned(self, ranges: ActivationRanges, gate: Gate, target: Path) -> Int8Result:
        """Choose the method, then the blocks to keep, on the samples of the search."""
        few = self.eval_set(self.searched.first(SENSITIVITY))
        return planned_component(Int8Task(self.files["fp32"], ranges, self.eval_set(self.searched), few, gate), target)

    def row(self, name: str, graph: Path, kept: tuple[str, ...] = ()) -> Row:
        """Measure one graph on the held-out samples."""
        truth, feed = self.held_out.of(self.name)
        with OnnxSession(graph, *self.contracts) as session:
            outputs = run_in_batches(session, feed, progress=lambda done, total: None)
        cosine = min(distance["cosine"] for distance in distances(truth, outputs).values())
        one = {key: value[:1] for key, value in feed.items()}
        base = self.files["fp32"]
        speed = None if graph == base else compared_speed(base, graph, one, rounds=ROUNDS)
        evidence = self.evidence(outputs, self.held_out, self.truth)
        return Row(self.name, name, stored_bytes(graph), cosine, evidence, speed, kept)


def component_rows(component: Component, gate: Gate) -> list[Row]:
    """Measure every precision of one component."""
    rows = [component.row(kind, path) for kind, path in component.files.items()]
    ranges = component.ranges()
    for method in METHODS:
        path = component.work / f"{component.name}-{method}.onnx"
        int8_from_float(component.files["fp32"], path, ranges.thresholds(method))
        rows.append(component.row(f"int8 {method}", path))
    path = component.work / f"{component.name}-planned.onnx"
    try:
        planned = component.planned(ranges, gate, path)
    except AccuracyGateError as error:
        click.echo(f"{component.name}: {error}", err=True)
        return rows
    kept, of = tuple(block.block for block in planned.plan.kept), len(planned.plan.costs)
    rows.append(component.row(f"int8 planned ({planned.method}, {len(kept)} of {of} blocks kept)", path, kept))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Write the rows as Markdown."""
    lines = [
        "| net | precision | MB | smallest cosine | label agreement (95 %) | mean KL | change of UAR (95 %), points "
        "| time beside fp32's (p10–p90) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        evidence, agreement, change, divergence = row.evidence, "-", "-", "-"
        if evidence:
            ends = evidence["label_agreement_low"], evidence["label_agreement_high"]
            agreement = f"{evidence['label_agreement']:.3f} ({ends[0]:.3f}–{ends[1]:.3f})"
            points = [f"{100 * evidence[f'uar_delta{end}']:+.1f}" for end in ("", "_low", "_high")]
            change, divergence = f"{points[0]} ({points[1]} to {points[2]})", f"{evidence['kl_mean']:.2e}"
        timed = "1" if row.speed is None else "{:.2f} ({:.2f}–{:.2f})".format(row.speed.ratio, *row.speed.spread)
        size = f"{row.size / 1e6:.2f}"
        lines.append(
            f"| {row.component} | {row.name} | {size} | {row.cosine:.5f} | {agreement} | {divergence} | {change} "
            f"| {timed} |"
        )
    return "\n".join(lines)


@click.command(cls=EdgeCommand)
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/int8"), show_default=True)
@click.option("--calibration", default=128, show_default=True, type=click.IntRange(16), help="Drawings to plan on.")
@click.option("--held-out", default=1000, show_default=True, type=click.IntRange(1), help="Drawings to measure on.")
@click.option(
    "--gate", default=str(INT8_GATE), show_default=True, help="Gate of the plan, on the drawings it is planned on."
)
@click.option("--workers", default=usable_cpus(), show_default=True, help="Processes that render.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(
    checkpoint: Path | None,
    work: Path,
    calibration: int,
    held_out: int,
    gate: str,
    workers: int,
    json_path: Path | None,
) -> None:
    """Measure INT8 of CHECKPOINT's networks (the packaged emo-tiny by default) on held-out drawings."""
    started, asked = time.perf_counter(), Gate.parse(gate)
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint or packaged_checkpoint("emo-tiny"))
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    searched = reference_on(model, synthetic_samples(calibration, CALIBRATION_SEED, workers=workers), LABELS)
    samples = synthetic_samples(held_out, HELD_OUT_SEED, workers=workers)
    truth = [LABELS.index(str(sample.expression)) for sample in samples]
    measured = reference_on(model, samples, LABELS)
    rows: list[Row] = []
    for name in COMPONENTS:
        rows += component_rows(Component(model, name, searched, measured, truth, work), asked)
        click.echo(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    click.echo(table(rows))
    click.echo(
        f"\nAgainst PyTorch float32 on {held_out} synthetic drawings, seed {HELD_OUT_SEED}; ranges and plan on "
        f"{calibration}, seed {CALIBRATION_SEED}, gate {asked}. Times: one sample, ONNX Runtime, {ROUNDS} rounds.\n"
        f"{describe_machine()}; {time.perf_counter() - started:.0f} s"
    )
    if json_path:
        write_json(
            json_path, {"machine": describe_machine(), "gate": str(asked), "rows": [asdict(row) for row in rows]}
        )


if __name__ == "__main__":
    main()
