"""``python -m emo_edge.benchmarks.endurance``."""

from __future__ import annotations

import signal
import tempfile
import time
from functools import partial
from pathlib import Path

import click

from emo_edge.benchmarks.endurance.commands import COMMANDS
from emo_edge.benchmarks.endurance.inputs import make_inputs
from emo_edge.benchmarks.endurance.interruptions import INTERRUPTED_COMMANDS, interruptions
from emo_edge.benchmarks.endurance.kills import killed_runs, summary
from emo_edge.benchmarks.endurance.largest_pictures import FORMATS, MAX_PIXELS, largest_readings
from emo_edge.benchmarks.endurance.steady import Steadiness, openings, pictures, video_frames, watched_rounds
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import EmoEdgeError
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.machine.summary import describe_machine

SECONDS, MEMORY = 2.0, 1 << 30
"""Of the largest pictures, as of every file of a campaign."""
GROWTH = 0.01
"""Most that the resident memory may grow by."""
BUNDLE = click.argument("bundle", type=click.Path(path_type=Path))


@click.group()
def main() -> None:
    """Try the whole program for long."""


@main.command(cls=EdgeCommand)
@click.argument("names", nargs=-1, type=click.Choice(list(COMMANDS)))
@click.option("--count", default=50, show_default=True, type=click.IntRange(1), help="Kills of each command.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the moments.")
@click.option("--work", type=click.Path(path_type=Path), help="Empty folder that keeps failed runs.")
def kills(names: tuple[str, ...], count: int, seed: int, work: Path | None) -> None:
    """Kill NAMES (every command by default) at random moments, and run each again."""
    folder = work or Path(tempfile.mkdtemp(prefix="emo-edge-kills-"))
    made = folder / "made"
    made.mkdir(parents=True)
    make_inputs(made)
    started, runs = time.monotonic(), []
    for name in names or COMMANDS:
        for kill in killed_runs(name, made, folder / name, count=count, seed=seed):
            runs.append(kill)
            click.echo(f"{len(runs)}: {kill}", err=True)
        click.echo(summary([run for run in runs if run.command == name]))
    failed = sum(bool(run.problems) for run in runs)
    click.echo(f"seed {seed}, {len(runs)} runs, {time.monotonic() - started:.0f} s; {describe_machine()}")
    if failed:
        raise EmoEdgeError(f"{failed} of {len(runs)} killed runs left a problem; see {folder}")


@main.command(cls=EdgeCommand)
@click.argument("names", nargs=-1, type=click.Choice(list(INTERRUPTED_COMMANDS)))
@click.option("--count", default=6, show_default=True, type=click.IntRange(1), help="Interruptions of each command.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the moments.")
@click.option(
    "--signal",
    "signal_name",
    default="SIGINT",
    show_default=True,
    type=click.Choice(["SIGINT", "SIGTERM", "SIGHUP"]),
    help="Signal that interrupts.",
)
def interrupts(names: tuple[str, ...], count: int, seed: int, signal_name: str) -> None:
    """Interrupt NAMES (every command by default) at random moments, and time their end."""
    failed, number = False, signal.Signals[signal_name]
    with tempfile.TemporaryDirectory(prefix="emo-edge-interrupts-") as work:
        made = Path(work) / "made"
        made.mkdir()
        make_inputs(made)
        for name in names or INTERRUPTED_COMMANDS:
            runs = list(interruptions(name, made, Path(work) / "runs", count=count, seed=seed, number=number))
            times = [run.seconds for run in runs if run.seconds is not None]
            problems = [run.problem for run in runs if run.problem]
            failed |= bool(problems)
            longest = f"at most {max(times):.2f} s" if times else "each ended before"
            click.echo(f"{name}: {len(times)} interruptions, {longest}: {'; '.join(problems) or 'as it should'}")
    click.echo(describe_machine())
    if failed:
        raise EmoEdgeError("an interrupted command did not end as it should")


@main.command(cls=EdgeCommand)
@BUNDLE
@click.option("--count", default=100_000, show_default=True, type=click.IntRange(100), help="Frames to read.")
@click.option("--profile", help="Profile of BUNDLE.")
@click.option("--video", type=click.Path(path_type=Path, exists=True), help="Video to read; drawings by default.")
def frames(bundle: Path, count: int, profile: str | None, video: Path | None) -> None:
    """Read many frames with BUNDLE; memory, descriptors and threads must not grow."""
    with EmotionPipeline.open(bundle, profile=profile) as pipeline:
        work = video_frames(pipeline, video) if video else pictures(pipeline)
        _report("frames", watched_rounds(work, count, _shown))


@main.command(cls=EdgeCommand)
@BUNDLE
@click.option("--count", default=200, show_default=True, type=click.IntRange(20), help="Openings.")
@click.option("--profile", help="Profile of BUNDLE.")
def opens(bundle: Path, count: int, profile: str | None) -> None:
    """Open, read once and close BUNDLE many times; memory, descriptors and threads must not grow."""
    work = openings(partial(EmotionPipeline.open, bundle, profile=profile))
    _report("openings", watched_rounds(work, count, _shown, states=count))


@main.command(cls=EdgeCommand)
@click.argument("names", nargs=-1, type=click.Choice(list(FORMATS)))
@click.option("--pixels", default=MAX_PIXELS, show_default=True, type=click.IntRange(64), help="Pixels of each.")
@click.option("--seconds", default=SECONDS, show_default=True, help="Most of the processor.")
def largest(names: tuple[str, ...], pixels: int, seconds: float) -> None:
    """Read the largest picture of NAMES (every format by default); none may take more than a GiB."""
    failed = []
    for one in largest_readings(names or tuple(FORMATS), pixels, partial(click.echo, err=True)):
        click.echo(
            f"{one.name}: {one.pixels / 1e6:.1f} megapixels, {one.file_bytes >> 20} MiB, "
            + (one.error or f"{one.cpu_s:.2f} s of CPU, {one.added_bytes >> 20} MiB more")
        )
        if one.error or one.cpu_s > seconds or one.added_bytes > MEMORY:
            failed.append(one.name)
    click.echo(describe_machine())
    if failed:
        raise EmoEdgeError(f"more than {seconds:g} s or 1 GiB, or not read: {', '.join(failed)}")


def _shown(done: int, total: int) -> None:
    click.echo(f"{done:,} of {total:,}", err=True)


def _report(name: str, steady: Steadiness) -> None:
    first, last = steady.states[0], steady.states[-1]
    click.echo(
        f"{steady.rounds:,} {name} in {steady.seconds:.0f} s: memory {first.resident_bytes / 1e6:.1f} to "
        f"{last.resident_bytes / 1e6:.1f} MB ({100 * steady.growth:+.2f} %), descriptors {first.descriptors} to "
        f"{last.descriptors}, threads {first.threads} to {last.threads}; {describe_machine()}"
    )
    if problems := steady.problems(GROWTH):
        raise EmoEdgeError(f"not steady: {', '.join(problems)}")


if __name__ == "__main__":
    main()
