"""Signals at random moments of each command: the time until it has ended, and its exit code."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from emo_edge.benchmarks.endurance.commands import COMMANDS, OUT, Words
from emo_edge.console.children import code_command

MOST_SECONDS = 2.0
GONE_S = 0.1
"""A process that ends so soon after the signal with the code of an undisturbed run was already leaving."""
PATIENCE_S = 60.0
EARLIEST_S, LATEST_S = 0.02, 15.0
"""After the program's begin: a signal in the first moments, while the interpreter loads, is the interpreter's."""
DEFAULT_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""A campaign in the background may start with SIGINT ignored, and its children inherit that."""


def _engines(made: Path, folder: Path) -> list[str]:
    return ["engines", "build", str(made / "bundle"), "--no-device"]


def _infer(made: Path, folder: Path) -> list[str]:
    return ["infer", str(made / "bundle"), str(made / "drawings"), "--describe"]


INTERRUPTED_COMMANDS: Mapping[str, Words] = {
    **{name: command.words for name, command in COMMANDS.items() if name != "engines"},
    "engines": _engines,
    "demo": lambda made, folder: ["demo"],
    "infer": _infer,
    "plan": lambda made, folder: ["plan", str(made / "bundle")],
    "inspect": lambda made, folder: ["inspect", str(made / "bundle")],
    "verify": lambda made, folder: ["verify", str(made / "bundle")],
    "doctor": lambda made, folder: ["doctor"],
    "selftest": lambda made, folder: ["selftest", str(made / "bundle"), "--out", str(folder / OUT)],
}


@dataclass(frozen=True)
class Interruption:
    """One interrupted run."""

    moment_s: float
    seconds: float | None
    """From the signal to the end; None where the command ended before."""
    code: int | None
    expected: int
    """Exit code of an interrupted run."""

    @property
    def problem(self) -> str:
        """The problem of this run; empty where there is none."""
        if self.seconds is None:
            return f"failed with {self.code}" if self.code else ""
        if self.seconds > MOST_SECONDS:
            return f"took {self.seconds:.1f} s to end after {self.moment_s:.1f} s"
        return "" if self.code == self.expected else f"ended with {self.code} after {self.moment_s:.1f} s"


def interruptions(
    name: str, made: Path, work: Path, *, count: int, seed: int, number: signal.Signals = signal.SIGINT
) -> Iterator[Interruption]:
    """Send a signal to a command of `INTERRUPTED_COMMANDS`, as a terminal does, at ``count`` random moments.

    The first run is not to be interrupted, unless it takes longer than `LATEST_S`; its end is the latest moment.
    """
    draw, latest, undisturbed = random.Random(f"{name} {seed}"), LATEST_S, None
    for trial in range(count + 1):
        folder = work / f"{name}-{number.name}-{trial}"
        folder.mkdir(parents=True)
        if replaced := name in COMMANDS and COMMANDS[name].replaces:
            shutil.copytree(made / replaced, folder / OUT)
        moment = draw.uniform(EARLIEST_S, latest) if trial else LATEST_S
        started = time.monotonic()
        run = _interrupted(INTERRUPTED_COMMANDS[name](made, folder), folder, moment, number)
        if run.seconds is None and not trial:
            latest, undisturbed = time.monotonic() - started, run.code
        left = run.seconds is not None and run.seconds < GONE_S and run.code == undisturbed
        yield replace(run, seconds=None) if left else run


def program_line(words: list[str], begun: int) -> list[str]:
    """Return the words that start ``emo-edge`` with this Python, as its console script does.

    The descriptor ``begun`` is closed when the program itself begins.
    """
    start = f"from emo_edge.cli import main\nimport os; os.close({begun}); sys.argv[1:] = {words!r}\nmain()"
    return code_command(f"{DEFAULT_SIGINT}\n{start}")


def _interrupted(words: list[str], folder: Path, moment: float, number: signal.Signals) -> Interruption:
    begun, begins = os.pipe()
    process = subprocess.Popen(
        program_line(words, begins),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        start_new_session=True,
        pass_fds=[begins],
    )
    os.close(begins)
    os.read(begun, 1)
    os.close(begun)
    try:
        return Interruption(moment, None, process.wait(moment), 128 + number)
    except subprocess.TimeoutExpired:
        started = time.monotonic()
        os.killpg(process.pid, number)
    try:
        code: int | None = process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        code = None
    return Interruption(moment, time.monotonic() - started, code, 128 + number)
