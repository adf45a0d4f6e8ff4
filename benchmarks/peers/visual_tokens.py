"""Time of a label with a budget of visual tokens: ``python -m emo_edge.benchmarks.peers.visual_tokens ALL BUDGET...``.

The first bundle reads every token; the others are exports of the same checkpoint with ``--visual-tokens``. Each opens
its models in a fresh process in every round, in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from emo_edge.benchmarks.measure.machine import machine_section, read_state, watched_state
from emo_edge.benchmarks.measure.versus import ratio_of
from emo_edge.benchmarks.peers import contenders
from emo_edge.benchmarks.peers.llama_cpp_tools import llama_tools
from emo_edge.benchmarks.peers.random_mmproj import ClipShape, write_clip_projector
from emo_edge.benchmarks.peers.rounds import Contender, section
from emo_edge.benchmarks.peers.run import one_stage, picture
from emo_edge.benchmarks.peers.table import LABEL, PEERS, Row
from emo_edge.bundle.reader import Bundle, profile_of
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.errors import InputError
from emo_edge.export.bundles.origin import PROVENANCE
from emo_edge.machine.cpus import usable_cpus
from emo_edge.utils.files import write_json


@dataclass(frozen=True)
class Timing:
    """Bundles to time, and how."""

    bundles: Sequence[Path]
    """That with every token first."""
    device: str
    profile: str | None
    threads: int
    calls: int

    def contenders(self) -> dict[str, Contender]:
        """Return the readings of each bundle by the tokens of a picture."""
        own = (self.device, self.profile, self.threads, self.calls)
        return {_name(bundle): one_stage("label", contenders.our_readings, bundle, *own) for bundle in self.bundles}

    def mtmd(self, work: Path, cmake: Sequence[str], clip_layers: int, report: Any) -> Contender:
        """Return how `llama-mtmd-cli` reads every token with the first bundle's language model."""
        bundle = Bundle.open(self.bundles[0])
        _, profile = profile_of(bundle, self.profile)
        language = bundle.manifest.components.language
        assert language is not None and profile.language is not None
        gguf = bundle.files(language.variants[profile.language])[0]
        projector = write_clip_projector(work / "clip-random.gguf", gguf, ClipShape(layers=clip_layers))
        tools, question = llama_tools(work, tuple(cmake), report), contenders.mtmd_prompt(bundle)
        asked = (tools.mtmd, gguf, projector, picture(), question, self.threads)
        return one_stage("label", contenders.mtmd_answers, *asked)


def checked_bundles(bundles: Sequence[Path]) -> None:
    """Raise InputError unless the bundles are one of all tokens and others of the same checkpoint with a budget."""
    manifests = [Bundle.open(bundle).manifest for bundle in bundles]
    for path, manifest in zip(bundles, manifests, strict=True):
        budget, is_first = manifest.visual_tokens, path == bundles[0]
        if is_first == (budget is not None):
            kind = "has a budget of visual tokens" if is_first else "has no budget of visual tokens"
            raise InputError(f"{path}: {kind}; give the bundle with every token first, then those with a budget")
        if manifest.provenance.get(PROVENANCE) != manifests[0].provenance.get(PROVENANCE):
            raise InputError(f"{path}: is not of the checkpoint of {bundles[0]}")


def _name(bundle: Path) -> str:
    manifest = Bundle.open(bundle).manifest
    tokens = sum(group.count for group in manifest.frames_segment.groups)
    return f"{tokens} tokens a picture" + ("" if manifest.visual_tokens else ", every patch")


def table(rows: Sequence[Row]) -> list[str]:
    """Write the times as Markdown, and how many times longer the first contender and `llama-mtmd-cli` take."""
    first = rows[0]
    mtmd = next((row for row in rows if row.contender == PEERS["mtmd"] and row.ms), None)
    lines = [
        "| contender | label, ms (p50) | vision | prefill | of every patch | of llama-mtmd-cli |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.problem:
            lines.append(f"| {row.contender} | {row.problem} | | | | |")
            continue
        stages = row.facts.get("stages", {})
        parts = [f"{stages[name]:.0f}" if name in stages else "-" for name in ("vision", "prefill")]
        ratios = ["-" if other is None or not other.ms else _ratio(other, row) for other in (first, mtmd)]
        lines.append(f"| {' | '.join([row.contender, f'{np.median(row.ms):.0f}', *parts, *ratios])} |")
    return lines


def _ratio(theirs: Row, ours: Row) -> str:
    ratio = ratio_of(theirs.ms, ours.ms)
    return f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


@click.command(cls=EdgeCommand)
@click.argument("bundles", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--device", type=click.Choice(["cpu", "openvino"]), default="cpu", show_default=True)
@click.option("--profile", help="Profile of every bundle; each one's default if left out.")
@click.option("--threads", type=click.IntRange(1), default=usable_cpus(), show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Rounds, all contenders in each.")
@click.option("--calls", type=click.IntRange(1), default=3, show_default=True, help="Timed calls in a round.")
@click.option("--work", type=click.Path(path_type=Path), help="Build llama-mtmd-cli there, and time it, too.")
@click.option("--clip-layers", type=click.IntRange(1), default=23, show_default=True, help="Layers of its image tower.")
@click.option("--cmake", multiple=True, metavar="-DNAME=VALUE", help="How llama.cpp's programs are built.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write every sample there, too.")
def main(
    bundles: tuple[Path, ...],
    rounds: int,
    work: Path | None,
    clip_layers: int,
    cmake: tuple[str, ...],
    target: Path | None,
    **options: Any,
) -> None:
    """Time BUNDLES of one checkpoint, that with every visual token first."""
    if len(bundles) < 2:
        raise InputError("give the bundle with every token, then one or more with a budget")
    checked_bundles(bundles)
    timing = Timing(bundles, **options)
    before, timed = watched_state(), timing.contenders()

    def report(line: str) -> None:
        echo(line, err=True)

    if work:
        work.mkdir(parents=True, exist_ok=True)
        timed[PEERS["mtmd"]] = timing.mtmd(work.resolve(), cmake, clip_layers, report)
    rows = section(LABEL, timed, rounds, report)
    order = list(timed)
    rows.sort(key=lambda row: order.index(row.contender))
    machine = machine_section(before, read_state(), timing.device, timing.threads)
    if target:
        kept = [{"contender": row.contender, "ms": row.ms, "facts": row.facts, "problem": row.problem} for row in rows]
        write_json(target, {"machine": machine, "options": options, "rounds": rounds, "rows": kept})
    for line in table(rows):
        echo(line)


if __name__ == "__main__":
    main()
