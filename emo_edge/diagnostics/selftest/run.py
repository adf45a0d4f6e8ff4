"""Run a bundle on every device of this machine, each in a process of its own, and compare the outputs."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emo_edge import __version__
from emo_edge.bundle.reader import Bundle, profile_of
from emo_edge.console.children import code_command
from emo_edge.diagnostics.doctor.examine import examine
from emo_edge.diagnostics.selftest.comparison import compared_runs
from emo_edge.errors import AccuracyGateError, DeviceError, InputError
from emo_edge.runtimes.base.device_names import DEVICES

SELFTEST_VERSION = 1
"""Of the report."""
START = "import emo_edge.diagnostics.selftest.worker as worker; worker.main()"
RUN_DEVICES = ("cpu", *(name for name in DEVICES if name not in ("auto", "cpu")))
"""The CPU first: the others are compared with its outputs."""


@dataclass(frozen=True)
class SelftestSettings:
    """The load of a self-test."""

    profile: str | None = None
    """One of the bundle's; None takes its default."""
    samples: int = 28
    """Drawings to compare on."""
    rounds: int = 30
    """Readings that are timed."""
    minutes: float = 60.0
    """For one device; engines are built in them."""

    def __post_init__(self) -> None:
        if self.samples < 1 or self.rounds < 1 or not 0 < self.minutes < math.inf:
            raise InputError(
                f"a self-test needs samples, rounds and minutes above 0, not {self.samples}, {self.rounds} "
                f"and {self.minutes}"
            )


def selftest(
    bundle: Path,
    devices: Iterable[str] = RUN_DEVICES,
    settings: SelftestSettings | None = None,
    *,
    report: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Run ``bundle`` on the CPU and on ``devices``, and return the report that ``emo-edge selftest`` writes.

    ``report`` is called with one line before each device. Raises BundleError for a bundle that is not intact.
    """
    settings = settings or SelftestSettings()
    opened = Bundle.open(bundle, use_cache=False)
    name, profile = profile_of(opened, settings.profile)
    order = {
        "bundle": str(bundle.absolute()),
        "profile": name,
        "samples": settings.samples,
        "rounds": settings.rounds,
        "language": profile.language is not None,
    }
    runs = {}
    for device in dict.fromkeys(("cpu", *devices)):
        report(f"reading {settings.samples} drawings on {device}")
        runs[device] = run_device(order | {"device": device}, 60 * settings.minutes)
    report("examining the machine")
    return {
        "selftest_version": SELFTEST_VERSION,
        "emo_edge": __version__,
        "bundle": {"name": opened.manifest.name, "files": len(opened.manifest.files())},
        "profile": name,
        "devices": compared_runs(runs),
        "machine": asdict(examine(bundle=bundle)),
    }


def run_device(order: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Run the child for one device; however it ends, its answer is a dictionary."""
    child = subprocess.Popen(
        code_command(START),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(json.dumps(order), timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"problem": f"gave no answer in {seconds / 60:g} minutes"}
    finally:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)  # and whatever it builds
        child.wait()
    with suppress(ValueError, IndexError):
        answer = json.loads(output.strip().splitlines()[-1])
        if isinstance(answer, dict):
            return answer
    last = errors.strip().splitlines()[-1:] or ["no message"]
    return {"problem": f"the process ended with code {child.returncode}: {last[0][:300]}"}


def require_passed(report: Mapping[str, Any], named: Iterable[str] = ()) -> None:
    """Raise for a report that has failures.

    Raises AccuracyGateError where a device exceeds a tolerance or fails a gate, DeviceError where the CPU or a device
    in ``named`` did not run: any other that is not here is no failure.
    """
    runs = report["devices"]
    exceeded = [f"{device}: {run['strays']}" for device, run in runs.items() if "strays" in run]
    failed = [f"{device}: {run['problem']}" for device, run in runs.items() if run.get("exit_code") == 7]
    if exceeded or failed:
        raise AccuracyGateError("; ".join(exceeded or failed))
    required = {"cpu", *named}
    missing = [name for name, run in runs.items() if "problem" in run and ("absent" not in run or name in required)]
    if missing:
        raise DeviceError(f"not run: {', '.join(missing)}; the report says why")
