"""Builds of llama.cpp on this machine: ``python -m emo_edge.benchmarks.peers.llama_cpp_builds --work DIR``.

Our session, which pip's build of llama-cpp-python computes, and ``llama-bench`` built in several ways, on one file:
a few layers of a true width with random weights, since every layer takes the same time. All in alternating rounds, a
fresh process each. OpenBLAS is the system's: ``apt install libopenblas-dev``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from emo_edge.benchmarks.measure.machine import machine_section, read_state, watched_state
from emo_edge.benchmarks.measure.versus import ratio_of
from emo_edge.benchmarks.peers import contenders
from emo_edge.benchmarks.peers.llama_cpp_tools import BENCH, llama_tools
from emo_edge.benchmarks.peers.rounds import Contender, child, section
from emo_edge.benchmarks.peers.table import OURS, Row
from emo_edge.bundle.gguf_types import FILE_TYPES
from emo_edge.console.commands import EdgeCommand
from emo_edge.machine.cpus import usable_cpus
from emo_edge.planning.probes.language import LanguageProbe
from emo_edge.utils.files import write_json

PIPS = "llama-bench, built as pip builds it"
BUILDS = ("-DGGML_CPU_REPACK=OFF", "-DGGML_BLAS=ON -DGGML_BLAS_VENDOR=OpenBLAS")
"""Options of llama.cpp for a processor, besides its default, which repacks weights for the kernels of this one."""
MEASURED_TYPES = ("q4_k_m", "q4_0", "q8_0", "f16")
WIDTH, MLP = 4096, 11008
"""LLaMA-7B's."""


def table(rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Write times, and each build's as a multiple of ours, as Markdown."""
    ours = {row.stage: row.ms for row in rows if row.contender == OURS}
    lines = ["| stage | side | ms, median (least–most) | calls | theirs / ours (95 %) |", "|---|---|---|---|---|"]
    for row in sorted((row for row in rows if not row.problem), key=lambda row: row.stage, reverse=True):
        spread = f"{np.median(row.ms):.1f} ({min(row.ms):.1f}–{max(row.ms):.1f})"
        ratio = ratio_of(row.ms, ours[row.stage]) if row.contender != OURS else None
        shown = f"{ratio['value']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})" if ratio else ""
        lines.append(f"| {row.stage} | {row.contender} | {spread} | {len(row.ms)} | {shown} |")
    lines += [f"- {row.contender}: not measured: {row.problem}" for row in rows if row.problem]
    return "\n".join([*lines, "", *notes])


@click.command(cls=EdgeCommand)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Keeps the builds; 2 GB.")
@click.option("--build", "builds", multiple=True, default=BUILDS, show_default=True, help="CMake's settings of one.")
@click.option("--language", type=click.Choice(MEASURED_TYPES), default="q4_k_m", show_default=True)
@click.option(
    "--layers", type=click.IntRange(1), default=4, show_default=True, help="Number of layers; LLaMA-7B has 32."
)
@click.option("--threads", type=click.IntRange(1), default=usable_cpus(), show_default=True)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Rounds, in each of which every contender is timed.",
)
@click.option(
    "--calls", type=click.IntRange(1), default=3, show_default=True, help="Timed calls of each contender in a round."
)
@click.option("--prompt", type=click.IntRange(2), default=128, show_default=True, help="Tokens that are read.")
@click.option("--written", type=click.IntRange(2), default=16, show_default=True, help="Tokens that are written.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every sample there, too.")
def main(work: Path, builds: tuple[str, ...], json_path: Path | None, **options: Any) -> None:
    """Time our session and llama-bench, built as pip builds it and in other ways."""
    report = partial(click.echo, err=True)
    work.mkdir(parents=True, exist_ok=True)
    path = (work / "layers.gguf").resolve()
    LanguageProbe(WIDTH, MLP, options["layers"], FILE_TYPES[options["language"]].number).write(path)
    asked = [options[name] for name in ("prompt", "written", "threads", "calls")]
    timed: dict[str, Contender] = {OURS: child(contenders.our_gguf, path, *asked)}
    for build in ("", *builds):
        tools = llama_tools(work.resolve(), build.split(), report, (BENCH,))
        timed[f"llama-bench, {build}" if build else PIPS] = child(contenders.llama_bench, tools.bench, path, *asked)
    before = watched_state()
    rows = section("language", timed, options["rounds"], report)
    machine = machine_section(before, read_state(), "cpu", options["threads"])
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("emo-edge", "llama-cpp-python"))
    busy = "" if not machine["busy"] else "; BUSY with other work: times are not to be quoted"
    settings = ", ".join(f"{name} {value}" for name, value in options.items())
    click.echo(table(rows, [f"LLaMA-7B's width, random weights: {settings}.", f"{machine['cpu']}, {versions}{busy}"]))
    if json_path:
        shown = [{"stage": row.stage, "side": row.contender, "ms": row.ms, "problem": row.problem} for row in rows]
        write_json(json_path, {"settings": options, "machine": machine, "rows": shown})


if __name__ == "__main__":
    main()
