"""Time and memory at true size, from import to a reading: ``python -m emo_edge.benchmarks.real_size --work DIR``.

The weights are random and stored as LLaMA-VID's are: two-byte shards with an index, a LoRA adapter of PEFT's names.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import torch

from emo_edge.benchmarks.machine import describe_machine
from emo_edge.commands import EdgeCommand
from emo_edge.errors import DeviceError, EmoEdgeError
from emo_edge.export.bundle_export import bundle_from_checkpoint
from emo_edge.export.config import EmoLlamaConfig
from emo_edge.export.export_plan import ExportPlan
from emo_edge.export.gguf_file import gguf_from_checkpoint
from emo_edge.export.import_llama_vid import LlamaVidPieces, checkpoint_from_llama_vid
from emo_edge.export.lora import CONFIG_NAME as ADAPTER_CONFIG
from emo_edge.export.model import parameter_shapes
from emo_edge.export.random_checkpoint import SHAPES
from emo_edge.export.text import LANGUAGE_MODEL_NAME
from emo_edge.faces import WholeImage
from emo_edge.packaged import packaged_checkpoint
from emo_edge.pipeline import EmotionPipeline
from emo_edge.samples import packaged_samples

MEASURED = tuple(shape for shape in SHAPES if shape.startswith("llama-vid"))
"""Shapes whose upstream files this writes."""
SHARD_BYTES = 5 << 30
LORA_RANK = 64
PLAN = ExportPlan(vision=("fp16",), face=("fp16",), language=("q4_k_m",))
COMPARED = 2
"""Pictures of the export's evidence: enough to run every step once."""
SAMPLED_EVERY_S = 0.02
PROCESSES = Path("/proc")


@dataclass(frozen=True)
class Measured:
    """One step, run in a process of its own."""

    step: str
    seconds: float
    peak_anonymous_gb: float
    """Largest RssAnon that was seen; mapped pages of files do not count."""
    written_gb: float


def measured(step: str, work: Callable[..., None], arguments: tuple[Any, ...], out: Path) -> Measured:
    """Run ``work`` in a fresh process and watch its anonymous memory until it ends.

    Raises DeviceError on a system that does not tell it, EmoEdgeError if the work fails.
    """
    if not PROCESSES.is_dir():
        raise DeviceError(f"anonymous memory is read from {PROCESSES}: measure it on Linux")
    started = time.perf_counter()
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    peak = 0
    while process.is_alive():
        peak = max(peak, _anonymous_bytes(process.pid))
        process.join(SAMPLED_EVERY_S)
    if process.exitcode:
        raise EmoEdgeError(f"{step}: stopped, see its message above")
    size = sum(path.stat().st_size for path in ([out] if out.is_file() else out.rglob("*")))
    return Measured(step, round(time.perf_counter() - started, 1), round(peak / 1e9, 2), round(size / 1e9, 2))


def _anonymous_bytes(pid: int | None) -> int:
    try:
        lines = (PROCESSES / str(pid) / "status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def write_upstream(directory: Path, sizes: Mapping[str, int]) -> None:
    """Write LLaMA-VID's directory with random half-precision weights, five gigabytes in memory at a time."""
    directory.mkdir(parents=True)
    config = EmoLlamaConfig.from_dict({"face": None, "face_info": None, "language": dict(sizes)})
    language, placed = config.language.model_dump(), dict[str, str]()
    for number, shard in enumerate(_shards(parameter_shapes(config)), 1):
        name = f"pytorch_model-{number:05}.bin"
        torch.save({key: _random(shape) for key, shape in shard.items()}, directory / name)
        placed |= dict.fromkeys(shard, name)
    _write_json(directory / "pytorch_model.bin.index.json", {"weight_map": placed})
    own = {"compress_type": "mean", "mm_projector_type": "mlp2x_gelu", "bert_type": "qformer_pretrain"}
    _write_json(directory / "config.json", {**language, **own, "image_processor": "clip-patch14-224"})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"word{row}" for row in range(4, 30522))]
    (directory / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    shutil.copy(packaged_checkpoint() / LANGUAGE_MODEL_NAME, directory)


def write_adapter(directory: Path, sizes: Mapping[str, int]) -> None:
    """Write a LoRA adapter of every linear in the language model, as PEFT names it."""
    directory.mkdir(parents=True)
    config = EmoLlamaConfig.from_dict({"face": None, "face_info": None, "language": dict(sizes)})
    factors = {}
    for name, shape in parameter_shapes(config).items():
        if name.startswith("language.model.layers.") and len(shape) == 2:
            module = f"base_model.model.{name.removeprefix('language.').removesuffix('.weight')}"
            factors[f"{module}.lora_A.weight"] = _random((LORA_RANK, shape[1]))
            factors[f"{module}.lora_B.weight"] = _random((shape[0], LORA_RANK))
    torch.save(factors, directory / "adapter_model.bin")
    _write_json(directory / ADAPTER_CONFIG, {"peft_type": "LORA", "r": LORA_RANK, "lora_alpha": 16})


def _shards(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, tuple[int, ...]]]:
    shard, size = dict[str, tuple[int, ...]](), 0
    for name, shape in shapes.items():
        own = 2 * torch.Size(shape).numel()
        if shard and size + own > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[_upstream_name(name)] = shape
        size += own
    yield shard


