"""GGUF writing and llama.cpp's own tools: ``python -m emo_edge.benchmarks.studies.gguf_converters --work DIR ...``.

One LLaMA of random float16 weights, once as a checkpoint and once as transformers' directory; each tool writes f16
and q8_0 from that, in alternating rounds, each file once the one before is on the disk. llama.cpp's script and the
source of its ``llama-quantize`` come with llama-cpp-python's source distribution, below ``vendor/llama.cpp``.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import click

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.studies.subprocess_step import Measured, measured, measured_command
from emo_edge.console.children import code_command
from emo_edge.console.commands import EdgeCommand
from emo_edge.export.configs.checkpoint import CheckpointConfig, EmoLlamaConfig
from emo_edge.export.configs.networks import LanguageConfig
from emo_edge.export.configs.random_shapes import SHAPES
from emo_edge.export.gguf.writer import PREFIX, gguf_from_checkpoint
from emo_edge.export.importers.checkpoint_writer import write_checkpoint
from emo_edge.export.importers.random_weights import RandomTensor
from emo_edge.export.reference.model import parameter_shapes
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.files import write_json

OURS, THEIRS = "emo-edge", "llama.cpp"
F16, Q8_0 = "f16", "q8_0"
OUR_QUANTIZER = f"""import sys
from pathlib import Path
from emo_edge.export.gguf.quantize import quantize_gguf
quantize_gguf(Path(sys.argv[1]), Path(sys.argv[2]), "{Q8_0}", known_finite=True)
"""
"""Program that quantizes the f16 file as an export does."""
TOOL = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)
Step = Callable[[], Measured]


class TransformersConfig(CheckpointConfig, LanguageConfig):
    """``config.json`` as transformers writes a LLaMA's."""

    architectures: tuple[str, ...] = ("LlamaForCausalLM",)
    model_type: Literal["llama"] = "llama"
    torch_dtype: Literal["float16"] = "float16"


@dataclass(frozen=True)
class Sources:
    """The same weights for both tools."""

    checkpoint: Path
    transformers: Path


@dataclass(frozen=True)
class Tools:
    """llama.cpp's own converter and quantizer."""

    converter: Path
    quantizer: Path


@dataclass(frozen=True)
class Round:
    """Times of one tool in one round, and digests of its files."""

    tool: str
    steps: Mapping[str, Measured]
    digests: Mapping[str, Mapping[str, str]]
    """File type to tensor name to a digest of its type, shape and bytes."""


def write_sources(work: Path, shape: str) -> Sources:
    """Write the language model of ``shape`` twice, unless both are there."""
    sources = Sources(work / f"{shape}-random-language", work / f"{shape}-random-transformers")
    whole = EmoLlamaConfig.from_dict({"face": None, "face_info": None, **SHAPES[shape]})
    sizes = {name: size for name, size in parameter_shapes(whole).items() if name.startswith(PREFIX)}
    tensors = [RandomTensor(name, size, seed) for seed, (name, size) in enumerate(sizes.items())]
    renamed = [replace(tensor, name=tensor.name.removeprefix(PREFIX)) for tensor in tensors]
    files = {LANGUAGE_MODEL_NAME: (packaged_checkpoint() / LANGUAGE_MODEL_NAME).read_bytes()}
    if not sources.checkpoint.is_dir():
        write_checkpoint(sources.checkpoint, whole, files, tensors)
    if not sources.transformers.is_dir():
        config = TransformersConfig(**whole.language.model_dump())
        write_checkpoint(sources.transformers, config, files, renamed)
    return sources


def tensor_digests(path: Path) -> dict[str, str]:
    """Digest every tensor of a GGUF file: its type, its shape and its bytes."""
    import gguf

    digests = {}
    for tensor in gguf.GGUFReader(path).tensors:
        digest = hashlib.sha256(f"{tensor.tensor_type.name} {tensor.shape.tolist()} ".encode())
        digest.update(tensor.data)
        digests[tensor.name] = digest.hexdigest()
    return digests


def convert_once(tool: str, sources: Sources, tools: Tools, work: Path) -> Round:
    """Let one tool write both files, digest them and remove them."""
    full, small = (work / f"converted-{tool}-{kind}.gguf" for kind in (F16, Q8_0))
    for path in (full, small):
        path.unlink(missing_ok=True)
    write, quantize = _our_steps(sources, full, small) if tool == OURS else _their_steps(sources, tools, full, small)
    try:
        os.sync()  # data that is still to be written would slow the next step
        written = write()
        os.sync()
        steps = {F16: written, Q8_0: quantize()}
        return Round(tool, steps, {F16: tensor_digests(full), Q8_0: tensor_digests(small)})
    finally:
        for path in (full, small):
            path.unlink(missing_ok=True)


