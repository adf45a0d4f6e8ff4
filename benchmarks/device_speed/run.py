"""A bundle and PyTorch, stage by stage and device by device: ``python -m emo_edge.benchmarks.device_speed BUNDLE``.

For the shape of a 7B model, make one of random weights: ``emo-edge import random llama-vid-7b``, ``emo-edge export``,
``emo-edge calibrate``. Every engine of a stage computes in every round, so that ratios hold where times do not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from emo_edge.benchmarks.device_speed.rounds import Contender, Row, SessionCache, measured, processor_of
from emo_edge.benchmarks.device_speed.stages import (
    DECODED,
    Question,
    StageInputs,
    chosen_variants,
    graph_contenders,
    language_contenders,
)
from emo_edge.benchmarks.device_speed.table import as_json, table
from emo_edge.benchmarks.measure.machine import machine_section, read_state, watched_state
from emo_edge.bundle.reader import Bundle
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError
from emo_edge.runtimes.loading.engines import GraphOpener
from emo_edge.utils.files import write_json

DEVICES = ("cpu", "openvino", "cuda", "tensorrt")
LANGUAGE_STAGES = ("prefill", "labels", "decode")


@dataclass(frozen=True)
class DeviceSpeedConfig:
    """Devices, variants and rounds of a measurement."""

    devices: tuple[str, ...]
    checkpoint: Path | None
    """Of PyTorch's rows; None leaves them out."""
    variants: Mapping[str, Sequence[str]]
    """By component."""
    faces: int
    """Crops that the networks get at once."""
    rounds: int
    warm_up: int
    threads: int | None
    compiled: bool
    """True gives ``torch.compile`` rows of its own."""

    @property
    def processors(self) -> list[str]:
        """Processors that compute, each once."""
        return list(dict.fromkeys(processor_of(device) for device in self.devices))


def run(inputs: StageInputs, plan: DeviceSpeedConfig) -> Iterator[tuple[str, list[Row]]]:
    """Measure stage after stage; an engine is open only as long as stages need it."""
    openers = {device: GraphOpener(inputs.bundle, device, plan.threads) for device in plan.devices}
    with SessionCache() as models:
        for part in inputs.parts:
            with SessionCache() as sessions:
                contenders = _torch_graphs(inputs, part, plan, models)
                for device, opener in openers.items():
                    contenders += graph_contenders(opener, inputs, part, device, plan.variants[part], sessions)
                yield part, measured(part, contenders, rounds=plan.rounds, warm_up=plan.warm_up)
    if inputs.bundle.manifest.components.language is None:
        return
    question = inputs.question()
    with SessionCache() as engines:
        for stage in LANGUAGE_STAGES:
            contenders = _torch_language(stage, question, plan, engines)
            for processor in plan.processors:
                contenders += language_contenders(
                    inputs.bundle, stage, processor, plan.variants["language"], question, plan.threads, engines
                )
            yield stage, measured(stage, contenders, rounds=plan.rounds, warm_up=plan.warm_up)


def _torch_graphs(inputs: StageInputs, part: str, plan: DeviceSpeedConfig, models: SessionCache) -> list[Contender]:
    if plan.checkpoint is None:
        return []
    from emo_edge.benchmarks.device_speed import torch as theirs

    return [
        contender
        for processor in plan.processors
        for contender in theirs.graph_contenders(
            plan.checkpoint, part, processor, inputs.feed(part), models, compiled=plan.compiled
        )
    ]


