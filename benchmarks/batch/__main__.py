"""Command of the measurement: ``python -m emo_edge.benchmarks.batch BUNDLE --json FILE``."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from emo_edge.assets.packaged import SAMPLES
from emo_edge.batch.config import LabelConfig
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
from emo_edge.benchmarks.batch.kills import killed_runs
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.files import write_json

Measured = dict[str, Figures]


def copied(folder: Path, count: int) -> list[str]:
    """Write the packaged drawings again and again, under names of their own."""
    folder.mkdir()
    drawings = sorted(SAMPLES.glob("*.jpg"))
    for number in range(count):
        shutil.copy(drawings[number % len(drawings)], folder / f"{number:06d}.jpg")
    return sorted(map(str, folder.iterdir()))


def measured(config: LabelConfig, pictures: list[str], work: Path, rows_per_part: int) -> Measured:
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


def table(results: Measured, trials: list[dict[str, Any]]) -> dict[str, str]:
    """Return the figures as a reader compares them."""

    def ratio(name: str, other: str) -> str:
        first, second = (results.get(one, {}).get("per_second") for one in (name, other))
        return f"{first / second:.2f}" if first and second else "not measured"

    one = results["label, one worker, one thread"]
    writing = one["writing_s"] / one["seconds"]
    later = [size for done, size in results["label, two workers"]["resident_bytes"] if done >= RSS_FROM]
    spread = f"{(max(later) - min(later)) / 1e6:.1f} MB apart" if later else "not measured"
    rows = {name: f"{figures['per_second'] or 0:.1f} a second" for name, figures in results.items()}
    rows |= {
        "one worker, against the bare loop with as many threads": ratio(
            "label, one worker, all threads", "bare loop, all threads"
        ),
        "two workers, against one": ratio("label, two workers", "label, one worker, one thread"),
        "two workers, against the pool": ratio("label, two workers", "multiprocessing.Pool of two"),
        "Ray, against two workers": ratio("label, Ray, two actors", "label, two workers"),
        "writing, of the whole time": f"{100 * writing:.2f} %",
        f"memory from row {RSS_FROM:,} on": spread,
        "killed and finished with the same rows": f"{len(trials)} of {len(trials)}",
    }
    return rows


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option("--pictures", type=click.IntRange(16), default=2000, show_default=True, help="Number of pictures.")
@click.option("--kills", type=click.IntRange(0), default=20, show_default=True, help="Number of runs that are killed.")
@click.option("--rows-per-part", type=click.IntRange(1), default=500, show_default=True, help="Rows of a part.")
@click.option("--detector", default="auto", show_default=True, help="Face detector, as emo-edge label takes it.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the moments of the kills.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of every figure and raw value.")
def main(bundle: Path, target: Path | None, **options: Any) -> None:
    """Measure ``emo-edge label`` with BUNDLE on the CPU, against loops that read the same pictures."""
    config = LabelConfig(bundle.absolute(), device="cpu", detector=options["detector"])
    per_part = options["rows_per_part"]
    given = ["--device", "cpu", "--detector", options["detector"], "--rows-per-part", str(per_part)]
    with TemporaryDirectory() as folder:
        work = Path(folder)
        pictures = copied(work / "pictures", options["pictures"])
        results = measured(config, pictures, work, per_part)

        def note(line: str) -> None:
            echo(line, err=True)

        arguments = (bundle.absolute(), work / "pictures", work, given, options["kills"], options["seed"], note)
        trials = killed_runs(*arguments) if options["kills"] else []
    figures = table(results, trials)
    if target:
        chosen = {name: value for name, value in options.items() if name != "target"}
        kept = {"machine": describe_machine(), "options": chosen, "figures": figures}
        write_json(target, {**kept, "ways": results, "kills": trials})
    echo("| what | figure |\n|---|---|")
    for name, value in figures.items():
        echo(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
