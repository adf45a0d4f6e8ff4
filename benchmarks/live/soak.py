"""Many frames of one source, as fast as they are processed: memory, threads and descriptors must not grow.

``python -m emo_edge.benchmarks.live.soak BUNDLE`` follows those of an hour.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.live.scene import FPS
from emo_edge.benchmarks.live.scene import frames as scene_frames
from emo_edge.benchmarks.measure.process_state import ProcessState, process_state, quick_states
from emo_edge.bundle.reader import Bundle
from emo_edge.console.commands import EdgeCommand
from emo_edge.faces.live.tracker import LiveTracker
from emo_edge.inference.detectors import chosen_detector
from emo_edge.inference.live.events import FrameEvent
from emo_edge.inference.live.loop import LiveLoop
from emo_edge.inference.live.reading_thread import ReadingThread
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.machine.summary import describe_machine
from emo_edge.media.crops import Box, Image
from emo_edge.media.live.capture import MONOTONIC, LiveCapture
from emo_edge.utils.files import write_json

WARM_UP = 0.2
"""Part of the frames before the first look."""
LOOKS = 20
HOUR = 3600 * int(FPS)
"""Frames of an hour."""
SCENE_S = 3.0
"""Of the scene whose frames come over and over."""


@dataclass(frozen=True)
class Soak:
    """Resources of the process, at looks spread evenly over the frames after the warm-up."""

    frames: int
    states: list[ProcessState]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object, every look in it."""
        return {
            "frames": self.frames,
            "growth_bytes": self.growth_bytes,
            "threads": self.threads,
            "descriptors": self.descriptors,
            "raw": [asdict(state) for state in self.states],
        }

    @property
    def growth_bytes(self) -> int:
        """Return the memory at the last look less that at the first."""
        return self.states[-1].resident_bytes - self.states[0].resident_bytes

    @property
    def threads(self) -> int:
        """Return the threads more than at the first look."""
        return self.states[-1].threads - self.states[0].threads

    @property
    def descriptors(self) -> int:
        """Return the descriptors more than at the first look."""
        return self.states[-1].descriptors - self.states[0].descriptors


class _Frame:
    def __init__(self, image: Image, stamp: float) -> None:
        self.stamp, self.duration, self._image = stamp, 1 / FPS, image

    def keep(self) -> None:
        """Do nothing: the picture lasts."""

    def pixels(self) -> NDArray[np.uint8]:
        return self._image


class _Film:
    """A reader of the same pictures over and over, at a constant rate of their stamps."""

    step_s, frame_count, duration_s, damaged = 1 / FPS, 0, 0.0, 0

    def __init__(self, pictures: Sequence[Image]) -> None:
        self._pictures = pictures

    def frames(self) -> Iterator[Any]:
        for number, picture in enumerate(itertools.cycle(self._pictures)):
            yield _Frame(picture, number / FPS)

    def close(self) -> None:
        """Do nothing."""


def soaked(pipeline: EmotionPipeline, pictures: Sequence[Image], frames: int) -> Soak:
    """Follow and read so many frames: an accelerated clock, no frame is skipped."""

    @contextmanager
    def opener(source: str, kind: str) -> Iterator[Any]:
        yield _Film(pictures)

    def read(image: Image, boxes: list[Box]) -> list[EmotionResult]:
        return pipeline.read(image, Request(), boxes=boxes, boxes_of=pipeline.detector.name)

    # Half a frame off: rounding of stamps adds none.
    settings = LiveSettings(duration_s=(frames - 1.5) / FPS)
    first, states, count = round(WARM_UP * frames), list[ProcessState](), 0
    looks = set(np.linspace(first, frames - 1, LOOKS).astype(int).tolist())
    # A source of that name has to be there; the opener does not read it.
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file, quick_states():
        capture = LiveCapture(file.name, settings.capture, opener=opener)
        reader, tracker = ReadingThread(read, MONOTONIC), LiveTracker(pipeline.detector)
        loop = LiveLoop(capture, tracker, reader, settings, MONOTONIC, pipeline.manifest.live)
        for event in loop.events():
            if isinstance(event, FrameEvent):
                if count in looks:
                    states.append(process_state())
                count += 1
    return Soak(count, states)


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--profile", help="One of the bundle's profiles; the default is the bundle's.")
@click.option("--detector", default="auto", show_default=True, help="Face detector, as of emo-edge live.")
@click.option("--frames", default=HOUR, show_default=True, type=click.IntRange(100), help="Number of frames.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of every look.")
def main(bundle: Path, profile: str | None, detector: str, frames: int, target: Path | None) -> None:
    """Follow and read the drawn face of one source without a pause, and print how memory and threads grew."""
    opened = Bundle.open(bundle)
    chosen = chosen_detector(opened, detector)
    with EmotionPipeline.open(opened, device="cpu", profile=profile, detector=chosen) as pipeline:
        started = time.perf_counter()
        soak = soaked(pipeline, list(scene_frames(1, SCENE_S)), frames)
        seconds, name = time.perf_counter() - started, pipeline.engines.profile_name
    sizes = [state.resident_bytes / 1e6 for state in soak.states]
    conditions = f"{describe_machine()}. Profile {name}, detector {chosen.name}, {seconds:.0f} s."
    click.echo(
        f"{soak.frames:,} frames: memory {soak.growth_bytes / 1e6:+.1f} MB ({min(sizes):.0f} to {max(sizes):.0f} MB at "
        f"{len(sizes)} looks), threads {soak.threads:+d}, descriptors {soak.descriptors:+d}\n\n{conditions}"
    )
    if target:
        write_json(target, {"conditions": conditions, **soak.to_dict()})


if __name__ == "__main__":
    main()
