"""Drawings as samples: the same ones from one process and from several."""

from __future__ import annotations

import cv2
import numpy as np

from emo_edge.benchmarks.emo_tiny.samples import HELD_OUT_SEED, synthetic_samples


def test_several_processes_draw_what_one_draws() -> None:
    threads, heard = cv2.getNumThreads(), list[tuple[int, int]]()
    alone = synthetic_samples(3, HELD_OUT_SEED, progress=lambda done, total: heard.append((done, total)))
    assert cv2.getNumThreads() == threads and heard == [(1, 3), (2, 3), (3, 3)]
    for one, other in zip(alone, synthetic_samples(3, HELD_OUT_SEED, workers=2), strict=True):
        assert np.array_equal(one.image, other.image)
        assert (one.name, one.expression, one.cues) == (other.name, other.expression, other.cues)
        assert np.array_equal(one.box, other.box)
