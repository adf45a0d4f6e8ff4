"""How long a reading takes, stage by stage: warmed up until it is stable, every raw time kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from emo_edge.benchmarks.datasets.items import Frame
from emo_edge.benchmarks.measure.machine_pulse import MachineSpeed
from emo_edge.benchmarks.measure.timing import DIGITS, LEAST_TIMES, Distribution, distribution, timed_ms, warm_up
from emo_edge.benchmarks.workload.images import LatencyImage
from emo_edge.benchmarks.workload.subjects import BenchTarget
from emo_edge.errors import EmoEdgeError
from emo_edge.faces.detector import FaceDetector
from emo_edge.media.images import read_image

SWEPT = (32, 64, 128, 256, 512, 1024)
"""Tokens of a prompt."""
SWEEP_ROUNDS, FEW_ROUNDS = 5, 10
PULSES = 8
"""Times that the machine itself is timed among the readings, evenly."""
SHARED = ("decode", "detect")
"""Stages whose code is the same in every row; the detector's times have a heavy tail."""


def latency_of(
    subject: BenchTarget, shots: Sequence[LatencyImage], rounds: int, detector: FaceDetector, speed: MachineSpeed
) -> dict[str, Any]:
    """Time whole readings of one face, from the file to the label; the pictures in turn, the same for every row.

    Faces are looked for as on the device, and time is counted for it; what is read is the data set's own box, so that
    every row reads the same. It is timed while the machine is at its own ``speed``; a reading that does not count
    follows on each look at that, whose threads may still be awake.

    Returns:
        ``stages`` (they add up to nearly all of ``total``), ``total``, ``reading`` (the sum of all stages but
        `SHARED`), ``machine`` (its pulses), ``warmup_rounds``, ``stable``. Rounds are made up to whole turns,
        so that no picture counts more.
    """
    rounds = -(-rounds // len(shots)) * len(shots)
    warm, stable = warm_up(lambda place: sum(_round(subject, shots[place], detector).values()), len(shots))
    found, pulses = speed.steadily(lambda look: _timed_readings(subject, shots, rounds, detector, look))
    return {**found, "machine": distribution(pulses), "warmup_rounds": warm, "stable": stable}


def _timed_readings(
    subject: BenchTarget, shots: Sequence[LatencyImage], rounds: int, detector: FaceDetector, look: Callable[[], None]
) -> dict[str, Any]:
    stages: dict[str, list[float]] = {}
    totals: list[float] = []
    readings: list[float] = []
    for place in range(rounds):
        if _looks(place, rounds):
            look()
            _round(subject, shots[place % len(shots) - 1], detector)
        started = time.perf_counter()
        taken = _round(subject, shots[place % len(shots)], detector)
        totals.append(1000 * (time.perf_counter() - started))
        readings.append(sum(value for stage, value in taken.items() if stage not in SHARED))
        for stage, value in taken.items():
            stages.setdefault(stage, []).append(value)
    return {
        "stages": {stage: distribution(values) for stage, values in stages.items()},
        "total": distribution(totals),
        "reading": distribution(readings),
    }


def written_of(subject: BenchTarget, shots: Sequence[LatencyImage], rounds: int, describe: str) -> dict[str, Any]:
    """Time free-text answers: the label as a word (what users of such models do today), and a description.

    Returns:
        ``label``: decoded picture to written label; ``first_token``: decoded picture to the description's first piece;
        ``per_token``: each further piece of it, None if no answer had two.
    """
    label, first, token = [], [], []
    for place in range(-1, rounds):
        frames = [shots[place % len(shots)].frame()]
        stages = subject.read(frames, clip=False).stage_ms
        # Where labels are scored apart from the prompt's prefill, an answer needs no score; else it has its own pass.
        ready = sum(value for stage, value in stages.items() if stage != "score")
        said, told = subject.write(frames, None, clip=False), subject.write(frames, describe, clip=False)
        if place >= 0:
            label.append(ready + said.ms)
            first.append(ready + told.first_ms)
            token += [told.token_ms] if told.token_ms is not None else []
    return {
        "label": distribution(label),
        "first_token": distribution(first),
        "per_token": distribution(token) if token else None,
    }


def throughput_of(
    subject: BenchTarget, shots: Sequence[LatencyImage], batches: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Time pictures of several faces, each face another picture's; one warm-up call each."""
    found = {}
    for batch in batches:
        starts = count()

        def once(batch: int = batch, starts: Any = starts) -> float:
            first = next(starts)
            frames = [shots[(first + place) % len(shots)].frame() for place in range(batch)]
            return timed_ms(partial(subject.read_faces, frames))

        once()
        raw = [once() for _ in range(min(rounds, FEW_ROUNDS))]
        rate = 1000 * batch / float(np.median(raw))
        found[str(batch)] = {"faces_per_s": round(rate, DIGITS), "raw": [round(value, DIGITS) for value in raw]}
    return found


def sweep_of(subject: BenchTarget, text: str) -> list[dict[str, Any]]:
    """Time prompts of several lengths, tokens of ``text`` in random order with a fixed seed, none known from before."""
    pool, draw = subject.tokens(text), np.random.default_rng(0)
    found: list[dict[str, Any]] = []
    for tokens in SWEPT:
        if tokens >= subject.context:
            break
        prompts = draw.choice(pool, (SWEEP_ROUNDS + 1, tokens)).tolist()
        for place, prompt in enumerate(prompts):
            prompt[0] = pool[place % len(pool)]
        raw = [timed_ms(partial(subject.prefill, prompt)) for prompt in prompts]
        found.append({"tokens": tokens, "prefill_ms": distribution(raw[1:])})
    return found


def clip_of(
    subject: BenchTarget, frames: Sequence[Frame], rounds: int, speed: MachineSpeed
) -> tuple[dict[str, Distribution | None], str | None]:
    """Time a clip, decoded frames to label, at most as often as two reports need to be compared.

    Returns:
        ``clip`` and ``clip_machine``, as `latency_of`; None of both, and the reason, for a clip that the context does
        not hold.
    """
    shifted = [list(frames), [*frames[1:], frames[0]]]
    rounds = min(rounds, LEAST_TIMES)

    def timed(look: Callable[[], None]) -> list[float]:
        raw = []
        for place in range(rounds):
            if _looks(place, rounds):
                look()
                subject.read(shifted[1 - place % 2], clip=True)
            raw.append(timed_ms(partial(subject.read, shifted[place % 2], clip=True)))
        return raw

    try:
        raw, pulses = speed.steadily(timed)
    except EmoEdgeError as error:
        return {"clip": None, "clip_machine": None}, f"no clip of {len(frames)} frames: {error}"
    return {"clip": distribution(raw), "clip_machine": distribution(pulses)}, None


def _looks(place: int, rounds: int) -> bool:
    """Tell the rounds before which the machine itself is timed: `PULSES` of them, evenly, the first among them."""
    return place % -(-rounds // PULSES) == 0


def _round(subject: BenchTarget, shot: LatencyImage, detector: FaceDetector) -> dict[str, float]:
    started = time.perf_counter()
    image = read_image(shot.path)
    decoded = time.perf_counter()
    detector.detect(image)
    found = time.perf_counter()
    told = subject.read([Frame(image, shot.box)], clip=False)
    return {"decode": 1000 * (decoded - started), "detect": 1000 * (found - decoded), **told.stage_ms}
