"""Latency of a reading, stage by stage: warmed up until it is stable, every raw time kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from emo_edge.benchmarks.datasets.items import Frame
from emo_edge.benchmarks.measure.reference_workload import MachineSpeed
from emo_edge.benchmarks.measure.timing import DIGITS, LEAST_TIMES, Distribution, distribution, timed_ms, warm_up
from emo_edge.benchmarks.workload.images import LatencyImage
from emo_edge.benchmarks.workload.targets import BenchTarget
from emo_edge.errors import EmoEdgeError
from emo_edge.faces.detector import FaceDetector
from emo_edge.media.images import read_image

SWEPT = (32, 64, 128, 256, 512, 1024)
"""Tokens of a prompt."""
SWEEP_ROUNDS, FEW_ROUNDS = 5, 10
WORKLOAD_RUNS = 8
"""Runs of the reference workload among the readings, evenly spaced."""
SHARED = ("decode", "detect")
"""Stages whose code is the same in every row; the detector's times have a heavy tail."""


def latency_of(
    target: BenchTarget, images: Sequence[LatencyImage], rounds: int, detector: FaceDetector, speed: MachineSpeed
) -> dict[str, Any]:
    """Time whole readings of one face, from the file to the label; the same pictures in the same order for every row.

    The detector runs and is timed as on the device; the face is read in the data set's own box, so that every row
    reads the same. Readings are timed while the machine is at its own ``speed``; after each run of the reference
    workload, whose threads may still be awake, follows a reading that does not count.

    Returns:
        ``stages`` (they add up to nearly all of ``total``), ``total``, ``reading`` (the sum of all stages but
        `SHARED`), ``machine`` (runs of the reference workload), ``warmup_rounds``, ``stable``. The number of rounds
        is rounded up to a multiple of the pictures, so that no picture counts more.
    """
    rounds = -(-rounds // len(images)) * len(images)
    warm, stable = warm_up(lambda index: sum(_round(target, images[index], detector).values()), len(images))
    times, machine = speed.steadily(lambda look: _timed_readings(target, images, rounds, detector, look))
    return {**times, "machine": distribution(machine), "warmup_rounds": warm, "stable": stable}


def _timed_readings(
    target: BenchTarget, images: Sequence[LatencyImage], rounds: int, detector: FaceDetector, sample: Callable[[], None]
) -> dict[str, Any]:
    stages: dict[str, list[float]] = {}
    totals: list[float] = []
    readings: list[float] = []
    for index in range(rounds):
        if _samples_machine(index, rounds):
            sample()
            _round(target, images[index % len(images) - 1], detector)
        started = time.perf_counter()
        stage_ms = _round(target, images[index % len(images)], detector)
        totals.append(1000 * (time.perf_counter() - started))
        readings.append(sum(value for stage, value in stage_ms.items() if stage not in SHARED))
        for stage, value in stage_ms.items():
            stages.setdefault(stage, []).append(value)
    return {
        "stages": {stage: distribution(values) for stage, values in stages.items()},
        "total": distribution(totals),
        "reading": distribution(readings),
    }


def written_of(target: BenchTarget, images: Sequence[LatencyImage], rounds: int, describe: str) -> dict[str, Any]:
    """Time free-text answers: the label as a word (as users of such models ask today), and a description.

    Returns:
        ``label``: decoded picture to written label; ``first_token``: decoded picture to the description's first piece;
        ``per_token``: each further piece of it, None if no answer had two.
    """
    label, first, token = [], [], []
    for index in range(-1, rounds):
        frames = [images[index % len(images)].frame()]
        stages = target.read(frames, clip=False).stage_ms
        # Where labels are scored apart from the prompt's prefill, an answer needs no score; else it has its own pass.
        ready = sum(value for stage, value in stages.items() if stage != "score")
        word, description = target.write(frames, None, clip=False), target.write(frames, describe, clip=False)
        if index >= 0:
            label.append(ready + word.ms)
            first.append(ready + description.first_ms)
            token += [description.token_ms] if description.token_ms is not None else []
    return {
        "label": distribution(label),
        "first_token": distribution(first),
        "per_token": distribution(token) if token else None,
    }


def throughput_of(
    target: BenchTarget, images: Sequence[LatencyImage], batches: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Time pictures of several faces, each face another picture's; one warm-up call each."""
    figures = {}
    for batch in batches:
        starts = count()

        def once(batch: int = batch, starts: Any = starts) -> float:
            first = next(starts)
            frames = [images[(first + offset) % len(images)].frame() for offset in range(batch)]
            return timed_ms(partial(target.read_faces, frames))

        once()
        raw = [once() for _ in range(min(rounds, FEW_ROUNDS))]
        rate = 1000 * batch / float(np.median(raw))
        figures[str(batch)] = {"faces_per_s": round(rate, DIGITS), "raw": [round(value, DIGITS) for value in raw]}
    return figures


def sweep_of(target: BenchTarget, text: str) -> list[dict[str, Any]]:
    """Time prompts of several lengths, tokens of ``text`` in random order with a fixed seed, none known from before."""
    pool, draw = target.tokens(text), np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for tokens in SWEPT:
        if tokens >= target.context:
            break
        prompts = draw.choice(pool, (SWEEP_ROUNDS + 1, tokens)).tolist()
        for index, prompt in enumerate(prompts):
            prompt[0] = pool[index % len(pool)]
        raw = [timed_ms(partial(target.prefill, prompt)) for prompt in prompts]
        rows.append({"tokens": tokens, "prefill_ms": distribution(raw[1:])})
    return rows


def clip_of(
    target: BenchTarget, frames: Sequence[Frame], rounds: int, speed: MachineSpeed
) -> tuple[dict[str, Distribution | None], str | None]:
    """Time a clip, decoded frames to label, at most as often as a comparison of two reports needs.

    Returns:
        ``clip`` and ``clip_machine``, as `latency_of`; None of both, and the reason, for a clip that the context does
        not hold.
    """
    shifted = [list(frames), [*frames[1:], frames[0]]]
    rounds = min(rounds, LEAST_TIMES)

    def timed(sample: Callable[[], None]) -> list[float]:
        raw = []
        for index in range(rounds):
            if _samples_machine(index, rounds):
                sample()
                target.read(shifted[1 - index % 2], clip=True)
            raw.append(timed_ms(partial(target.read, shifted[index % 2], clip=True)))
        return raw

    try:
        raw, machine = speed.steadily(timed)
    except EmoEdgeError as error:
        return {"clip": None, "clip_machine": None}, f"no clip of {len(frames)} frames: {error}"
    return {"clip": distribution(raw), "clip_machine": distribution(machine)}, None


def _samples_machine(index: int, rounds: int) -> bool:
    """Return True for `WORKLOAD_RUNS` of the rounds, evenly spaced from the first: the machine is timed before them."""
    return index % -(-rounds // WORKLOAD_RUNS) == 0


def _round(target: BenchTarget, image: LatencyImage, detector: FaceDetector) -> dict[str, float]:
    started = time.perf_counter()
    pixels = read_image(image.path)
    decoded = time.perf_counter()
    detector.detect(pixels)
    detected = time.perf_counter()
    prediction = target.read([Frame(pixels, image.box)], clip=False)
    return {"decode": 1000 * (decoded - started), "detect": 1000 * (detected - decoded), **prediction.stage_ms}
