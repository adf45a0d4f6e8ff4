"""A bundle compared with its alternatives: ``python -m emo_edge.benchmarks.peers BUNDLE --checkpoint DIR ...``.

PyTorch that generates an answer, llama.cpp's own programs on the same GGUF file, a LLaVA of the same language model,
and other engines on the same vision graph. Every contender opens its models in a fresh process in every
round, so that ratios hold where times do not. For the shape of a 7B model make one of random weights first:
``emo-edge import random --shape llama-vid-7b``, then ``emo-edge export``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.measure.machine import machine_section, read_state, watched_state
from emo_edge.benchmarks.measure.roofline import measure_roofline
from emo_edge.benchmarks.peers import contenders
from emo_edge.benchmarks.peers.llama_cpp_tools import llama_tools
from emo_edge.benchmarks.peers.random_mmproj import ClipShape, write_clip_projector
from emo_edge.benchmarks.peers.rounds import Contender, child, in_child, section
from emo_edge.benchmarks.peers.table import OURS, PEERS, Row, as_json, table
from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.bundle.reader import Bundle, profile_of
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError
from emo_edge.machine.cpus import usable_cpus
from emo_edge.utils.files import write_json


@dataclass(frozen=True)
class PeersConfig:
    """Bundle, checkpoint and options of a measurement."""

    bundle: Path
    checkpoint: Path
    work: Path
    device: str
    profile: str
    variants: Mapping[str, str]
    threads: int
    rounds: int
    calls: int
    prompt: int
    written: int
    clip_layers: int
    cmake: tuple[str, ...]


def run(plan: PeersConfig, report: Callable[[str], None]) -> list[Row]:
    """Measure one section after the other, its contenders in alternating rounds."""
    tools = llama_tools(plan.work, plan.cmake, report)
    gguf = _gguf(plan)
    projector = write_clip_projector(plan.work / "clip-random.gguf", gguf, ClipShape(layers=plan.clip_layers))
    picture, question, threads = _picture(), contenders.mtmd_prompt(Bundle.open(plan.bundle)), plan.threads
    once, calls = partial(_one, "label"), plan.calls
    graph, given = plan.variants["vision"], (plan.bundle, plan.checkpoint)
    sections: dict[str, dict[str, Contender]] = {
        "frame to label": {
            OURS: once(contenders.our_readings, plan.bundle, plan.device, plan.profile, threads, calls),
            PEERS["torch"]: once(contenders.torch_answers, plan.checkpoint, "bfloat16", threads, calls),
            PEERS["mtmd"]: once(contenders.mtmd_answers, tools.mtmd, gguf, projector, picture, question, threads),
        },
        "language": {
            OURS: child(
                contenders.our_language,
                plan.bundle,
                plan.variants["language"],
                plan.prompt,
                plan.written,
                threads,
                calls,
            ),
            PEERS["bench"]: child(contenders.llama_bench, tools.bench, gguf, plan.prompt, plan.written, threads, calls),
        },
        "vision": {
            f"{OURS}, --device {device}": _one(
                "vision", contenders.our_vision, plan.bundle, graph, device, threads, calls
            )
            for device in dict.fromkeys((plan.device, "cpu", "openvino"))
        }
        | {
            f"PyTorch eager {name}": _one("vision", contenders.torch_vision, *given, dtype, threads, calls)
            for name, dtype in (("bf16", "bfloat16"), ("fp32", "float32"))
        }
        | {
            PEERS["openvino"]: _one("vision", contenders.plain_openvino, plan.bundle, graph, threads, calls),
            PEERS["optimum"]: _one("vision", contenders.optimum_vision, plan.bundle, graph, threads, calls),
        },
    }
    return [row for name, timed in sections.items() for row in section(name, timed, plan.rounds, report)]


def _one(stage: str, work: Callable[..., contenders.Timed], *arguments: Any) -> Contender:
    return lambda: {stage: in_child(work, *arguments)}


def _gguf(plan: PeersConfig) -> Path:
    """Return the language model's file."""
    opened = Bundle.open(plan.bundle)
    language = opened.manifest.components.language
    assert language is not None  # the profile names a variant of it
    return opened.files(language.variants[plan.variants["language"]])[0]


def _asked(plan: PeersConfig) -> dict[str, Any]:
    """Return the settings that a reader needs to repeat the measurement."""
    kept = ("device", "profile", "threads", "rounds", "calls", "prompt", "written", "clip_layers")
    provenance = Bundle.open(plan.bundle).manifest.provenance
    return {
        "bundle": Bundle.open(plan.bundle).manifest.name,
        "purpose": provenance.get("purpose", ""),
        **{name: getattr(plan, name) for name in kept},
        **plan.variants,
        "cmake": " ".join(plan.cmake),
    }


def _picture() -> Path:
    source = packaged_samples(1)[0].source
    if not isinstance(source, Path):
        raise InputError("the packaged drawing is not a file")
    return source


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), required=True, help="Checkpoint that the bundle was exported from."
)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Keeps llama.cpp's programs; 2 GB.")
@click.option(
    "--device", type=click.Choice(["cpu", "openvino"]), default="cpu", show_default=True, help="Device of our engines."
)
@click.option("--profile", help="Profile of ours; the bundle's default if left out.")
@click.option("--threads", type=click.IntRange(1), default=usable_cpus(), show_default=True)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Rounds, in each of which every contender is timed.",
)
@click.option(
    "--calls", type=click.IntRange(1), default=3, show_default=True, help="Timed calls of each contender in a round."
)
@click.option("--prompt", type=click.IntRange(2), default=128, show_default=True, help="Tokens that are read.")
@click.option("--written", type=click.IntRange(2), default=16, show_default=True, help="Tokens that are written.")
@click.option(
    "--clip-layers", type=click.IntRange(1), default=23, show_default=True, help="Layers of the LLaVA's image tower."
)
@click.option("--cmake", multiple=True, metavar="-DNAME=VALUE", help="How llama.cpp's programs are built.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every sample there, too.")
def main(
    bundle: Path, checkpoint: Path, work: Path, profile: str | None, json_path: Path | None, **options: Any
) -> None:
    """Time BUNDLE, PyTorch, llama.cpp's programs, a LLaVA, OpenVINO and optimum."""
    work.mkdir(parents=True, exist_ok=True)
    name, chosen = profile_of(Bundle.open(bundle), profile)
    variants = {part: value for part, value in chosen if isinstance(value, str)}
    if not {"vision", "language"} <= variants.keys():
        raise InputError(f"profile {name} has no vision graph or no language model")
    before = watched_state()
    plan = PeersConfig(bundle, checkpoint, work.resolve(), profile=name, variants=variants, **options)
    rows = run(plan, lambda line: click.echo(line, err=True))
    machine = machine_section(before, read_state(), plan.device, plan.threads)
    content = as_json(rows, read_gguf_header(_gguf(plan)), measure_roofline(plan.threads), machine, _asked(plan))
    click.echo(table(content))
    if json_path:
        write_json(json_path, content)


if __name__ == "__main__":
    main()
