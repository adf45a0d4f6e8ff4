"""Clips of drawn faces with one micro-expression, reproducible from (seed, index): onset, apex, offset are known.

A face at rest sways and blinks. Once the action units of an expression rise to 0.1 to 0.35 of their full strength and
fall again, all within half a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.expression import Difficulty, sample_action_units
from emo_edge.benchmarks.synthetic.generator import FaceSample, Moment, render_moment, sample_plan
from emo_edge.errors import InputError

FRAMES_PER_SECOND = 30.0
"""Of most cameras; CASME has 60 (Yan et al., FG 2013), CASME II and SAMM have 200."""
SECONDS = 2.0
EXPRESSIONS = ("happiness", "sadness", "surprise", "fear", "disgust", "anger")
PEAKS = (0.1, 0.35)
"""Range of the strongest unit at the apex, of 0 to 1."""
DURATIONS_S = (0.2, 0.5)
"""Range of the time from onset to offset: 0.5 s is the usual limit (Yan et al., "How fast are the leaked facial
expressions", Journal of Nonverbal Behavior 37, 2013)."""
APEXES = (0.35, 0.65)
"""Range of the apex between onset and offset, as a fraction."""
EDGE_S = 0.3
"""At rest before the onset and after the offset, at least."""
BLINK_S = 0.08
"""A blink's half width."""
UNCOVERED = Difficulty(occlusion_probability=0.0, blur_probability=0.0, weak_probability=0.0)
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MicroExpression:
    """The movement of a clip; frames count from 0."""

    expression: str
    onset: int
    """The last frame at rest."""
    apex: int
    offset: int
    """The first frame at rest again."""
    peak: float
    """Of the strongest unit, of 0 to 1."""
    units: NDArray[np.float32]
    """Rise of each unit at the apex, [17], of 0 to 1."""

    def level(self, frame: float) -> float:
        """Return the strength at a frame: 0 at onset and offset, 1 at the apex, smooth in between."""
        rise = (frame - self.onset) / (self.apex - self.onset)
        fall = (self.offset - frame) / (self.offset - self.apex)
        part = float(np.clip(min(rise, fall), 0, 1))
        return part * part * (3 - 2 * part)


@dataclass(frozen=True)
class MicroClip:
    """Frames of one face and their truth."""

    frames: list[FaceSample]
    fps: float
    movement: MicroExpression | None
    """None for a face that stays at rest."""


def render_micro_clip(
    seed: int,
    index: int,
    *,
    size: int = 160,
    fps: float = FRAMES_PER_SECOND,
    seconds: float = SECONDS,
    moves: bool = True,
    frame_indices: Sequence[int] | None = None,
) -> MicroClip:
    """Draw clip ``index`` of the set ``seed``: the six expressions in rotation.

    Args:
        seed: of the set.
        index: of the clip; each is another face.
        size: side of a frame in pixels.
        fps: frames a second.
        seconds: length.
        moves: False draws the same face at rest throughout.
        frame_indices: only frames to draw, each exactly as in the whole clip.

    Raises InputError for a clip that is too short for a movement.
    """
    count = round(seconds * fps)
    plan = sample_plan(seed, index, ["neutral"], UNCOVERED)
    plan = replace(plan, camera=replace(plan.camera, jpeg=max(plan.camera.jpeg, 85), noise=min(plan.camera.noise, 2.0)))
    rng = np.random.default_rng([seed, index, 30])
    movement = sample_movement(rng, EXPRESSIONS[index % len(EXPRESSIONS)], plan.units, count, fps)
    sway, blink_s = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0, seconds)
    frames = []
    for number in range(count) if frame_indices is None else frame_indices:
        time = number / fps
        pose = plan.pose + 0.035 * np.sin(2 * np.pi * 0.22 * time + sway)
        level = movement.level(number) if moves else 0.0
        units = np.clip(plan.units + level * movement.units, 0, 1).astype(np.float32)
        moment = Moment(blink=float(np.exp(-(((time - blink_s) / BLINK_S) ** 2))))
        frames.append(render_moment(plan, size, np.random.default_rng([seed, index, 31, number]), units, pose, moment))
    return MicroClip(frames, fps, movement if moves else None)


def sample_movement(
    rng: np.random.Generator, expression: str, rest: NDArray[np.float32], count: int, fps: float
) -> MicroExpression:
    """Draw a movement above the units [17] of a face at ``rest``, somewhere in ``count`` frames."""
    edge, length = round(EDGE_S * fps), round(rng.uniform(*DURATIONS_S) * fps)
    if length < 2 or count < length + 2 * edge + 1:
        raise InputError(f"{count} frames at {fps:g} a second are too few for a movement: draw more, or faster ones")
    onset = int(rng.integers(edge, count - edge - length))
    apex = onset + int(np.clip(round(length * rng.uniform(*APEXES)), 1, length - 1))
    rises = np.maximum(sample_action_units(rng, expression, UNCOVERED)[0] - rest, 0)
    peak = float(rng.uniform(*PEAKS))
    return MicroExpression(
        expression, onset, apex, onset + length, peak, (peak * rises / rises.max()).astype(np.float32)
    )
