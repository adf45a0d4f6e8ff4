"""``emo-edge selftest``: build, compare and time a bundle on every device here, and write one report to send."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from emo_edge import __version__
from emo_edge.bundle.reader import Bundle, profile_of
from emo_edge.diagnostics.doctor import examine
from emo_edge.diagnostics.selftest_report import SELFTEST_VERSION, judged, lines
from emo_edge.errors import AccuracyGateError, DeviceError, InputError
from emo_edge.runtimes.base.devices import DEVICES
from emo_edge.utils.cache import cache_directory
from emo_edge.utils.commands import EdgeCommand
from emo_edge.utils.files import replace_text

START = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "import emo_edge.diagnostics.selftest_worker as device; device.main()"
)
"""A folder named as an engine where the command was started is not the engine."""
RUN_DEVICES = ("cpu", *(name for name in DEVICES if name not in ("auto", "cpu")))
"""The CPU first: its readings are what the others are compared with."""


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--device", "devices", multiple=True, type=click.Choice(RUN_DEVICES), help="Only these, and the CPU.")
@click.option("--profile", help="One of the bundle's profiles; its default if left out.")
@click.option("--samples", default=28, show_default=True, type=click.IntRange(1, 210), help="Drawings to compare on.")
@click.option("--rounds", default=30, show_default=True, type=click.IntRange(5), help="Readings that are timed.")
@click.option("--minutes", default=60.0, show_default=True, help="For one device; engines are built in them.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("selftest.json"), show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace a report that is there.")
def main(bundle: Path, devices: tuple[str, ...], out: Path, overwrite: bool, **options: Any) -> None:
    """Build, compare and time BUNDLE on every device of this machine.

    Reads packaged drawings alone, none of your pictures. The report names hardware and versions, no user and no folder.
    """
    if not out.absolute().parent.is_dir():
        raise InputError(
            f"{out}: there is no folder {out.absolute().parent}; make it, or give another place with --out"
        )
    if out.exists() and not overwrite:
        raise InputError(f"{out}: already there; give another name or --overwrite")
    report = selftest(bundle, devices or RUN_DEVICES, lambda text: click.echo(text, err=True), **options)
    _write(out, nameless(json.dumps(report, indent=1), bundle) + "\n")
    click.echo("\n".join(lines(report)))
    click.echo(f"\nall of it is in {out}")
    raise_for(report, devices)


def selftest(
    bundle: Path, devices: tuple[str, ...], say: Callable[[str], object], *, profile: str | None, samples: int,
    rounds: int, minutes: float,
) -> dict[str, Any]:  # fmt: skip
    """Run every device in a process of its own and return the report, as JSON has it."""
    opened = Bundle.open(bundle, use_cache=False)
    name, chosen = profile_of(opened, profile)
    order = {"bundle": str(bundle.absolute()), "profile": name, "samples": samples, "rounds": rounds}
    order["language"] = chosen.language is not None
    runs = {}
    for device in dict.fromkeys(("cpu", *devices)):
        say(f"reading {samples} drawings on {device}")
        runs[device] = _run(order | {"device": device}, 60 * minutes)
    say("looking at the machine")
    return {
        "selftest_version": SELFTEST_VERSION,
        "emo_edge": __version__,
        "bundle": {"name": opened.manifest.name, "files": len(opened.manifest.files())},
        "profile": name,
        "devices": judged(runs),
        "machine": asdict(examine(bundle=bundle)),
    }


def nameless(text: str, bundle: Path) -> str:
    """Replace the folders of this machine, whose names may be somebody's, in a report's JSON."""
    named = {"BUNDLE": bundle, "PYTHON": Path(sys.prefix), "BASE": Path(sys.base_prefix), "CACHE": cache_directory()}
    named |= {"HERE": Path.cwd(), "TEMPORARY": Path(tempfile.gettempdir())}
    with suppress(RuntimeError):  # a user without a home
        named["HOME"] = Path.home()
    places = {str(form): name for name, path in named.items() for form in (path.absolute(), path.resolve())}
    for place in sorted(places, key=len, reverse=True):
        if len(place) > 1:
            text = re.sub(re.escape(json.dumps(place)[1:-1]) + r"(?![\w.-])", places[place], text)
    return text


def raise_for(report: dict[str, Any], named: tuple[str, ...]) -> None:
    """Raise AccuracyGateError where a device strays, DeviceError where the CPU or a named device did not run."""
    strays = [f"{device}: {run['strays']}" for device, run in report["devices"].items() if "strays" in run]
    if strays:
        raise AccuracyGateError("; ".join(strays))
    runs = report["devices"]
    gated = [f"{device}: {run['problem']}" for device, run in runs.items() if run.get("exit_code") == 7]
    if gated:
        raise AccuracyGateError("; ".join(gated))
    # A device that is not here is no failure, unless it was asked for.
    missing = [
        name for name, run in runs.items() if "problem" in run and ("absent" not in run or name in ("cpu", *named))
    ]
    if missing:
        raise DeviceError(f"not run: {', '.join(missing)}; the report says why")


def _run(order: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Run the child for one device; however it ends, it is a dictionary."""
    child = subprocess.Popen(
        [sys.executable, "-c", START],
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
        found = json.loads(output.strip().splitlines()[-1])
        if isinstance(found, dict):
            return found
    last = errors.strip().splitlines()[-1:] or ["it said nothing"]
    return {"problem": f"the process ended with code {child.returncode}: {last[0][:300]}"}


def _write(path: Path, text: str) -> None:
    try:
        replace_text(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give another place with --out") from error
