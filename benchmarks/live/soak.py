"""Many frames of one source, as fast as they are processed: memory, threads and descriptors must not grow."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.live.scene import FPS
from emo_edge.benchmarks.measure.process_state import ProcessState, process_state
from emo_edge.faces.live.tracker import LiveTracker
from emo_edge.inference.live.events import FrameEvent
from emo_edge.inference.live.loop import LiveLoop
from emo_edge.inference.live.reading_thread import ReadingThread
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.media.crops import Box, Image
from emo_edge.media.live.capture import MONOTONIC, LiveCapture

WARM_UP = 0.2
"""Part of the frames before the first look."""
LOOKS = 20


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
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        capture = LiveCapture(file.name, settings.capture, opener=opener)
        reader, tracker = ReadingThread(read, MONOTONIC), LiveTracker(pipeline.detector)
        loop = LiveLoop(capture, tracker, reader, settings, MONOTONIC, pipeline.manifest.live)
        for event in loop.events():
            if isinstance(event, FrameEvent):
                if count in looks:
                    states.append(process_state())
                count += 1
    return Soak(count, states)
