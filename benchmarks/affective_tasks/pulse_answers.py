"""Answers about measured heart rates: whether each carries the number that was measured, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emo_edge.benchmarks.synthetic.generator import render_clip
from emo_edge.bundle.reader import Bundle
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.inference.signals.filters import FloatArray
from emo_edge.inference.signals.heart_rate import NOTICE, HeartRate, heart_rate

SEED = 2713
FPS, SECONDS = 30.0, 10.0
SLOWEST_BPM, FASTEST_BPM = 45.0, 180.0
FRAMES = (10, 45)
"""Of a clip of 90, for the language model."""
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class PulseAnswers:
    """Counts of answers."""

    answers: int
    """About a reliable pulse."""
    with_the_number: int
    """Of those, that hold the measured number, the notice beside it, and no other number."""
    refused: int
    """Answers without a reliable pulse."""
    refused_without_number: int
    """Of those, that give the reason and no rate."""

    def evidence(self) -> dict[str, float]:
        """Return the figures that the task of a checkpoint stores."""
        return {name: float(value) for name, value in vars(self).items()}


def skin_colours(rng: np.random.Generator, bpm: float | None) -> FloatArray:
    """Return the colours of a skin [N, 3] over 10 s, with a pulse or with noise alone."""
    times = np.arange(round(FPS * SECONDS)) / FPS
    base, strength = np.array([170.0, 120.0, 100.0]), np.array([0.33, 0.77, 0.53])
    noise = rng.normal(0, 0.15, (len(times), 3))
    beat = 0.0 if bpm is None else np.sin(2 * np.pi * bpm / 60 * times + rng.uniform(0, 6))[:, None]
    return np.asarray(base + beat * strength + noise)


def holds_the_number(result: EmotionResult, rate: HeartRate) -> bool:
    """Return whether an answer carries the measured number with its notice, and no other number."""
    text = result.task.text if result.task else ""
    return NUMBER.findall(text) == [f"{rate.bpm:.2f}"] and f"{rate.bpm:.2f} BPM. {NOTICE}" in text


def pulse_answers(
    bundle: Bundle, profile: str | None, count: int, progress: Callable[[int], None] = lambda done: None
) -> PulseAnswers:
    """Ask about ``count`` reliable heart rates, each measured in its own trace, and about a tenth as many refused ones.

    The face is a drawn one of its own each time; the model answers about two of its frames.
    """
    rng = np.random.default_rng(SEED)
    counts = {True: 0, False: 0}
    right = {True: 0, False: 0}
    with EmotionPipeline.open(bundle, device="cpu", profile=profile) as pipeline:
        for index in range(count + count // 10):
            wanted = index < count
            rate = _measured(rng, beating=wanted)
            clip = render_clip(SEED, index, frame_indices=FRAMES)
            boxes = [tuple(frame.box.tolist()) for frame in clip.frames]
            request = Request(task="heart-rate", heart_rate=rate)
            result = pipeline.read_clip([frame.image for frame in clip.frames], request, boxes=boxes)
            counts[wanted] += 1
            if result is not None and result.task is not None:
                refused = result.task.text == f"no reliable pulse: {rate.reason}"
                right[wanted] += holds_the_number(result, rate) if wanted else refused
            progress(index + 1)
    return PulseAnswers(counts[True], right[True], counts[False], right[False])


def _measured(rng: np.random.Generator, *, beating: bool) -> HeartRate:
    """Measure traces until one is reliable, or is not, as asked."""
    while True:
        bpm = float(rng.uniform(SLOWEST_BPM, FASTEST_BPM)) if beating else None
        rate = heart_rate(skin_colours(rng, bpm), FPS)
        if rate.reliable == beating:
            return rate
