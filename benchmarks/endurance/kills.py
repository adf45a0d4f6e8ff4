"""Kill a command at random moments: nothing half may be left, and the next run must end as an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge.benchmarks.endurance.commands import COMMANDS, OUT, Digest, KilledCommand, command_line
from emo_edge.errors import EmoEdgeError

LINES_SHOWN = 8
RUNS_A_KILL = 4
PATIENCE_S = 900.0
"""For a run that is not killed."""
BESIDES = frozenset({"cache", "temporary"})
"""Folders of a trial that may keep anything."""


@dataclass(frozen=True)
class Baseline:
    """An undisturbed run."""

    seconds: float
    digest: Digest
    names: frozenset[str]
    """Entries of the folder at the end."""


@dataclass(frozen=True)
class Kill:
    """One killed run and the run after it."""

    command: str
    moment_s: float
    finished: bool
    """True where the command ended before its moment."""
    problems: tuple[str, ...]

    def __str__(self) -> str:
        state = "ended before" if self.finished else "killed at"
        return f"{self.command} {state} {self.moment_s:.2f} s: {'; '.join(self.problems) or 'as undisturbed'}"


def summary(runs: Sequence[Kill]) -> str:
    """Return one command's line of the report: numbers of kills, of runs that ended before, and of problems."""
    moments = [run.moment_s for run in runs if not run.finished]
    spread = f" at {min(moments):.1f} to {max(moments):.1f} s" if moments else ""
    problems, ended = sum(bool(run.problems) for run in runs), len(runs) - len(moments)
    return f"{runs[0].command}: {len(moments)} killed{spread}, {ended} ended before, {problems} problems"


def killed_runs(name: str, made: Path, work: Path, *, count: int, seed: int) -> Iterator[Kill]:
    """Run a command undisturbed, then kill it ``count`` times at a random moment of its time and run it once more.

    A run that ends before its moment is yielded too and counts for none, so that at most `RUNS_A_KILL` times as many
    runs are tried.

    Args:
        name: of `COMMANDS`.
        made: folder of the inputs, see `inputs.make_inputs`.
        work: folder for the runs; it must be empty.
        count: number of kills.
        seed: of the moments.

    Raises EmoEdgeError where the undisturbed run fails, or nearly every run ends before its moment.
    """
    command, draw = COMMANDS[name], random.Random(f"{name} {seed}")
    baseline = undisturbed(command, made, work / "undisturbed")
    killed = 0
    for number in range(RUNS_A_KILL * count):
        folder = work / f"{name}-{number}"
        _prepare(command, made, folder, cache=work / "undisturbed" / "cache")
        moment = draw.uniform(0, baseline.seconds)
        finished = _run(command, made, folder, killed_after=moment) is not None
        problems = [*_half_output(command, made, folder, baseline), *_rerun(command, made, folder, baseline)]
        yield Kill(name, moment, finished, tuple(problems))
        if not problems:
            shutil.rmtree(folder)
        killed += not finished
        if killed == count:
            return
    raise EmoEdgeError(f"{name}: only {killed} of {RUNS_A_KILL * count} runs lasted until they were killed")


def undisturbed(command: KilledCommand, made: Path, folder: Path) -> Baseline:
    """Run a command to its end, twice: the second run finds a warm cache and is the one that counts."""
    for last in (False, True):
        cache = folder / "cache" if last else None
        fresh = folder.with_name(f"{folder.name}-{'warm' if last else 'cold'}")
        _prepare(command, made, fresh, cache=cache)
        started = time.monotonic()
        if output := _run(command, made, fresh):
            raise EmoEdgeError(f"the undisturbed run failed:\n{output}")
        seconds = time.monotonic() - started
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return Baseline(seconds, command.digest(folder / OUT), _names(folder))


def _prepare(command: KilledCommand, made: Path, folder: Path, cache: Path | None) -> None:
    (folder / "temporary").mkdir(parents=True)
    if cache and cache.exists():
        shutil.copytree(cache, folder / "cache")
    if command.replaces:
        shutil.copytree(made / command.replaces, folder / OUT)


def _run(command: KilledCommand, made: Path, folder: Path, killed_after: float | None = None) -> str | None:
    """Run a command; return its last lines if it failed, "" if it ended well, None if it was killed."""
    own = {"XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder / "temporary"), "OMP_NUM_THREADS": "1"}
    log = folder / "temporary" / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command_line(command.words(made, folder)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **own},
            start_new_session=True,
        )
        try:
            process.wait(PATIENCE_S if killed_after is None else killed_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None if killed_after is not None else f"no end in {PATIENCE_S:g} s"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES_SHOWN:]
    return "\n".join(lines) or "no output" if process.returncode else ""


def _half_output(command: KilledCommand, made: Path, folder: Path, baseline: Baseline) -> Iterator[str]:
    """Yield what is wrong with the output of a killed run: there is none, the old one, or the whole new one."""
    out = folder / OUT
    if not out.exists():
        if command.replaces:
            yield "the output that was to be replaced is gone"
        return
    if command.replaces and _same(command, out, command.digest(made / command.replaces)):
        return
    if command.grows:
        yield from _differences(command, out, baseline.digest, "after the kill", missing_allowed=True)
    elif (out / "report.json").exists() or command.words(made, folder)[0] != "bench":
        # The folder of a benchmark is its journal; only a report in it has to be whole.
        yield from _differences(command, out, baseline.digest, "after the kill")


def _rerun(command: KilledCommand, made: Path, folder: Path, baseline: Baseline) -> Iterator[str]:
    """Yield how the run after a kill differs from an undisturbed one."""
    done = not command.replaces and _same(command, folder / OUT, baseline.digest)
    if not done:
        if problem := _run(command, made, folder):
            yield f"the next run failed: {problem}"
            return
        yield from _differences(command, folder / OUT, baseline.digest, "after the next run")
    if more := sorted(_names(folder) - baseline.names):
        yield f"left behind: {', '.join(more)}"


def _same(command: KilledCommand, out: Path, digest: Digest) -> bool:
    return out.exists() and not list(_differences(command, out, digest, ""))


def _differences(
    command: KilledCommand, out: Path, digest: Digest, moment: str, *, missing_allowed: bool = False
) -> Iterator[str]:
    try:
        left = command.digest(out)
    except (EmoEdgeError, OSError, ValueError, KeyError) as error:
        yield f"{moment}: not whole: {error}"
        return
    names = left.keys() & digest.keys() if missing_allowed else left.keys() | digest.keys()
    changed = sorted(name for name in names if left.get(name) != digest.get(name))
    if changed:
        yield f"{moment}: {', '.join(changed)} differ from the undisturbed run"


def _names(folder: Path) -> frozenset[str]:
    return frozenset(path.name for path in folder.iterdir() if path.name not in BESIDES)
