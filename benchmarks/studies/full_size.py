"""Time and memory at true size, from import to a reading.

``python -m emo_edge.benchmarks.studies.full_size --work DIR`` runs it.
The weights are random. LLaMA-VID's are stored as upstream does, two-byte shards with an index and a LoRA adapter of
PEFT's names, and imported; another model's checkpoint is written as ``emo-edge import random`` does.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import click
import torch

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.studies.subprocess_step import SAMPLED_EVERY_S, Measured, measured
from emo_edge.benchmarks.studies.upstream_files import LORA_RANK, UPSTREAM_SHAPES, upstream_pieces
from emo_edge.console.commands import EdgeCommand
from emo_edge.export.bundles.config import ExportConfig
from emo_edge.export.bundles.emo_llama import bundle_from_checkpoint
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.configs.random_shapes import SHAPES
from emo_edge.export.gguf.writer import gguf_from_checkpoint
from emo_edge.export.importers.llama_vid import LlamaVidPieces, checkpoint_from_llama_vid
from emo_edge.export.importers.random_weights import random_checkpoint
from emo_edge.export.onnx.export import in_precision, onnx_from_component
from emo_edge.export.onnx.graph_file import save_graph
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.files import read_json, write_json

PLAN = ExportConfig(vision=("fp16",), face=("fp16",), language=("q4_k_m",))
COMPARED = 2
"""Pictures of the export's evidence: enough to run every step once."""


def _import(pieces: LlamaVidPieces, target: Path, dtype: torch.dtype | None) -> None:
    checkpoint_from_llama_vid(pieces, target, dtype=dtype, report=lambda line: None)


def _gguf(checkpoint: Path, target: Path) -> None:
    gguf_from_checkpoint(checkpoint, EmoLlamaConfig.from_pretrained(checkpoint).language, target, name="random")


def _vision(checkpoint: Path, target: Path) -> None:
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint, stream=True)
    target.mkdir()
    save_graph(in_precision(onnx_from_component(model, "vision"), "fp16"), target / "vision.onnx")


def _bundle(checkpoint: Path, target: Path) -> None:
    bundle_from_checkpoint(checkpoint, target, PLAN, packaged_samples(COMPARED))


def _infer(bundle: Path, report: Path) -> None:
    """Read a drawing twice and write the second's stage times: the first touches every page and leaves its prompt."""
    sample = packaged_samples(1)[0]
    with EmotionPipeline.open(bundle, device="cpu", detector=WholeImage()) as pipeline:
        readings = [pipeline.read(sample.image)[0] for _ in range(2)]
    write_json(report, readings[-1].stage_ms)


def run(work: Path, shape: str) -> tuple[list[Measured], dict[str, float]]:
    """Measure imports, a GGUF file, a bundle and a reading of it; only the upstream files are kept.

    Returns the steps, and the stage times of a reading in milliseconds.
    """
    # Names that nothing else has: files that a stopped run left under them are removed.
    checkpoint, bundle = work / f"{shape}-random-checkpoint", work / f"{shape}-random-bundle"
    graph = work / f"{shape}-random-vision"
    file, stages = work / f"{shape}-random-f16.gguf", work / f"{shape}-random-stages.json"
    outputs = (file, graph, stages, checkpoint, bundle, bundle.with_name(f".{bundle.name}.partial"))
    _remove(*outputs)
    pieces = upstream_pieces(work, shape) if shape in UPSTREAM_SHAPES else None
    rows = []
    try:
        if pieces:
            plain = replace(pieces, lora=None)
            rows.append(measured("import", _import, (plain, checkpoint, None), checkpoint))
        else:
            rows.append(measured("import random", random_checkpoint, (shape, checkpoint), checkpoint))
        rows.append(measured("GGUF f16", _gguf, (checkpoint, file), file))
        _remove(file)
        rows.append(measured("vision net to ONNX, fp16", _vision, (checkpoint, graph), graph))
        _remove(graph)
        step = f"bundle, vision fp16 and q4_k_m, compared on {COMPARED} pictures"
        rows.append(measured(step, _bundle, (checkpoint, bundle), bundle))
        rows.append(measured("infer, two readings", _infer, (bundle, stages), stages))
        times = read_json(stages, "the reading did not write it")
        _remove(bundle, checkpoint)
        if pieces:
            step = f"import, LoRA of rank {LORA_RANK} merged, float16"
            rows.append(measured(step, _import, (pieces, checkpoint, torch.float16), checkpoint))
    finally:
        _remove(*outputs)
    return rows, times


def _remove(*paths: Path) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)


def table(shape: str, rows: list[Measured], times: Mapping[str, float]) -> str:
    """Write the measured steps as Markdown."""
    stages = ", ".join(f"{name} {value:.0f}" for name, value in times.items())
    lines = [
        f"| {shape}, random weights | seconds | peak RssAnon | written |",
        "|---|---|---|---|",
        *(
            f"| {row.step} | {row.seconds:.0f} | {row.peak_anonymous_gb:.2f} GB | {row.written_gb:.1f} GB |"
            for row in rows
        ),
    ]
    total = sum(times.values())
    lines += ["", f"The second reading of the same picture, its prompt still there: {total:.0f} ms ({stages})."]
    return "\n".join([*lines, "", f"{describe_machine()}; RssAnon sampled every {SAMPLED_EVERY_S * 1000:.0f} ms"])


@click.command(cls=EdgeCommand)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Where 60 GB are free (7B).")
@click.option("--shape", type=click.Choice(list(SHAPES)), default="llama-vid-7b", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(work: Path, shape: str, json_path: Path | None) -> None:
    """Measure import, export and a reading at true size with random weights."""
    work.mkdir(parents=True, exist_ok=True)
    rows, times = run(work, shape)
    click.echo(table(shape, rows, times))
    if json_path:
        steps = [asdict(row) for row in rows]
        write_json(json_path, {"machine": describe_machine(), "shape": shape, "steps": steps, "stage_ms": times})


if __name__ == "__main__":
    main()
