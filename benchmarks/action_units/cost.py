"""Time that action units add: ``python -m emo_edge.benchmarks.action_units.cost``.

SACL is timed as more outputs of the face graph, AUFormer beside the vision tower that it stands on. Both graphs of a
pair compute in turns on ONNX Runtime's CPU, so that ratios hold where times do not. Weights of AUFormer are random:
time does not depend on them. Where TensorRT is installed its parser, which needs no card, counts the layers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.calibration.int8.speed import SpeedCheck, compared_speed
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError, MissingExtraError
from emo_edge.export.configs.action_units import AuFormerConfig
from emo_edge.export.models.action_units.auformer import AuFormer
from emo_edge.export.onnx.export import (
    PRECISIONS,
    in_precision,
    onnx_from_auformer,
    onnx_from_component,
)
from emo_edge.export.onnx.graph_file import Graph, save_graph
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.machine.summary import describe_machine
from emo_edge.runtimes.tensorrt.api import strongly_typed_network, tensorrt_module
from emo_edge.taxonomy import ACTION_UNITS
from emo_edge.utils.files import write_json

SACL, AUFORMER = "SACL on the face graph", "AUFormer beside its tower"
GOALS = {SACL: 1.15, AUFORMER: 3.0}
"""Largest quotient of the medians that is aimed at."""
EXPERT_SIZE = 4
"""Of AUFormer on emo-tiny's tower."""


@dataclass(frozen=True)
class Pair:
    """A graph with action units and one without, of the same input."""

    name: str
    without: Graph
    with_units: Graph
    side: int
    """Pixels of the crop."""


@dataclass(frozen=True)
class Row:
    """Times of one pair in one precision."""

    name: str
    precision: str
    faces: int
    check: SpeedCheck
    layers: int | None
    """Of the graph with action units, as TensorRT reads it; None where it is not installed."""

    @property
    def medians_ms(self) -> tuple[float, float]:
        """Median time without and with action units."""
        return float(np.median(self.check.baseline_ms)), float(np.median(self.check.candidate_ms))


def pairs(model: EmoLlamaForConditionalGeneration) -> Iterator[Pair]:
    """Trace the pairs of a checkpoint that has action units on its face trunk; raise InputError for another one."""
    config = model.config
    if config.face is None or config.action_units is None or model.face is None:
        raise InputError("the checkpoint has no action units: train some with emo_edge.benchmarks.action_units.train")
    yield Pair(SACL, _without_units(model), onnx_from_component(model, "face"), config.face.image_size)
    tower = config.vision
    torch.manual_seed(0)
    auformer = AuFormer(
        AuFormerConfig(
            units=ACTION_UNITS, intensity=True, tower=tower, image_size=tower.image_size, expert_size=EXPERT_SIZE
        )
    ).eval()
    yield Pair(AUFORMER, onnx_from_component(model, "vision"), onnx_from_auformer(auformer), tower.image_size)


def _without_units(model: EmoLlamaForConditionalGeneration) -> Graph:
    """Trace the same face graph, face tokens included, as if the checkpoint had no action units."""
    units, model.units = model.units, None
    try:
        return onnx_from_component(model, "face")
    finally:
        model.units = units


def measured(pair: Pair, precision: str, faces: int, rounds: int, threads: int | None) -> Row:
    """Time both graphs of a pair in turns, on random pictures."""
    draw = np.random.default_rng(0)
    feed = {"image": draw.integers(0, 256, (faces, pair.side, pair.side, 3), dtype=np.uint8)}
    with tempfile.TemporaryDirectory() as folder:
        without, with_units = (
            save_graph(in_precision(graph, precision), Path(folder, f"{name}.onnx"))[0]
            for name, graph in (("without", pair.without), ("with", pair.with_units))
        )
        check = compared_speed(without, with_units, feed, rounds=rounds, threads=threads)
        return Row(pair.name, precision, faces, check, layers_read(with_units))


def layers_read(path: Path) -> int | None:
    """Count the layers of a graph as TensorRT's parser reads them; None without TensorRT."""
    try:
        trt = tensorrt_module()
    except MissingExtraError:
        return None
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = strongly_typed_network(trt, builder)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        raise InputError(f"{path.name}: TensorRT does not read it ({parser.get_error(0)})")
    return int(network.num_layers)


def table(rows: list[Row]) -> str:
    """Return the rows in Markdown."""
    lines = [
        "| | precision | faces | p50 without, ms | p50 with, ms | quotient by round (p10–p90) | aimed at "
        "| layers in TensorRT |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        before, after = row.medians_ms
        low, high = row.check.spread
        lines.append(
            f"| {row.name} | {row.precision} | {row.faces} | {before:.2f} | {after:.2f} "
            f"| {row.check.ratio:.2f} ({low:.2f}–{high:.2f}) | {GOALS[row.name]:g} "
            f"| {'–' if row.layers is None else f'{row.layers:,}'} |"
        )
    return "\n".join(lines)


@click.command(cls=EdgeCommand)
@click.option("--checkpoint", type=click.Path(path_type=Path, exists=True), help="The packaged emo-tiny if left out.")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS), default=PRECISIONS)
@click.option("--faces", default=1, show_default=True, type=click.IntRange(1, 32), help="Crops at once.")
@click.option("--rounds", default=200, show_default=True, type=click.IntRange(3), help="Rounds of both graphs.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; ONNX Runtime's own choice if left out.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every time there, too.")
def main(
    checkpoint: Path | None,
    precisions: tuple[str, ...],
    faces: int,
    rounds: int,
    threads: int | None,
    json_path: Path | None,
) -> None:
    """Time the face graph and the vision tower with and without action units, in turns."""
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint or packaged_checkpoint())
    rows = [measured(pair, precision, faces, rounds, threads) for pair in pairs(model) for precision in precisions]
    click.echo(f"{table(rows)}\n\n{describe_machine()}, {threads or 'all'} threads, {rounds} rounds")
    if json_path:
        content = [{**asdict(row), "check": row.check.as_json()} for row in rows]
        write_json(json_path, {"machine": describe_machine(), "threads": threads, "rows": content})


if __name__ == "__main__":
    main()
