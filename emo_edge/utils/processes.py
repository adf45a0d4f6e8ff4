"""Small files and short commands of the operating system, read so that nothing of theirs can do harm.

What is missing, unreadable or nonsense is empty or None, because a report is needed most where things break.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

READ_LIMIT = 1 << 20
"""Bytes read of any file: the largest here, /proc/cpuinfo of a big server, has 400,000."""
TOOL_SECONDS = 10.0
"""nvidia-smi needs up to 3 s where the driver is loaded for it; a broken driver lets it hang."""
DYING_SECONDS = 2.0
"""A process inside a hung driver cannot be killed; it is left behind after this."""


class ProcessResult(NamedTuple):
    """The result of a bounded process."""

    output: str
    errors: str
    problem: str | None
    """None where it succeeded; else what happened, in a few words."""
    started: bool = True


Run = Callable[[Sequence[str], float], ProcessResult]
"""Runs a command for at most so many seconds."""


def run_bounded(command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> ProcessResult:
    """Run a command without input, in a process group of its own that ends with it; ``environment`` is added."""
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = "not found" if isinstance(error, FileNotFoundError) else f"cannot be started ({error})"
        return ProcessResult("", "", reason, started=False)
    try:
        output, errors = (text.decode("utf-8", "replace") for text in child.communicate(timeout=seconds))
    except subprocess.TimeoutExpired:
        _end(child)
        return ProcessResult("", "", f"gave no answer in {seconds:g} s")
    except BaseException:
        _end(child)
        raise
    return ProcessResult(output, errors, _problem(child.returncode, errors or output))


def closed_environment() -> str | None:
    """Return the virtual environment of this Python, unless there is none or it sees the system's packages."""
    settings = read_text(Path(sys.prefix) / "pyvenv.cfg").lower()
    opened = re.search(r"^include-system-site-packages\s*=\s*true", settings, re.MULTILINE)
    return None if sys.prefix == sys.base_prefix or opened else sys.prefix


def read_text(path: Path) -> str:
    """Read a small text file; empty where it is missing, no plain file or unreadable."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(READ_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""


def read_strings(path: Path) -> tuple[str, ...]:
    """Read a device tree property, strings that each end with NUL; what cannot be printed is left out."""
    return tuple(text for text in read_text(path).split("\0") if text and text.isprintable() and "\ufffd" not in text)


def read_number(path: Path) -> int | None:
    """Read a file that holds one whole number."""
    text = read_text(path).strip()
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else None


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    for pipe in (child.stdout, child.stderr):
        if pipe:
            pipe.close()
    with suppress(subprocess.TimeoutExpired):
        child.wait(DYING_SECONDS)


def _problem(code: int, text: str) -> str | None:
    if code == 0:
        return None
    if code < 0:
        with suppress(ValueError):
            return f"ended by {signal.Signals(-code).name}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"failed with code {code}" + (f": {lines[-1][:200]}" if lines else "")
