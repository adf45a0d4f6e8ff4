"""Drawn faces with a heartbeat and nuisances as a data set: each is a person of their own, drawn when it is read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial

from emo_edge.benchmarks.datasets.pulse.recordings import PulseDataset, PulseRecording
from emo_edge.benchmarks.synthetic.pulse.clips import PulseClip, render_pulse_clip
from emo_edge.media.videos import TimedFrame

NAME = "synthetic-pulse"
SEED = 9300
"""Unlike those of the study of pulses, which chose the threshold of the SNR."""


def synthetic_pulse(count: int) -> PulseDataset:
    """Open ``count`` clips of 10 s."""
    recordings = tuple(
        PulseRecording(f"{NAME}-{index:04d}", f"{index:04d}", partial(_frames, index), partial(_bpm, index))
        for index in range(count)
    )
    return PulseDataset(NAME, recordings, True, f"the heartbeat that was drawn, seed {SEED}")


@lru_cache(maxsize=1)
def _clip(index: int) -> PulseClip:
    return render_pulse_clip(SEED, index)


def _frames(index: int) -> Iterator[TimedFrame]:
    clip = _clip(index)
    for number, (image, time) in enumerate(zip(clip.frames, clip.times.tolist(), strict=True)):
        # Times are jittered, the first one may be below 0.
        seconds = time - float(clip.times[0])
        yield TimedFrame(image, number, seconds, 0, seconds)


def _bpm(index: int, start_s: float, end_s: float) -> float | None:
    """Return the mean rate of the clip, whose one window is all of it."""
    return _clip(index).bpm
