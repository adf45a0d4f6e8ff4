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
from emo_edge.benchmarks.measure.roofline import Roofline, measure_roofline, roofline_of
from emo_edge.benchmarks.peers import contenders
from emo_edge.benchmarks.peers.llama_cpp_tools import Tools, llama_tools
from emo_edge.benchmarks.peers.random_mmproj import ClipShape, write_clip_projector
from emo_edge.benchmarks.peers.rounds import Contender, child, in_child, section
from emo_edge.benchmarks.peers.table import FACES, FOUR_FACES, LABEL, OURS, PEERS, UNCACHED, Row, as_json, table
from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.bundle.label_sets import resolve_labels
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
    question_cache: contenders.Cache
    cmake: tuple[str, ...]
    programs: bool
    """llama.cpp's own programs are built and timed, too."""


def run(plan: PeersConfig, report: Callable[[str], None]) -> list[Row]:
    """Measure one section after the other, its contenders in alternating rounds."""
    from emo_edge.benchmarks.peers import pytorch

    once, threads, calls = partial(one_stage, "label"), plan.threads, plan.calls
    own = (plan.bundle, plan.device, plan.profile, threads, calls)
    eager = (pytorch.torch_answers, plan.checkpoint, "bfloat16", threads, calls)
    sections: dict[str, dict[str, Contender]] = {
        LABEL: {
            **_ours(plan, partial(once, contenders.our_readings, *own)),
            PEERS["torch"]: once(*eager),
            PEERS["kept"]: once(*eager, keep_prefix=True),
        },
        FOUR_FACES: {
            **_ours(plan, partial(once, contenders.our_readings, *own, faces=FACES)),
            PEERS["torch"]: once(*eager, faces=FACES),
        },
        "vision": _vision(plan),
    }
    if plan.programs:
        tools = llama_tools(plan.work, plan.cmake, report)
        sections[LABEL][PEERS["mtmd"]] = once(*_mtmd(plan, tools))
        sections["language"] = _language(plan, tools)
    return [row for name, timed in sections.items() for row in section(name, timed, plan.rounds, report)]


def _mtmd(plan: PeersConfig, tools: Tools) -> tuple[Any, ...]:
    """Return how `llama-mtmd-cli` is timed: a random LLaVA of the same language model, asked the same question."""
    gguf = _gguf(plan)
    projector = write_clip_projector(plan.work / "clip-random.gguf", gguf, ClipShape(layers=plan.clip_layers))
    question = contenders.mtmd_prompt(Bundle.open(plan.bundle))
    return contenders.mtmd_answers, tools.mtmd, gguf, projector, picture(), question, plan.threads


def _language(plan: PeersConfig, tools: Tools) -> dict[str, Contender]:
    """Return the language model alone, with our runtime and with `llama-bench`."""
    sizes = plan.prompt, plan.written, plan.threads, plan.calls
    variant = plan.variants["language"]
    return {
        OURS: child(contenders.our_language, plan.bundle, variant, *sizes),
        PEERS["bench"]: child(contenders.llama_bench, tools.bench, _gguf(plan), *sizes),
    }


def _vision(plan: PeersConfig) -> dict[str, Contender]:
    """Return the engines of the image tower; those of others take the float graph, as exporters write it."""
    from emo_edge.benchmarks.peers import pytorch

    once, threads, calls = partial(one_stage, "vision"), plan.threads, plan.calls
    graph, plain = plan.variants["vision"], _float_graph(plan)
    own = {
        f"{OURS}, --device {device}": once(contenders.our_vision, plan.bundle, graph, device, threads, calls)
        for device in dict.fromkeys((plan.device, "cpu", "openvino"))
    }
    eager = {
        f"PyTorch eager {name}": once(pytorch.torch_vision, plan.bundle, plan.checkpoint, dtype, threads, calls)
        for name, dtype in (("bf16", "bfloat16"), ("fp32", "float32"))
    }
    peers = {
        PEERS["openvino"]: once(contenders.plain_openvino, plan.bundle, plain, threads, calls),
        PEERS["optimum"]: once(contenders.optimum_vision, plan.bundle, plain, threads, calls),
    }
    if graph != plain:
        peers[PEERS["openvino-own"]] = once(contenders.plain_openvino, plan.bundle, graph, threads, calls)
    return own | eager | peers


