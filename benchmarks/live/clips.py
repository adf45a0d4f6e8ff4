"""Drawn clips of one face whose expression changes several times, at known moments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.expression import Difficulty, sample_action_units
from emo_edge.benchmarks.synthetic.generator import FaceSample, Moment, Plan, render_moment, sample_plan
from emo_edge.taxonomy import LABEL_SETS

LABELS = LABEL_SETS["rafdb7"]
SIZE = 224
SECONDS, FPS = 6.0, 10.0
SHORTEST_S, LONGEST_S = 0.6, 2.4
"""Of an expression."""
BLEND_S = 0.3
"""From one expression to the next; the true label changes in the middle."""
CLEAR = Difficulty(occlusion_probability=0.0)


@dataclass(frozen=True)
class Stretch:
    """One expression of a clip."""

    label: str
    start_s: float
    end_s: float
    units: NDArray[np.float32]
    side: int


@dataclass(frozen=True)
class ChangingFace:
    """A clip before it is drawn."""

    plan: Plan
    stretches: tuple[Stretch, ...]
    seed: int
    index: int
    sway: NDArray[np.float64]
    blinks_s: tuple[float, ...]

    def label_at(self, seconds: float) -> str:
        """Return the true label."""
        return self._stretch(seconds).label

    def frame(self, seconds: float, size: int = SIZE) -> FaceSample:
        """Draw the face at a moment; the same moment gives the same picture."""
        units, side = self._units(seconds)
        pose = self.plan.pose + 0.05 * np.sin(2 * np.pi * 0.22 * seconds + self.sway)
        blink = max((float(np.exp(-(((seconds - at) / 0.08) ** 2))) for at in self.blinks_s), default=0.0)
        noise = np.random.default_rng([self.seed, self.index, 3, round(1000 * seconds)])
        plan = replace(self.plan, side=side)
        return render_moment(plan, size, noise, units, pose, Moment(blink=blink))

    def _stretch(self, seconds: float) -> Stretch:
        return next((one for one in self.stretches if seconds < one.end_s), self.stretches[-1])

    def _units(self, seconds: float) -> tuple[NDArray[np.float32], int]:
        own = self._stretch(seconds)
        place = self.stretches.index(own)
        for other, edge_s in ((place - 1, own.start_s), (place + 1, own.end_s)):
            away_s = abs(seconds - edge_s)
            if 0 <= other < len(self.stretches) and away_s < BLEND_S / 2:
                # Half of each at the edge.
                level = 0.5 + away_s / BLEND_S
                level = level * level * (3 - 2 * level)
                return (level * own.units + (1 - level) * self.stretches[other].units).astype(np.float32), own.side
        return own.units, own.side


def changing_face(seed: int, index: int, seconds: float = SECONDS, difficulty: Difficulty = CLEAR) -> ChangingFace:
    """Choose a face and its expressions; the same arguments give the same clip."""
    rng = np.random.default_rng([seed, index, 4])
    plan = sample_plan(seed, index, LABELS, difficulty)
    plan = replace(plan, camera=replace(plan.camera, jpeg=max(plan.camera.jpeg, 85), noise=min(plan.camera.noise, 2.0)))
    stretches = tuple(_stretches(rng, seconds))
    blinks = tuple(float(value) for value in rng.uniform(0, seconds, round(seconds / 3)))
    return ChangingFace(plan, stretches, seed, index, rng.uniform(0, 2 * np.pi, 3), blinks)


def _stretches(rng: np.random.Generator, seconds: float) -> Iterator[Stretch]:
    start_s, label = 0.0, "neutral" if rng.random() < 0.5 else str(rng.choice(LABELS))
    while start_s < seconds:
        end_s = start_s + float(rng.uniform(SHORTEST_S, LONGEST_S))
        units, side = sample_action_units(rng, label, CLEAR)
        yield Stretch(label, start_s, end_s, units, side)
        start_s, label = end_s, str(rng.choice([other for other in LABELS if other != label]))
