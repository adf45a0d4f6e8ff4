"""Run a profile's whole chain on samples, from picture to probabilities, exactly as a device does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.reader import Bundle
from emo_edge.export.reference.answers import DESCRIPTION
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request


@dataclass(frozen=True)
class ChainRun:
    """Outputs of a profile for N samples, and the mean time of a sample."""

    probabilities: NDArray[np.float64]
    """[N, labels]."""
    milliseconds: float
    descriptions: list[str]
    """Of the first samples, as many as were requested."""


def chain_probabilities(
    bundle: Bundle,
    profile: str,
    samples: Sequence[Sample],
    labels: str | tuple[str, ...],
    *,
    threads: int | None = None,
    described: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ChainRun:
    """Read every sample on the CPU, in its own box or as a whole, asking for ``labels``, a set by name or themselves.

    Of the first ``described`` samples a description is asked for, too.
    """
    rows: list[list[float]] = []
    descriptions: list[str] = []
    opened = EmotionPipeline.open(bundle, device="cpu", profile=profile, detector=WholeImage(), threads=threads)
    with opened as pipeline:
        started = time.perf_counter()
        for sample in samples:
            request = Request(labels=labels, describe=len(rows) < described, sampling=DESCRIPTION)
            result = pipeline.read(sample.image, request, boxes=[sample.box] if sample.box else None)[0]
            rows.append(list(result.probabilities.values()))
            descriptions += result.answers.values()
            progress(len(rows), len(samples))
        milliseconds = 1000 * (time.perf_counter() - started) / len(samples)
    return ChainRun(np.array(rows), milliseconds, descriptions)