def _upstream_name(name: str) -> str:
    part, _, rest = name.partition(".")
    return {"vision": f"model.vision_tower.vision_tower.{rest}", "connector": f"model.{rest}"}.get(part, rest)


def _random(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.float16).normal_(std=0.02)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _import(pieces: LlamaVidPieces, target: Path, dtype: torch.dtype | None) -> None:
    checkpoint_from_llama_vid(pieces, target, dtype=dtype, report=lambda line: None)


def _gguf(checkpoint: Path, target: Path) -> None:
    gguf_from_checkpoint(checkpoint, EmoLlamaConfig.from_pretrained(checkpoint).language, target, name="random")


def _bundle(checkpoint: Path, target: Path) -> None:
    bundle_from_checkpoint(checkpoint, target, PLAN, packaged_samples(COMPARED))


def _infer(bundle: Path, report: Path) -> None:
    """Read a drawing twice and write the second reading's stage times: the first one touches every page."""
    sample = packaged_samples(1)[0]
    with EmotionPipeline.open(bundle, device="cpu", detector=WholeImage()) as pipeline:
        readings = [pipeline.read(sample.image)[0] for _ in range(2)]
    _write_json(report, readings[-1].stage_ms)


def run(work: Path, shape: str) -> tuple[list[Measured], dict[str, float]]:
    """Measure imports, a GGUF file, a bundle and a reading of it; only the upstream files are kept.

    Returns the steps, and the stage times of a reading in milliseconds.
    """
    # Names that are nobody else's: what a stopped run left under them is removed.
    model, adapter, checkpoint = (work / f"{shape}-random{part}" for part in ("", "-lora", "-checkpoint"))
    bundle, stages = work / f"{shape}-random-bundle", work / f"{shape}-random-stages.json"
    file, sizes = work / f"{shape}-random-f16.gguf", SHAPES[shape].get("language", {})
    made = (file, stages, checkpoint, bundle, bundle.with_name(f".{bundle.name}.partial"))
    _remove(*made)
    if not (adapter / ADAPTER_CONFIG).is_file():
        # Written last: without it, a stopped run left only a part.
        shutil.rmtree(model, ignore_errors=True)
        shutil.rmtree(adapter, ignore_errors=True)
        write_upstream(model, sizes)
        write_adapter(adapter, sizes)
    rows = []
    try:
        rows.append(measured("import", _import, (LlamaVidPieces(model), checkpoint, None), checkpoint))
        rows.append(measured("GGUF f16", _gguf, (checkpoint, file), file))
        _remove(file)
        step = f"bundle, vision fp16 and q4_k_m, compared on {COMPARED} pictures"
        rows.append(measured(step, _bundle, (checkpoint, bundle), bundle))
        rows.append(measured("infer, two readings", _infer, (bundle, stages), stages))
        times = json.loads(stages.read_text(encoding="utf-8"))
        _remove(bundle, checkpoint)
        pieces = LlamaVidPieces(model, lora=adapter)
        step = f"import, LoRA of rank {LORA_RANK} merged, float16"
        rows.append(measured(step, _import, (pieces, checkpoint, torch.float16), checkpoint))
    finally:
        _remove(*made)
    return rows, times


def _remove(*paths: Path) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)


def table(shape: str, rows: list[Measured], times: Mapping[str, float]) -> str:
    """Write what was measured as Markdown."""
    stages = ", ".join(f"{name} {value:.0f}" for name, value in times.items())
    lines = [
        f"| {shape}, random weights | seconds | peak RssAnon | written |",
        "|---|---|---|---|",
        *(
            f"| {row.step} | {row.seconds:.0f} | {row.peak_anonymous_gb:.2f} GB | {row.written_gb:.1f} GB |"
            for row in rows
        ),
    ]
    lines += ["", f"The second reading of a picture: {sum(times.values()):.0f} ms ({stages})."]
    return "\n".join([*lines, "", f"{describe_machine()}; RssAnon sampled every {SAMPLED_EVERY_S * 1000:.0f} ms"])


@click.command(cls=EdgeCommand)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Where 60 GB are free (7B).")
@click.option("--shape", type=click.Choice(MEASURED), default="llama-vid-7b", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(work: Path, shape: str, json_path: Path | None) -> None:
    """Measure import, export and a reading at true size with random weights."""
    work.mkdir(parents=True, exist_ok=True)
    rows, times = run(work, shape)
    click.echo(table(shape, rows, times))
    if json_path:
        steps = [asdict(row) for row in rows]
        _write_json(json_path, {"machine": describe_machine(), "shape": shape, "steps": steps, "stage_ms": times})


if __name__ == "__main__":
    main()
