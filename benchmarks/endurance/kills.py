"""Kill a command at random moments: nothing half may be left, and the next run must end as an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emo_edge.benchmarks.endurance.commands import COMMANDS, OUT, Digest, KilledCommand, command_line
from emo_edge.errors import EmoEdgeError

LINES_SHOWN = 8
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


def killed_runs(name: str, made: Path, work: Path, *, count: int, seed: int) -> Iterator[Kill]:
    """Run a command undisturbed, then ``count`` times with a kill at a random moment of its time and once more after.

    Args:
        name: of `COMMANDS`.
        made: folder of the inputs, see `inputs.make_inputs`.
        work: folder for the runs; it must be empty.
        count: number of kills.
        seed: of the moments.

    Raises EmoEdgeError where the undisturbed run fails.
    """
    command, draw = COMMANDS[name], random.Random(f"{name} {seed}")
    baseline = undisturbed(command, made, work / "undisturbed")
    for number in range(count):
        folder = work / f"{name}-{number}"
        _prepare(command, made, folder, cache=work / "undisturbed" / "cache")
        moment = draw.uniform(0, baseline.seconds)
        finished = _run(command, made, folder, killed_after=moment) is not None
        problems = [*_half_output(command, made, folder, baseline), *_rerun(command, made, folder, baseline)]
        yield Kill(name, moment, finished, tuple(problems))
        if not problems:
            shutil.rmtree(folder)


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
