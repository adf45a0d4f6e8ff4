"""Rates of `emo-edge track`: the face network alone, the search for faces alone, and both as the command runs them.

``python -m emo_edge.benchmarks.live.videos BUNDLE``: a drawn video of 640x480 pixels, each way once a round, in turn,
so that a machine which drifts slows each of them alike.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click

from emo_edge.benchmarks.live.scene import FPS, PLACES, write_scene
from emo_edge.bundle.reader import Bundle
from emo_edge.console.commands import EdgeCommand
from emo_edge.faces.detector import FaceDetector
from emo_edge.inference.detectors import chosen_detector
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.load import watched_load
from emo_edge.machine.summary import describe_machine
from emo_edge.tracking.follow import FRAMES_AT_ONCE, FoundBatch, VideoFollower
from emo_edge.tracking.frames import open_frames
from emo_edge.tracking.journal import Journal
from emo_edge.tracking.network import FaceNetwork
from emo_edge.tracking.reading import read_video

HEAD = ("way", "frames a second", "least", "most", "CPU ms a frame")


def followed(video: Path, network: FaceNetwork, detector: FaceDetector) -> list[FoundBatch]:
    """Decode a video, find and follow its faces and cut them out, without the network."""
    follower, batches = VideoFollower(network, detector), list[FoundBatch]()
    with open_frames(str(video), "video", 0) as opened:
        while not batches or not batches[-1].is_last:
            batches.append(follower.batch(opened.frames))
    return batches


def ways(video: Path, network: FaceNetwork, detector: FaceDetector, folder: Path) -> dict[str, Callable[[], object]]:
    """Return what is timed by its name: each call takes every frame of the video."""
    batches = followed(video, network, detector)

    def alone() -> None:
        for batch in batches:
            network.rows([face.crop for face in batch.faces])

    def whole() -> None:
        path = folder / "record"
        path.unlink(missing_ok=True)
        with Journal(path, {}, network.width) as journal:
            read_video(str(video), "video", journal, network, detector)

    return {
        "face network": alone,
        "decode, find, follow, cut": lambda: followed(video, network, detector),
        "both, as the command": whole,
    }


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--faces", type=click.Choice([str(count) for count in PLACES]), default="1", show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=10.0, show_default=True, help="Length of the video.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--profile", help="One of the bundle's profiles; the default is the bundle's.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Number of threads of the network.")
@click.option("--detector", default="auto", show_default=True)
def main(
    bundle: Path,
    faces: str,
    seconds: float,
    rounds: int,
    profile: str | None,
    device: str,
    threads: int | None,
    detector: str,
) -> None:
    """Print frames a second of each way: the median of the rounds, the least and the most."""
    opened, total = Bundle.open(bundle), round(seconds * FPS)
    print(f"{describe_machine()}, {usable_cpus()} usable CPUs")
    with (
        tempfile.TemporaryDirectory() as folder,
        FaceNetwork.open(opened, device=device, profile=profile, threads=threads) as network,
    ):
        video = write_scene(Path(folder) / "scene.mp4", int(faces), seconds)
        named = ways(video, network, chosen_detector(opened, detector), Path(folder))
        measured: dict[str, list[tuple[float, float]]] = {way: [] for way in named}
        with watched_load() as watch:
            for _ in range(rounds):
                for way, call in named.items():
                    started, used = time.perf_counter(), time.process_time()
                    call()
                    measured[way].append((total / (time.perf_counter() - started), time.process_time() - used))
        units = len(network.contents.units)
        print(
            f"{opened.manifest.name}, {network.settings()['variant']} on {device}: {units} units; {faces} face, "
            f"{total} frames, {FRAMES_AT_ONCE} at once, {rounds} rounds\n"
        )
        print(table(measured, total))
        print("".join(f"\nSlower than on a quiet machine: {reason}." for reason in watch.reasons))


def table(measured: dict[str, list[tuple[float, float]]], frames: int) -> str:
    """Write the rates as Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for way, rows in measured.items():
        rates = [rate for rate, _ in rows]
        cpu_ms = 1000 * median(used for _, used in rows) / frames
        lines.append(f"| {way} | {median(rates):.1f} | {min(rates):.1f} | {max(rates):.1f} | {cpu_ms:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
