"""Nuisances of a pulse in a video: flicker, drifting gains, talking, moving, noise, late frames, recompression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
FLICKER_HZ = (0.1, 14.0)
"""Of white light: what a camera of 30 frames a second makes of lamps at 100 and 120 Hz, of screens, of clouds."""
DRIFT_HZ = (0.02, 0.2)
RAMP_S = 0.4
"""In which an automatic exposure takes its step."""
SYLLABLES_HZ = (2.0, 4.5)
PHRASES_HZ = (0.2, 0.5)


@dataclass(frozen=True)
class Nuisances:
    """Largest size of each nuisance; every clip draws its own sizes below them. All zero is a still and clean clip."""

    flicker: float = 0.0
    """Of white light at any frequency, the pulse's band included, as a fraction."""
    exposure: float = 0.0
    """Of each of three steps of an automatic exposure, all channels alike, as a fraction."""
    drift: float = 0.0
    """Of each channel's own slow gain, as an automatic white balance makes it, as a fraction."""
    talking: float = 0.0
    """Of the mouth's opening, 0 to 1."""
    sway: float = 0.0
    """Of the head's turning, in radians."""
    shift: float = 0.0
    """Of the head's path, as a fraction of the picture's side."""
    box_jitter: float = 0.0
    """Standard deviation of a detector's box, as a fraction of its side."""
    noise: float = 0.5
    """Standard deviation of the sensor's noise in each channel, in grey levels."""
    jitter_s: float = 0.0
    """Of the time stamps."""
    lost_frames: float = 0.0
    """Frames that are missing, as a fraction."""
    crf: tuple[int, int] | None = None
    """Range of x264's constant rate factor; None leaves the frames as they are."""


CLEAN = Nuisances()
"""Steady light, a still head, no compression."""
HARD = Nuisances(
    flicker=0.03,
    exposure=0.03,
    drift=0.02,
    talking=1.0,
    sway=0.08,
    shift=0.03,
    box_jitter=0.01,
    noise=2.5,
    jitter_s=0.004,
    lost_frames=0.02,
    crf=(16, 23),
)
"""A person who talks in front of a web camera, recompressed with H.264 at x264's better half up to its default, 23."""


def frame_times(rng: np.random.Generator, count: int, fps: float, nuisances: Nuisances) -> FloatArray:
    """Return the ascending times in seconds of the frames that are there: jittered, never two missing in a row."""
    jitter = nuisances.jitter_s * rng.uniform(-1, 1, count)
    missing = rng.random(count) < nuisances.lost_frames
    missing[[0, -1]] = False
    missing[1:] &= ~missing[:-1]
    return np.asarray((np.arange(count) / fps + jitter)[~missing])


def light_gains(rng: np.random.Generator, times: FloatArray, nuisances: Nuisances) -> FloatArray:
    """Return the factors [N, 3] of the whole picture: white flicker, steps of exposure, a drift of each channel."""
    hertz = np.exp(rng.uniform(*np.log(FLICKER_HZ)))
    white = nuisances.flicker * rng.random() * np.sin(2 * np.pi * (hertz * times + rng.random()))
    for at, step in zip(rng.uniform(0, times[-1], 3), rng.uniform(-1, 1, 3), strict=True):
        white += nuisances.exposure * step * np.clip((times - at) / RAMP_S, 0, 1)
    speeds, sizes, phases = rng.uniform(*DRIFT_HZ, 3), rng.random(3), rng.random(3)
    drift = nuisances.drift * sizes * np.sin(2 * np.pi * (times[:, None] * speeds + phases))
    return np.asarray((1 + white)[:, None] * (1 + drift))


def mouth_opening(rng: np.random.Generator, times: FloatArray, nuisances: Nuisances) -> FloatArray:
    """Return how far the mouth is open [N], 0 to 1: syllables inside phrases."""
    syllable, phrase = rng.uniform(*SYLLABLES_HZ), rng.uniform(*PHRASES_HZ)
    spoken = np.clip(np.sin(2 * np.pi * (phrase * times + rng.random())) + 0.4, 0, 1)
    steps = 0.5 + 0.5 * np.sin(2 * np.pi * (syllable * times + rng.random()) + 2 * np.sin(2 * np.pi * 0.6 * times))
    return np.asarray(nuisances.talking * rng.uniform(0.3, 1) * spoken * steps)


def head_motion(rng: np.random.Generator, times: FloatArray, nuisances: Nuisances) -> tuple[FloatArray, FloatArray]:
    """Return the turning [N, 3] in radians and the path [N, 2] as a fraction of the side: slow sways and nods."""
    turning = np.zeros((len(times), 3))
    for low, high, size in ((0.05, 0.4, 1.0), (0.5, 1.5, 0.3)):
        hertz, phases, sizes = rng.uniform(low, high, 3), rng.random(3), rng.random(3)
        turning += size * sizes * np.sin(2 * np.pi * (times[:, None] * hertz + phases))
    hertz, phases = rng.uniform(0.05, 0.4, 2), rng.random(2)
    path = rng.random(2) * np.sin(2 * np.pi * (times[:, None] * hertz + phases))
    return nuisances.sway * turning, nuisances.shift * path
