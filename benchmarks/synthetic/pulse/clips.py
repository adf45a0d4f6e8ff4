"""Clips of drawn faces whose skin beats, reproducible from (seed, index).

The moving face is drawn `DRAWN_PER_SECOND` times a second and blended in between; the heartbeat, the light, the
sensor and the recompression act on every frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.expression import AU_INDEX, Difficulty
from emo_edge.benchmarks.synthetic.generator import FaceSample, Moment, render_moment, sample_plan
from emo_edge.benchmarks.synthetic.pulse.heartbeat import FloatArray, Heartbeat, sample_heartbeat
from emo_edge.benchmarks.synthetic.pulse.nuisances import (
    HARD,
    Nuisances,
    frame_times,
    head_motion,
    light_gains,
    mouth_opening,
)
from emo_edge.benchmarks.synthetic.pulse.recompression import recompressed
from emo_edge.errors import InputError
from emo_edge.taxonomy import PARSING_CLASSES

DRAWN_PER_SECOND = 10.0
LIVING = [PARSING_CLASSES.index(name) for name in ("skin", "nose", "upper_lip", "lower_lip")]
"""Classes of pixels through which blood flows."""
UNCOVERED = Difficulty(occlusion_probability=0.0, blur_probability=0.0)
FloatImage = NDArray[np.float32]


@dataclass(frozen=True)
class PulseClip:
    """Frames of one face and their truth."""

    frames: list[NDArray[np.uint8]]
    """uint8 RGB [size, size, 3]."""
    times: FloatArray
    """Seconds [N]."""
    boxes: FloatArray
    """x0, y0, x1, y1 [N, 4] in pixels, as a detector gives them: forehead to chin, ear to ear."""
    landmarks: FloatArray
    """The 68 iBUG points [N, 68, 2] in pixels."""
    bpm: float | None
    """Mean rate of the clip; None for a clip without a pulse."""


@dataclass(frozen=True)
class DrawnFace:
    """A moving face before light and camera: what several clips of it have in common."""

    seed: int
    index: int
    seconds: float
    nuisances: Nuisances
    pictures: FloatImage
    """Grey levels [N, size, size, 3], `DRAWN_PER_SECOND` a second, from second 0 to beyond the end."""
    blood: FloatImage
    """1 where blood flows through a pixel, 0 elsewhere [N, size, size, 1]."""
    boxes: FloatArray
    landmarks: FloatArray


def draw_moving_face(
    seed: int, index: int, *, nuisances: Nuisances = HARD, size: int = 128, seconds: float = 10.0
) -> DrawnFace:
    """Draw the face of clip ``index`` of the set ``seed``; raise InputError for an odd or too small ``size``."""
    if size < 32 or size % 2 or seconds < 1:
        raise InputError(f"size is even and at least 32, seconds are at least 1, not {size} and {seconds}")
    plan = sample_plan(seed, index, ["neutral"], UNCOVERED)
    plan = replace(plan, camera=replace(plan.camera, noise=0.0, jpeg=100))
    rng = np.random.default_rng([seed, index, 20])
    times = np.arange(round(seconds * DRAWN_PER_SECOND) + 2) / DRAWN_PER_SECOND
    turning, path = head_motion(rng, times, nuisances)
    opening = mouth_opening(rng, times, nuisances)
    samples: list[FaceSample] = []
    states = list(zip(turning, path, opening, strict=True))
    for row, (turned, moved, opened) in enumerate(states):
        if row and all(np.array_equal(*pair) for pair in zip(states[row - 1], states[row], strict=True)):
            samples.append(samples[-1])
            continue
        units = plan.units.copy()
        units[[AU_INDEX[25], AU_INDEX[26]]] = np.clip((opened, 0.6 * opened), 0, 1)
        here = replace(plan, spot=plan.spot + moved)
        samples.append(render_moment(here, size, rng, units, plan.pose + turned, Moment()))
    return _drawn(seed, index, seconds, nuisances, samples)


def _drawn(seed: int, index: int, seconds: float, nuisances: Nuisances, samples: list[FaceSample]) -> DrawnFace:
    return DrawnFace(
        seed,
        index,
        seconds,
        nuisances,
        pictures=np.stack([sample.image for sample in samples]).astype(np.float32),
        blood=np.stack([np.isin(sample.parsing, LIVING) for sample in samples]).astype(np.float32)[..., None],
        boxes=np.stack([sample.box for sample in samples]).astype(np.float64),
        landmarks=np.stack([sample.landmarks for sample in samples]).astype(np.float64),
    )


def filmed(face: DrawnFace, *, pulse: bool = True, fps: float = 30.0) -> PulseClip:
    """Film a moving face, with a heartbeat or without; every other choice of the clip is drawn anew."""
    rng = np.random.default_rng([face.seed, face.index, 21, int(pulse)])
    nuisances, beat = face.nuisances, sample_heartbeat(rng)
    beat = beat if pulse else Heartbeat(beat.bpm, 0.0)
    times = frame_times(rng, round(face.seconds * fps), fps, nuisances)
    light, skin = light_gains(rng, times, nuisances), beat.gains(times)
    film = [_exposed(face, time, light[k], skin[k], rng) for k, time in enumerate(times)]
    if nuisances.crf is not None:
        film = recompressed(film, int(rng.integers(nuisances.crf[0], nuisances.crf[1] + 1)), fps)
    boxes = _between(face.boxes, times)
    boxes += rng.normal(0, nuisances.box_jitter, boxes.shape) * (boxes[:, 2:3] - boxes[:, :1])
    bpm = beat.mean_bpm(float(times[0]), float(times[-1])) if pulse else None
    return PulseClip(film, times, boxes, _between(face.landmarks, times), bpm)


def render_pulse_clip(
    seed: int, index: int, *, pulse: bool = True, nuisances: Nuisances = HARD, size: int = 128, seconds: float = 10.0
) -> PulseClip:
    """Draw and film clip ``index`` of the set ``seed`` at 30 frames a second; same arguments, same bytes."""
    return filmed(draw_moving_face(seed, index, nuisances=nuisances, size=size, seconds=seconds), pulse=pulse)


def _exposed(
    face: DrawnFace, time: float, light: FloatArray, skin: FloatArray, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return one frame as the sensor gives it: uint8 RGB."""
    row, part = _row(time)
    picture, blood = _mixed(face.pictures, row, part), _mixed(face.blood, row, part)
    picture *= (1 + blood * (skin - 1).astype(np.float32)) * light.astype(np.float32)
    picture += np.float32(face.nuisances.noise) * rng.standard_normal(picture.shape, np.float32)
    return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)


def _mixed(drawn: FloatImage, row: int, part: float) -> FloatImage:
    return np.asarray(drawn[row] + (drawn[row + 1] - drawn[row]) * np.float32(part))


def _row(time: float) -> tuple[int, float]:
    """Return the drawn frame before a time, and how much of the next one is in the picture."""
    spot = max(time, 0.0) * DRAWN_PER_SECOND
    return int(spot), spot - int(spot)


def _between(drawn: FloatArray, times: FloatArray) -> FloatArray:
    """Return values of the drawn frames [N, ...] at ``times``."""
    rows, parts = (np.array(one) for one in zip(*map(_row, times), strict=True))
    weights = parts.reshape(-1, *[1] * (drawn.ndim - 1))
    return np.asarray(drawn[rows] * (1 - weights) + drawn[rows + 1] * weights)
