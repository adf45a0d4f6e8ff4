"""Command of the measurement: ``python -m emo_edge.benchmarks.batch BUNDLE --json FILE``."""

from __future__ import annotations

import importlib.util
import os
import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from emo_edge.assets.packaged import SAMPLES
from emo_edge.batch.config import LabelConfig
from emo_edge.batch.run import ROWS_PER_PART
from emo_edge.benchmarks.batch.contenders import (
    RSS_FROM,
    Figures,
    apart,
    bare_loop,
    locally,
    on_ray,
    pool_loop,
    with_threads,
)
from emo_edge.benchmarks.batch.cost_model import checked, cost_json, cost_rows, fleet_rows
from emo_edge.benchmarks.batch.kills import killed_runs
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.files import write_json

Measured = dict[str, Figures]
PARTS = ("rates", "memory", "cost", "kills")


def copied(folder: Path, count: int) -> Path:
    """Write the packaged drawings again and again, under names of their own; the later ones are links to the first."""
    folder.mkdir()
    drawings = sorted(SAMPLES.glob("*.jpg"))
    for number in range(count):
        path, first = folder / f"{number:07d}.jpg", folder / f"{number % len(drawings):07d}.jpg"
        if path == first:
            shutil.copy(drawings[number], path)
        else:
            os.link(first, path)
    return folder


def measured(config: LabelConfig, pictures: Path, work: Path, rows_per_part: int) -> Measured:
    """Return the figures of every way to read, one after the other, each in a process of its own."""
    cpus = usable_cpus()
    one, all_threads = with_threads(config, 1), with_threads(config, cpus)
    ways: dict[str, Any] = {
        "bare loop, all threads": (bare_loop, all_threads, pictures),
        "label, one worker, all threads": (locally, all_threads, pictures, work / "threads", rows_per_part, 1),
        "bare loop, one thread": (bare_loop, one, pictures),
        "label, one worker, one thread": (locally, one, pictures, work / "one", rows_per_part, 1),
        "label, two workers": (locally, one, pictures, work / "two", rows_per_part, 2),
        "multiprocessing.Pool of two": (pool_loop, one, pictures, 2),
    }
    if importlib.util.find_spec("ray"):
        ways["label, Ray, two actors"] = (on_ray, one, pictures, work / "ray", rows_per_part, 2)
    results: Measured = {}
    for name, call in ways.items():
        results[name] = apart(*call)
        echo(f"{name}: {results[name]['per_second'] or 0:.1f} pictures a second", err=True)
    return results


def compared(results: Measured) -> dict[str, str]:
    """Return the rates as a reader compares them."""

    def ratio(name: str, other: str) -> str:
        first, second = (results.get(one, {}).get("per_second") for one in (name, other))
        return f"{first / second:.2f}" if first and second else "not measured"

    one = results["label, one worker, one thread"]
    writing = one["writing_s"] / one["seconds"]
    rows = {name: f"{figures['per_second'] or 0:.1f} a second" for name, figures in results.items()}
    return rows | {
        "one worker, against the bare loop with as many threads": ratio(
            "label, one worker, all threads", "bare loop, all threads"
        ),
        "two workers, against one": ratio("label, two workers", "label, one worker, one thread"),
        "two workers, against the pool": ratio("label, two workers", "multiprocessing.Pool of two"),
        "Ray, against two workers": ratio("label, Ray, two actors", "label, two workers"),
        "writing, of the whole time": f"{100 * writing:.2f} %",
    }


def memory_rows(long_run: Figures) -> dict[str, str]:
    """Return the memory of a long run: the least and the most from row `RSS_FROM` on."""
    later = [one for one in long_run["resident_bytes"] if one[0] >= RSS_FROM]
    what = f"memory from row {RSS_FROM:,} to {later[-1][0]:,}" if later else "memory"

    def span(sizes: list[int]) -> str:
        return f"{min(sizes) / 1e6:.0f} to {max(sizes) / 1e6:.0f} MB"

    return {
        f"{what}, process of the command": span([own for _, own, _ in later]) if later else "not measured",
        f"{what}, two workers together": span([workers for *_, workers in later]) if later else "not measured",
    }


def kill_rows(trials: list[dict[str, Any]]) -> dict[str, str]:
    """Return how many killed runs ended with the same rows; `killed_runs` raises for any other."""
    return {"killed and finished with the same rows": f"{len(trials)} of {len(trials)}"}


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, help="Part to run; all if left out."
)
@click.option("--pictures", type=click.IntRange(16), default=2000, show_default=True, help="Number of pictures.")
@click.option("--rows", type=click.IntRange(16), default=100_000, show_default=True, help="Rows of the run for memory.")
@click.option(
    "--stage-pictures",
    type=click.IntRange(8),
    default=200,
    show_default=True,
    help="Pictures that the cost of each stage is measured with.",
)
@click.option("--kills", type=click.IntRange(0), default=20, show_default=True, help="Number of runs that are killed.")
@click.option("--rows-per-part", type=click.IntRange(1), default=500, show_default=True, help="Rows of a part.")
@click.option("--detector", default="auto", show_default=True, help="Face detector, as emo-edge label takes it.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the moments of the kills.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of every figure and raw value.")
def main(bundle: Path, target: Path | None, parts: tuple[str, ...], **options: Any) -> None:
    """Measure ``emo-edge label`` with BUNDLE on the CPU, against loops that read the same pictures."""
    bundle = bundle.absolute()
    config = LabelConfig(bundle, device="cpu", detector=options["detector"])
    per_part = options["rows_per_part"]
    given = ["--device", "cpu", "--detector", options["detector"], "--rows-per-part", str(per_part)]
    figures, raw = dict[str, str](), dict[str, Any]()
    with TemporaryDirectory() as folder:
        work = Path(folder)
        pictures = copied(work / "pictures", options["pictures"])
        if "rates" in parts:
            raw["ways"] = measured(config, pictures, work, per_part)
            figures |= compared(raw["ways"])
        if "memory" in parts:
            many = copied(work / "many", options["rows"])
            raw["memory"] = apart(locally, with_threads(config, 1), many, work / "long", ROWS_PER_PART, 2)
            figures |= memory_rows(raw["memory"])
        if "cost" in parts:
            costs, checks, runs = checked(config, pictures, work, options["stage_pictures"], partial(echo, err=True))
            raw["cost"] = cost_json(costs, checks, runs)
            figures |= cost_rows(costs, checks) | fleet_rows(costs, bundle)
        if "kills" in parts:
            arguments = (bundle, pictures, work, given, options["kills"], options["seed"], partial(echo, err=True))
            raw["kills"] = killed_runs(*arguments)
            figures |= kill_rows(raw["kills"])
    if target:
        write_json(target, {"machine": describe_machine(), "options": options, "figures": figures, **raw})
    echo("| what | figure |\n|---|---|")
    for name, value in figures.items():
        echo(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
