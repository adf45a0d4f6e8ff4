"""Cold start and peak memory, each in a process that has done nothing else."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Timer
from typing import IO, Any

import numpy as np

from emo_edge.benchmarks.measure.timing import DIGITS
from emo_edge.benchmarks.workload.images import LatencyImage
from emo_edge.benchmarks.workload.open import TargetOptions
from emo_edge.console.children import module_command
from emo_edge.errors import EmoEdgeError

LONGEST_S = 1800.0
"""A checkpoint of seven billion parameters takes minutes to load."""


def cold_starts(
    bundle: Path, name: str, options: TargetOptions, images: Sequence[LatencyImage], count: int, *, writes: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Start ``count`` processes, one after the other, that each import, open and read.

    Returns:
        ``cold_start``: milliseconds from the process's start to its first label, with the parts of the first one; and
        ``memory``: the largest of all. The bundle's files are in the system's cache, if the memory holds them.

    Raises EmoEdgeError if one fails: with its last line, for one that took `LONGEST_S`, or whose output cannot be read.
    """
    spec = {
        "bundle": str(bundle.absolute()),
        "name": name,
        "opened_with": {**options.to_json(), "checkpoint": str(Path(options.checkpoint).absolute())},
        "images": [[str(image.path.absolute()), image.box] for image in images],
        "writes": writes,
    }
    ended = [_started(spec) for _ in range(count)]
    raw = [round(ms, DIGITS) for ms, _, _ in ended]
    peaks, cards = (
        [figures[key] for _, _, figures in ended if figures.get(key) is not None] for key in ("peak_rss", "device")
    )
    parts = {part: round(ms, DIGITS) for part, ms in ended[0][1].items()}
    start = {"p50": float(np.median(raw)), "min": min(raw), "raw": raw, "parts": parts}
    return start, {"peak_rss": max(peaks, default=None), "device": max(cards, default=None)}


def _started(spec: dict[str, Any]) -> tuple[float, dict[str, float], dict[str, Any]]:
    command = module_command("emo_edge.benchmarks.measure.cold_start_worker", json.dumps(spec))
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryDirectory() as empty:
        ended = _watched(command, errors, empty)
        if ended is None:
            raise EmoEdgeError(f"a fresh process was not done in {LONGEST_S:g} s, and was ended")
        milliseconds, first, rest, code = ended
        if code:
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["it wrote nothing"]
            raise EmoEdgeError(f"a fresh process ended with {code}: {words[0]}")
    try:
        return milliseconds, dict(json.loads(first)), dict(json.loads(rest))
    except (ValueError, TypeError) as error:
        raise EmoEdgeError(f"a fresh process wrote text that cannot be read: {error}") from error


def _watched(command: Sequence[str], errors: IO[bytes], folder: str) -> tuple[float, bytes, bytes, int] | None:
    """Return milliseconds to the first line, it, the rest and the exit code; None for a process that took too long."""
    late = Event()
    started = time.perf_counter()
    # Unbuffered: what a buffer has read beyond the first line, `communicate` would not see.
    child = subprocess.Popen(
        command, bufsize=0, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, cwd=folder
    )

    def end() -> None:
        late.set()
        child.kill()

    watch = Timer(LONGEST_S, end)
    watch.daemon = True
    watch.start()
    try:
        assert child.stdout is not None
        first = child.stdout.readline()
        milliseconds = 1000 * (time.perf_counter() - started)
        rest, _ = child.communicate(timeout=LONGEST_S)
    except BaseException as error:
        child.kill()
        child.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return None
        raise
    finally:
        watch.cancel()
    return None if late.is_set() else (milliseconds, first, rest, child.returncode)
