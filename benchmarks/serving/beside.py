"""``emo-edge serve`` beside LitServe: ``python -m emo_edge.benchmarks.serving.beside BUNDLE``.

Both serve the same pipeline in a process of their own; the same clients ask them in turn. LitServe batches 16 pictures
within 5 ms. Needs ``pip install litserve``, which no extra brings.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np

from emo_edge.benchmarks.serving.__main__ import pictures, rounded, table
from emo_edge.benchmarks.serving.clients import LITSERVE, OURS, PATIENCE_S, Served, at_once, sequential, server
from emo_edge.console.children import code_command
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import EmoEdgeError, MissingExtraError
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.files import write_json

RUN = "import emo_edge.benchmarks.serving.litserve_api as api; api.main()"
WARM = 8
ASK_AGAIN_S = 0.1


@contextmanager
def litserve_server(bundle: Path, profile: str | None) -> Iterator[Served]:
    """Run LitServe inside the block."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    options = [str(bundle), str(port), *([profile] if profile else [])]
    # A session of its own: its workers end with it.
    with subprocess.Popen(code_command(RUN, *options), start_new_session=True) as process:
        try:
            _wait_until_ready(f"127.0.0.1:{port}", process)
            yield Served(f"127.0.0.1:{port}", process.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s and process.poll() is None:
        connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        connection.close()
        time.sleep(ASK_AGAIN_S)
    raise EmoEdgeError("LitServe did not start; its message is above")


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--profile", help="One of the bundle's profiles; the default is the bundle's.")
@click.option("--readings", default=100, show_default=True, type=click.IntRange(2), help="Of each side in a round.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Rounds, the sides in turn.")
@click.option("--clients", default=32, show_default=True, type=click.IntRange(1), help="Clients that ask at once.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of all figures and raw values.")
def main(bundle: Path, profile: str | None, readings: int, rounds: int, clients: int, target: Path | None) -> None:
    """Measure ``emo-edge serve`` and LitServe around the same pipeline, in turn."""
    if importlib.util.find_spec("litserve") is None:
        raise MissingExtraError("litserve is not installed. Run: pip install litserve")
    before, files = os.getloadavg()[0], pictures()
    asked = (files * (1 + readings // len(files)))[:readings]
    engine = ["--device", "cpu", *(["--profile", profile] if profile else [])]
    with server(bundle, engine) as ours, litserve_server(bundle, profile) as theirs:
        sides = {"emo-edge serve": (ours.address, OURS), "LitServe": (theirs.address, LITSERVE)}
        single: dict[str, list[float]] = {name: [] for name in sides}
        crowd: dict[str, list[float]] = {name: [] for name in sides}
        for address, wire in sides.values():
            sequential(address, files[:WARM], wire)
        for _ in range(rounds):
            for name, (address, wire) in sides.items():
                single[name] += sequential(address, asked, wire)
            for name, (address, wire) in sides.items():
                crowd[name].append(at_once(address, asked, clients, wire))
    rows = []
    for name in sides:
        p50, p90 = (1000 * np.percentile(single[name], percent) for percent in (50, 90))
        rates = readings / np.array(crowd[name])
        rows.append((f"{name}: a reading, p50 and p90", f"{p50:.1f} and {p90:.1f} ms"))
        text = f"{np.median(rates):.1f} ({rates.min():.1f}–{rates.max():.1f})"
        rows.append((f"{name}: readings a second, {clients} clients", text))
    machine = f"{describe_machine()}, litserve {version('litserve')}"
    click.echo(f"{machine}. Load before: {before:.2f}.\n\n{table(rows)}")
    if target:
        kept = {"machine": machine, "load_before": before, "readings": readings, "rounds": rounds, "clients": clients}
        raw = rounded({"one_client_s": single, "all_clients_s": crowd})
        write_json(target, {**kept, "figures": dict(rows), **raw})


if __name__ == "__main__":
    main()