def _float_graph(plan: PeersConfig) -> str:
    """Return the profile's variant of the image tower, or the smallest float one where that is in INT8."""
    vision = Bundle.open(plan.bundle).manifest.components.vision
    assert vision is not None  # the profile names a variant of it
    graph = plan.variants["vision"]
    return next((name for name in ("fp16", "fp32") if name in vision.variants), graph) if graph == "int8" else graph


def one_stage(stage: str, work: Callable[..., contenders.Timed], *arguments: Any, **options: Any) -> Contender:
    """Return a contender that times one stage in a fresh process."""
    return lambda: {stage: in_child(partial(work, **options), *arguments)}


def _ours(plan: PeersConfig, reading: Callable[..., Contender]) -> dict[str, Contender]:
    """Return our readings with the question cache, if there is one, and without it."""
    if plan.question_cache is None:
        return {OURS: reading()}
    return {OURS: reading(cache=plan.question_cache), UNCACHED: reading()}


def _gguf(plan: PeersConfig) -> Path:
    """Return the language model's file."""
    opened = Bundle.open(plan.bundle)
    language = opened.manifest.components.language
    assert language is not None  # the profile names a variant of it
    return opened.files(language.variants[plan.variants["language"]])[0]


def _asked(plan: PeersConfig) -> dict[str, Any]:
    """Return the settings that a reader needs to repeat the measurement."""
    kept = ("device", "profile", "threads", "rounds", "calls", "prompt", "written", "clip_layers", "question_cache")
    provenance = Bundle.open(plan.bundle).manifest.provenance
    return {
        "bundle": Bundle.open(plan.bundle).manifest.name,
        "purpose": provenance.get("purpose", ""),
        **{name: getattr(plan, name) for name in kept},
        **plan.variants,
        "cmake": " ".join(plan.cmake),
    }


def _stages(plan: PeersConfig, rows: list[Row], roofline: Roofline) -> dict[str, Any]:
    """Return each stage of our label of one face: its time, its bytes and operations, and its share of the floor."""
    facts: Mapping[str, Any] = next(
        (row.facts for row in rows if row.contender == OURS and "stages" in row.facts), {"stages": {}}
    )
    measured = {name: {"p50": ms} for name, ms in facts["stages"].items()}
    opened = contenders.with_question_cache(Bundle.open(plan.bundle), plan.profile, plan.question_cache)
    labels = resolve_labels(opened.manifest, contenders.LABELS)
    floors = roofline_of(opened, plan.profile, labels, roofline, measured) or {}
    return {name: {"ms": facts["stages"][name], **floor} for name, floor in floors.items()}


def picture() -> Path:
    """Return the file of a packaged drawing."""
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
@click.option(
    "--question-cache",
    "cache",
    type=click.IntRange(0),
    nargs=2,
    metavar="HEAD TAIL",
    help="Positions of the question that are computed for each face; the profile's own cache if left out.",
)
@click.option("--cmake", multiple=True, metavar="-DNAME=VALUE", help="How llama.cpp's programs are built.")
@click.option("--programs/--no-programs", default=True, help="Build llama.cpp's own programs, and time them.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every sample there, too.")
def main(
    bundle: Path,
    checkpoint: Path,
    work: Path,
    profile: str | None,
    cache: contenders.Cache,
    json_path: Path | None,
    **options: Any,
) -> None:
    """Time BUNDLE, PyTorch, llama.cpp's programs, a LLaVA, OpenVINO and optimum."""
    work.mkdir(parents=True, exist_ok=True)
    name, chosen = profile_of(Bundle.open(bundle), profile)
    variants = {part: value for part, value in chosen if isinstance(value, str)}
    if not {"vision", "language"} <= variants.keys():
        raise InputError(f"profile {name} has no vision graph or no language model")
    if cache is None and chosen.question_cache:
        cache = chosen.question_cache.head, chosen.question_cache.tail
    before = watched_state()
    plan = PeersConfig(
        bundle, checkpoint, work.resolve(), profile=name, variants=variants, question_cache=cache, **options
    )
    rows = run(plan, lambda line: click.echo(line, err=True))
    machine = machine_section(before, read_state(), plan.device, plan.threads)
    roofline = measure_roofline(plan.threads)
    content = as_json(rows, read_gguf_header(_gguf(plan)), roofline, machine, _asked(plan))
    content["stages"] = _stages(plan, rows, roofline)
    click.echo(table(content))
    if json_path:
        write_json(json_path, content)


if __name__ == "__main__":
    main()
