"""Readings and openings by the thousand: memory, descriptors and threads must stay as they were."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.measure.process_state import ProcessState, process_state, quick_states
from emo_edge.console.progress import Progress
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.stream import stream

WARM_UP = 0.1
"""Fraction of the rounds before the first state: libraries load, caches fill to their bounds."""
STATES = 40
"""Number of states that are taken after the warm-up."""
WINDOW = 8
"""Growth is from the median of the first eighth of the states to that of the last: allocators keep pages a while."""
PICTURES = 64


@dataclass(frozen=True)
class Steadiness:
    """States of a process over many rounds of the same work."""

    rounds: int
    seconds: float
    states: tuple[ProcessState, ...]

    @property
    def growth(self) -> float:
        """Relative growth of the resident memory after the warm-up."""
        count = max(1, len(self.states) // WINDOW)
        first, last = (
            statistics.median(state.resident_bytes for state in part)
            for part in (self.states[:count], self.states[-count:])
        )
        return last / first - 1

    def problems(self, limit: float) -> list[str]:
        """List what grew: memory by more than ``limit``, descriptors or threads at all."""
        first, last = self.states[0], self.states[-1]
        grown = [f"memory grew by {100 * self.growth:.2f} %"] if self.growth > limit else []
        grown += [f"{last.descriptors - first.descriptors} more descriptors"] * (last.descriptors > first.descriptors)
        return grown + [f"{last.threads - first.threads} more threads"] * (last.threads > first.threads)


def watched_rounds(
    work: Iterator[object], rounds: int, progress: Progress = lambda done, total: None, *, states: int = STATES
) -> Steadiness:
    """Take ``rounds`` items of ``work``, and about ``states`` states; ``progress`` gets rounds done and all of them."""
    warm, started = max(1, int(WARM_UP * rounds)), time.monotonic()
    step = max(1, (rounds - warm) // states)
    taken = []
    with quick_states():
        for number, _ in enumerate(itertools.islice(work, rounds), 1):
            if number >= warm and (number - warm) % step == 0:
                taken.append(process_state())
                progress(number, rounds)
    return Steadiness(rounds, time.monotonic() - started, tuple(taken))


def pictures(pipeline: EmotionPipeline) -> Iterator[object]:
    """Read packaged drawings without end, each as a new picture."""
    images = [sample.image for sample in packaged_samples(PICTURES)]
    for image in itertools.cycle(images):
        yield pipeline.read(image)


def video_frames(pipeline: EmotionPipeline, video: Path) -> Iterator[object]:
    """Read a video's frames without end, opened anew each time it ends."""
    for _ in itertools.count():
        yield from stream(pipeline, video)


def openings(opened: Callable[[], EmotionPipeline]) -> Iterator[object]:
    """Open a pipeline, read one drawing and close it, without end."""
    image = packaged_samples(1)[0].image
    for _ in itertools.count():
        with opened() as pipeline:
            yield pipeline.read(image)
