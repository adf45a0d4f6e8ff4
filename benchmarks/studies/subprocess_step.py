"""Time and anonymous memory of one step, in a process of its own."""

from __future__ import annotations

import multiprocessing
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_edge.console.children import safe_path
from emo_edge.errors import DeviceError, EmoEdgeError

SAMPLED_EVERY_S = 0.02
PROCESSES = Path("/proc")
LINES_SHOWN = 5


@dataclass(frozen=True)
class Measured:
    """Time and memory of one step, the start of its process included."""

    step: str
    seconds: float
    peak_anonymous_gb: float
    """Largest sampled RssAnon; mapped pages of files do not count."""
    written_gb: float


def measured(step: str, work: Callable[..., None], arguments: tuple[Any, ...], out: Path) -> Measured:
    """Run ``work`` in a fresh process and watch its anonymous memory until it ends.

    Raises DeviceError on a system that does not report it, EmoEdgeError if the work fails.
    """
    _require_processes()
    started = time.perf_counter()
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    with safe_path():
        process.start()
    peak = 0
    while process.is_alive():
        peak = max(peak, _anonymous_bytes(process.pid))
        process.join(SAMPLED_EVERY_S)
    if process.exitcode:
        raise EmoEdgeError(f"{step}: stopped, see its message above")
    return _figures(step, time.perf_counter() - started, peak, out)


def measured_command(step: str, command: Sequence[str | Path], out: Path) -> Measured:
    """Run a command as `measured` runs a function; its last lines are shown if it fails."""
    _require_processes()
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        try:
            process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=subprocess.STDOUT)
        except OSError as error:
            raise EmoEdgeError(f"{step}: cannot be started: {error}") from error
        peak = 0
        while process.poll() is None:
            peak = max(peak, _anonymous_bytes(process.pid))
            time.sleep(SAMPLED_EVERY_S)
        seconds = time.perf_counter() - started
        if process.returncode:
            output.seek(0)
            last = output.read().decode(errors="replace").splitlines()[-LINES_SHOWN:]
            raise EmoEdgeError("\n".join([f"{step}: ended with {process.returncode}:", *last]))
    return _figures(step, seconds, peak, out)


def _require_processes() -> None:
    if not PROCESSES.is_dir():
        raise DeviceError(f"anonymous memory is read from {PROCESSES}: measure it on Linux")


def _anonymous_bytes(pid: int | None) -> int:
    try:
        lines = (PROCESSES / str(pid) / "status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def _figures(step: str, seconds: float, peak: int, out: Path) -> Measured:
    size = sum(path.stat().st_size for path in ([out] if out.is_file() else out.rglob("*")))
    return Measured(step, round(seconds, 1), round(peak / 1e9, 2), round(size / 1e9, 2))