def _torch_language(stage: str, question: Question, plan: DeviceSpeedConfig, models: SessionCache) -> list[Contender]:
    if plan.checkpoint is None:
        return []
    from emo_edge.benchmarks.device_speed import torch as theirs

    return [
        contender
        for processor in plan.processors
        for contender in theirs.language_contenders(plan.checkpoint, stage, processor, question, models)
    ]


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--checkpoint", help="What the bundle was exported from; a packaged one is found by its name.")
@click.option("--no-torch", is_flag=True, help="Leave PyTorch out, and with it every ratio.")
@click.option("--device", "devices", type=click.Choice(DEVICES), multiple=True, default=("cpu",), show_default=True)
@click.option("--variant", "variants", multiple=True, help="A precision to measure, such as fp16; all by default.")
@click.option(
    "--faces",
    type=click.IntRange(1, 32),
    default=1,
    show_default=True,
    help="Number of face crops that the networks get.",
)
@click.option(
    "--rounds",
    type=click.IntRange(2),
    default=30,
    show_default=True,
    help="Rounds, in each of which every engine is timed.",
)
@click.option(
    "--warm-up", type=click.IntRange(1), default=5, show_default=True, help="Calls of each engine that are not timed."
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads of each engine; its own choice by default.")
@click.option("--no-compile", is_flag=True, help="Leave torch.compile out; it takes a minute.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every time there, too; a new file.")
def main(bundle: Path, checkpoint: str | None, no_torch: bool, json_path: Path | None, **options: Any) -> None:
    """Time BUNDLE's stages on each device, and the checkpoint in PyTorch, in alternating rounds.

    Times are of one call from arrays in main memory to arrays in main memory, one question and one face unless --faces
    says more. A device or an engine that cannot be used is listed with the reason.
    """
    started = time.perf_counter()
    if json_path and json_path.exists():
        raise InputError(f"{json_path}: already exists; name another file")
    opened = Bundle.open(bundle)
    plan = DeviceSpeedConfig(
        devices=tuple(dict.fromkeys(options.pop("devices"))),
        checkpoint=None if no_torch else _checkpoint(opened, checkpoint),
        variants=chosen_variants(opened, options.pop("variants")),
        compiled=not options.pop("no_compile"),
        **options,
    )
    before, rows = watched_state(), list[Row]()
    with _torch_threads(plan.threads if plan.checkpoint else None):
        for stage, stage_rows in run(StageInputs(opened, plan.faces, plan.threads), plan):
            rows += stage_rows
            click.echo(f"{stage}: {time.perf_counter() - started:.0f} s", err=True)
    machine = machine_section(before, read_state(), ", ".join(plan.devices), plan.threads)
    click.echo(table(rows))
    click.echo(f"\n{_conditions(plan, machine)}; {time.perf_counter() - started:.0f} s")
    if json_path:
        write_json(json_path, _content(opened, plan, machine, rows))


def _checkpoint(bundle: Bundle, named: str | None) -> Path:
    from emo_edge.benchmarks.workload.checkpoint import open_checkpoint

    return open_checkpoint(bundle, named).directory


@contextmanager
def _torch_threads(count: int | None) -> Iterator[None]:
    """Let PyTorch use so many threads meanwhile; None leaves it as it is."""
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _conditions(plan: DeviceSpeedConfig, machine: Mapping[str, Any]) -> str:
    busy = f"; BUSY: {machine['busy_reason']}" if machine["busy"] else ""
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['gpu'] or 'no GPU'}"
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"Crops at once: {plan.faces}; tokens decoded a call: {DECODED}. {plan.rounds} rounds in turns after "
        f"{plan.warm_up} calls of each; ratios are medians of quotients round by round.\n{where}, {versions}{busy}"
    )


def _content(
    bundle: Bundle, plan: DeviceSpeedConfig, machine: Mapping[str, Any], rows: Sequence[Row]
) -> dict[str, Any]:
    provenance = bundle.manifest.provenance
    return {
        "bundle": bundle.manifest.name,
        "purpose": provenance.get("purpose", ""),
        "checkpoint_sha256": provenance.get("checkpoint_sha256", ""),
        "faces": plan.faces,
        "decoded_tokens": DECODED,
        "rounds": plan.rounds,
        "warm_up": plan.warm_up,
        "machine": machine,
        "rows": [as_json(row, rows) for row in rows],
    }


if __name__ == "__main__":
    main()