def _our_steps(sources: Sources, full: Path, small: Path) -> tuple[Step, Step]:
    return (
        partial(measured, f"{OURS} {F16}", _write_f16, (sources.checkpoint, full), full),
        partial(measured_command, f"{OURS} {Q8_0}", code_command(OUR_QUANTIZER, str(full), str(small)), small),
    )


def _their_steps(sources: Sources, tools: Tools, full: Path, small: Path) -> tuple[Step, Step]:
    convert: list[str | Path] = [
        sys.executable,
        tools.converter,
        sources.transformers,
        "--outfile",
        full,
        "--outtype",
        F16,
    ]
    return (
        partial(measured_command, f"{THEIRS} {F16}", convert, full),
        partial(measured_command, f"{THEIRS} {Q8_0}", [tools.quantizer, full, small, Q8_0], small),
    )


def _write_f16(checkpoint: Path, target: Path) -> None:
    gguf_from_checkpoint(checkpoint, EmoLlamaConfig.from_pretrained(checkpoint).language, target, name="random")


def alternating(rounds: int, convert: Callable[[str], Round]) -> list[Round]:
    """Run both tools in every round; the first one changes each round."""
    orders = [(OURS, THEIRS), (THEIRS, OURS)]
    return [convert(tool) for number in range(rounds) for tool in orders[number % 2]]


def differing(runs: Sequence[Round], kind: str) -> list[str]:
    """Return the names of tensors that a run's file of a type lacks or has otherwise."""
    digests = [run.digests[kind] for run in runs]
    names = set().union(*digests)
    return sorted(name for name in names if len({run.get(name) for run in digests}) > 1)


def table(shape: str, runs: Sequence[Round]) -> str:
    """Write the measured runs as Markdown: the seconds of each, and the ratio of the medians."""
    lines = [
        f"| language model of {shape}, random weights | {OURS}, seconds | {THEIRS}, seconds | {THEIRS} / {OURS} "
        f"| peak RssAnon {OURS} | {THEIRS} | tensors that differ |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, kinds in ((F16, (F16,)), (f"{Q8_0} of that", (Q8_0,)), ("both", (F16, Q8_0))):
        taken = {tool: [run for run in runs if run.tool == tool] for tool in (OURS, THEIRS)}
        seconds = {tool: [sum(run.steps[kind].seconds for kind in kinds) for run in taken[tool]] for tool in taken}
        peaks = {
            tool: max(run.steps[kind].peak_anonymous_gb for kind in kinds for run in taken[tool]) for tool in taken
        }
        ratio = statistics.median(seconds[THEIRS]) / statistics.median(seconds[OURS])
        listed = " | ".join(", ".join(f"{value:.1f}" for value in seconds[tool]) for tool in (OURS, THEIRS))
        differ = sum(len(differing(runs, kind)) for kind in kinds)
        count = sum(len(runs[0].digests[kind]) for kind in kinds)
        lines.append(
            f"| {name} | {listed} | {ratio:.2f} | {peaks[OURS]:.2f} GB | {peaks[THEIRS]:.2f} GB | {differ} of {count} |"
        )
    return "\n".join([*lines, "", describe_machine()])


@click.command(cls=EdgeCommand)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Where 50 GB are free (7B).")
@click.option("--shape", type=click.Choice(list(SHAPES)), default="llama-vid-7b", show_default=True)
@click.option("--converter", type=TOOL, required=True, help="llama.cpp's convert_hf_to_gguf.py.")
@click.option("--quantizer", type=TOOL, required=True, help="llama.cpp's llama-quantize.")
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Rounds, in each of which both tools run."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(work: Path, shape: str, converter: Path, quantizer: Path, rounds: int, json_path: Path | None) -> None:
    """Time f16 and q8_0 of both tools in alternating rounds, and compare their tensors bit by bit."""
    work.mkdir(parents=True, exist_ok=True)
    sources, tools = write_sources(work, shape), Tools(converter, quantizer)
    runs = alternating(rounds, lambda tool: convert_once(tool, sources, tools, work))
    click.echo(table(shape, runs))
    if json_path:
        rows = [{"side": run.tool, **asdict(step)} for run in runs for step in run.steps.values()]
        differ = {kind: differing(runs, kind) for kind in (F16, Q8_0)}
        content = {"machine": describe_machine(), "shape": shape, "steps": rows, "differing_tensors": differ}
        write_json(json_path, content)


if __name__ == "__main__":
    main()
