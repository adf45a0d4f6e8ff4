"""Memory of gathering INT8 ranges by number of samples: ``python -m emo_edge.benchmarks.studies.range_memory``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.studies.subprocess_step import SAMPLED_EVERY_S, Measured, measured
from emo_edge.calibration.int8.ranges import gather_ranges
from emo_edge.console.commands import EdgeCommand
from emo_edge.export.onnx.export import onnx_from_component
from emo_edge.export.onnx.graph_file import save_graph
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.machine.summary import describe_machine
from emo_edge.tensors import Tensor

COUNTS = (32, 1024)
AT_ONCE = 16


def noise(count: int, size: int) -> Iterator[dict[str, Tensor]]:
    """Draw ``count`` square pictures of noise, a batch at a time."""
    rng = np.random.default_rng(0)
    for start in range(0, count, AT_ONCE):
        rows = min(AT_ONCE, count - start)
        yield {"image": rng.integers(0, 256, (rows, size, size, 3), np.uint8)}


def _gather(graph: Path, size: int, count: int) -> None:
    gather_ranges(graph, noise(count, size))


def memory_rows(graph: Path, size: int, counts: Sequence[int]) -> list[Measured]:
    """Gather ranges of a graph over each number of pictures, each in a process of its own."""
    return [measured(f"{count:,} pictures", _gather, (graph, size, count), graph) for count in counts]


def table(rows: Sequence[Measured]) -> str:
    """Write the measured rows as Markdown."""
    lines = ["| ranges of the vision net | seconds | peak RssAnon |", "|---|---|---|"]
    return "\n".join(
        [*lines, *(f"| {row.step} | {row.seconds:.0f} | {row.peak_anonymous_gb:.2f} GB |" for row in rows)]
    )


@click.command(cls=EdgeCommand)
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
def main(checkpoint: Path | None) -> None:
    """Measure the memory of range gathering on CHECKPOINT's vision net (the packaged emo-tiny's by default)."""
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint or packaged_checkpoint("emo-tiny"))
    with tempfile.TemporaryDirectory() as folder:
        graph = save_graph(onnx_from_component(model, "vision"), Path(folder) / "vision.onnx")[0]
        rows = memory_rows(graph, model.config.vision.image_size, COUNTS)
    click.echo(table(rows))
    click.echo(f"\n{describe_machine()}; RssAnon sampled every {SAMPLED_EVERY_S * 1000:.0f} ms, imports included")


if __name__ == "__main__":
    main()
