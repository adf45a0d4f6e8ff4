"""Command of the measurement: ``python -m emo_edge.benchmarks.serving BUNDLE --json FILE``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.serving.clients import at_once, burst, live_trips, sequential, server
from emo_edge.bundle.reader import Bundle
from emo_edge.console.commands import EdgeCommand
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.machine.summary import describe_machine
from emo_edge.media.images import image_from_bytes
from emo_edge.utils.files import write_json

WARM = 8
MB = 1e6
DIGITS = 6
"""Of seconds: a clock's own step is no smaller on a machine with other work."""


def pictures() -> list[bytes]:
    """Return the packaged drawings, as their files are."""
    return [sample.source.read_bytes() for sample in packaged_samples() if isinstance(sample.source, Path)]


def direct(pipeline: EmotionPipeline, files: Sequence[bytes]) -> list[float]:
    """Return the seconds of each picture, decoded and read in this process."""
    seconds = []
    for file in files:
        started = time.perf_counter()
        pipeline.read(image_from_bytes(file, "picture"))
        seconds.append(time.perf_counter() - started)
    return seconds


def measure(bundle: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return every figure and raw value; direct and served readings in turn."""
    files = pictures()
    rounds = (files * (1 + options["readings"] // len(files)))[: options["readings"]]
    engine = ["--device", "cpu", *(["--profile", options["profile"]] if options["profile"] else [])]
    directs, served = list[float](), list[float]()
    alone_s, together_s = list[float](), list[float]()
    with server(bundle, engine) as running:
        idle = running.resident_bytes()
        with EmotionPipeline.open(Bundle.open(bundle), device="cpu", profile=options["profile"]) as pipeline:
            direct(pipeline, files[:WARM])
            sequential(running.address, files[:WARM])
            for _ in range(options["rounds"]):
                directs += direct(pipeline, rounds)
                times = sequential(running.address, rounds)
                served += times
                alone_s.append(sum(times))
                together_s.append(at_once(running.address, rounds, options["clients"]))
            profile = pipeline.engines.profile_name
        steady = running.resident_bytes()
        crowd = burst(running.address, files[0], options["requests"])
        after_burst = running.resident_bytes()
        time.sleep(1.0)
        again = sequential(running.address, rounds)
        trips = live_trips(running.address, rounds)
    return {
        "profile": profile,
        "direct_s": directs,
        "served_s": served,
        "one_client_s": alone_s,
        "all_clients_s": together_s,
        "burst_status": crowd.status,
        "burst_s": crowd.seconds,
        "after_burst_s": again,
        "live": trips,
        "resident_bytes": {"idle": idle, "steady": steady, "after_burst": after_burst},
    }


def rounded(values: Any) -> Any:
    """Round every number of raw values to a microsecond's or a byte's digits; the figures were computed before."""
    if isinstance(values, float):
        return round(values, DIGITS)
    if isinstance(values, dict):
        return {name: rounded(value) for name, value in values.items()}
    return [rounded(value) for value in values] if isinstance(values, list) else values


def figures(measured: dict[str, Any], readings: int) -> list[tuple[str, str]]:
    """Return the rows of the table."""
    added = 1000 * (np.median(measured["served_s"]) - np.median(measured["direct_s"]))
    ratios = np.array(measured["one_client_s"]) / np.array(measured["all_clients_s"])
    status, seconds = np.array(measured["burst_status"]), np.array(measured["burst_s"])
    counts = {int(code): int((status == code).sum()) for code in sorted(set(status.tolist()))}
    refused = 1000 * np.percentile(seconds[status == 429], 99) if 429 in counts else float("nan")
    again = 1000 * np.array([np.median(measured["served_s"]), np.median(measured["after_burst_s"])])
    beyond = np.array([trip["trip_ms"] - trip["work_ms"] for trip in measured["live"]])
    memory = {name: value / MB for name, value in measured["resident_bytes"].items()}
    throughput = readings / np.median(measured["all_clients_s"])
    return [
        ("a reading in the process, p50", f"{1000 * np.median(measured['direct_s']):.1f} ms"),
        ("a reading through the server, p50", f"{1000 * np.median(measured['served_s']):.1f} ms"),
        ("added by the server, p50", f"{added:.1f} ms"),
        ("readings a second, one client", f"{readings / np.median(measured['one_client_s']):.1f}"),
        ("readings a second, all clients", f"{throughput:.1f}"),
        ("all clients / one client, of each round", f"{np.median(ratios):.2f} ({ratios.min():.2f}–{ratios.max():.2f})"),
        ("requests at once, by status", ", ".join(f"{code}: {number}" for code, number in counts.items())),
        ("429 answered within, p99", f"{refused:.0f} ms"),
        ("a reading before and 1 s after them, p50", f"{again[0]:.1f} and {again[1]:.1f} ms"),
        ("live trip without the server's own work, p50 and p90", _two(beyond)),
        ("memory idle, after readings, after the requests at once", _three(memory)),
    ]


def _two(values: Any) -> str:
    return f"{np.percentile(values, 50):.1f} and {np.percentile(values, 90):.1f} ms"


def _three(memory: dict[str, float]) -> str:
    return ", ".join(f"{memory[name]:.0f}" for name in ("idle", "steady", "after_burst")) + " MB"


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Write the rows as a Markdown table."""
    return "\n".join(["| figure | measured |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--profile", help="One of the bundle's profiles; the default is the bundle's.")
@click.option("--readings", default=100, show_default=True, type=click.IntRange(2), help="Of each side in a round.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Rounds, the sides in turn.")
@click.option("--clients", default=32, show_default=True, type=click.IntRange(1), help="Clients that ask at once.")
@click.option("--requests", default=1000, show_default=True, type=click.IntRange(1), help="Requests at one moment.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of all figures and raw values.")
def main(bundle: Path, **options: Any) -> None:
    """Measure what ``emo-edge serve`` adds to a reading, and how it behaves with many clients."""
    before = os.getloadavg()[0]
    measured = measure(bundle, options)
    rows, machine = figures(measured, options["readings"]), describe_machine()
    asked = {name: options[name] for name in ("readings", "rounds", "clients", "requests")}
    click.echo(f"{machine}. Load before: {before:.2f}. Profile {measured['profile']}, {asked}.\n\n{table(rows)}")
    if options["target"]:
        document = {"machine": machine, "load_before": before, **asked, "figures": dict(rows), **measured}
        write_json(options["target"], rounded(document))


if __name__ == "__main__":
    main()
