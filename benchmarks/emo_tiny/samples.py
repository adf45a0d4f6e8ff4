"""Drawings as samples: rendered when asked for, the same ones for a seed, with the label and a detector's box."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from emo_edge.assets.packaged import Sample
from emo_edge.benchmarks.emo_tiny.data import BASIC, jittered, visible_cues
from emo_edge.benchmarks.synthetic.generator import render_face
from emo_edge.console.children import safe_path
from emo_edge.taxonomy import ACTION_UNITS

CALIBRATION_SEED, HELD_OUT_SEED = 911, 921
"""Unlike every seed of training, evaluation, the demo and the packaged samples."""


def synthetic_samples(
    count: int, seed: int, *, workers: int = 1, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Sample]:
    """Draw ``count`` faces, seven expressions at random, boxed as a detector's box would be."""
    samples = []
    with _drawn(count, seed, workers) as drawn:
        for sample in drawn:
            samples.append(sample)
            progress(len(samples), count)
    return samples


@contextmanager
def _drawn(count: int, seed: int, workers: int) -> Iterator[Iterator[Sample]]:
    """Draw in processes; a single one would take a second to start and draw no faster than this one."""
    import cv2

    draw, threads = partial(_sample, seed), cv2.getNumThreads()
    if workers > 1:
        with safe_path(), multiprocessing.get_context("spawn").Pool(workers) as pool:
            yield pool.imap(draw, range(count), chunksize=16)
        return
    try:
        yield map(draw, range(count))
    finally:
        cv2.setNumThreads(threads)


def _sample(seed: int, index: int) -> Sample:
    import cv2

    cv2.setNumThreads(1)
    drawn = render_face(seed, index, expressions=BASIC)
    box = jittered(drawn.box, np.random.default_rng([seed, index, 0]))
    cues = frozenset(unit for unit, visible in zip(ACTION_UNITS, visible_cues(drawn), strict=True) if visible)
    return Sample(f"synthetic-{seed}-{index:05d}", drawn.image, box, drawn.expression, cues)
