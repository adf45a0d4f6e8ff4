"""Waiting of llama.cpp's threads, by time and CPU time of a reading, on a quiet and on a busy machine.

``python -m emo_edge.benchmarks.studies.waiting_threads BUNDLE``: each way of waiting reads in a fresh process, because
OpenMP's library reads its variables once. The ways take turns, so that a machine which drifts slows each of them alike.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import click

from emo_edge.assets.packaged import packaged_samples
from emo_edge.console.children import code_command, module_command
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import EmoEdgeError
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.machine.summary import describe_machine

WAYS = {
    "spin": {"GOMP_SPINCOUNT": "300000"},
    "spin 10,000 times": {"GOMP_SPINCOUNT": "10000"},
    "spin 1,000 times": {"GOMP_SPINCOUNT": "1000"},
    "sleep": {"OMP_WAIT_POLICY": "passive"},
}
"""Environment of each; the first is what libgomp does by itself, where threads are no more than CPUs."""
VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
WARM_UP, PICTURES = 3, 4
FIGURES = ("reading", "reading_p90", "language", "cpu")
"""Milliseconds of a reading: median, 90th percentile, the language model's part, and CPU time of all threads."""
Row = dict[str, float]


def readings(bundle: Path, profile: str, count: int) -> Row:
    """Read the packaged drawings in this process, and return the `FIGURES`."""
    samples, whole, language = packaged_samples(PICTURES), [], []
    with EmotionPipeline.open(bundle, device="cpu", profile=profile) as pipeline:
        for number in range(WARM_UP + count):
            if number == WARM_UP:
                used = time.process_time()
            sample = samples[number % PICTURES]
            assert sample.box is not None
            started = time.perf_counter()
            (face,) = pipeline.read(sample.image, boxes=[sample.box])
            whole.append(1000 * (time.perf_counter() - started))
            language.append(face.stage_ms["prefill"] + face.stage_ms["score"])
        cpu = 1000 * (time.process_time() - used) / count
    counted = sorted(whole[WARM_UP:])
    figures = (median(counted), counted[int(0.9 * count)], median(language[WARM_UP:]), cpu)
    return dict(zip(FIGURES, figures, strict=True))


def compare(bundle: Path, profile: str, busy: int, rounds: int, count: int) -> dict[str, list[Row]]:
    """Measure every way once a round, each beside ``busy`` processes that do nothing but compute."""
    rows: dict[str, list[Row]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, environment in WAYS.items():
            with _busy(busy):
                rows[way].append(_in_fresh_process(bundle, profile, count, environment))
    return rows


def table(rows: dict[str, list[Row]], busy: int) -> str:
    """Write the medians over the rounds as Markdown, each with the smallest and the largest."""
    lines = [
        f"| beside {busy} busy processes | ms a reading | 90th percentile | language model | CPU ms |",
        "|---|---|---|---|---|",
    ]
    for way, measured in rows.items():
        cells = [[row[figure] for row in measured] for figure in FIGURES]
        texts = [f"{median(values):.1f} ({min(values):.1f}–{max(values):.1f})" for values in cells]
        lines.append(f"| {way} | {' | '.join(texts)} |")
    return "\n".join(lines)


def _in_fresh_process(bundle: Path, profile: str, count: int, environment: dict[str, str]) -> Row:
    command = module_command(__spec__.name, str(bundle), "--profile", profile, "--readings", str(count))
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [*command, "--in-this-process"], env=kept | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EmoEdgeError(f"a measurement ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """Keep ``count`` processes busy."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen(code_command("while True: pass")))
            stack.callback(process.kill)
        yield


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--profile", default="small", show_default=True, help="Profile of BUNDLE.")
@click.option(
    "--busy", multiple=True, type=click.IntRange(0), default=(0, 1), show_default=True, help="Other processes."
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Processes of each way.")
@click.option("--readings", "count", default=40, show_default=True, type=click.IntRange(2), help="Readings of each.")
@click.option("--in-this-process", is_flag=True, hidden=True)
def main(bundle: Path, profile: str, busy: Sequence[int], rounds: int, count: int, in_this_process: bool) -> None:
    """Compare ways of waiting on BUNDLE; a machine that is busy already shows in the spread."""
    if in_this_process:
        click.echo(json.dumps(readings(bundle, profile, count), allow_nan=False))
        return
    for others in busy:
        click.echo(table(compare(bundle, profile, others, rounds, count), others) + "\n")
    click.echo(f"Medians of {rounds} processes of {count} readings in turn, smallest and largest. {describe_machine()}")


if __name__ == "__main__":
    main()
