"""Predictions of each row of a benchmark for every sample, each kept in the journal before the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.workload.journal import Journal, Row
from emo_edge.benchmarks.workload.samples import BenchSample, BenchSamples, spread
from emo_edge.benchmarks.workload.targets import BenchTarget
from emo_edge.errors import DeviceError

ROUNDING = 1e-6
"""Of a probability next to one."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of one target for N samples, in their order."""

    probabilities: NDArray[np.float64]
    """Probabilities [N, labels]."""
    answers: tuple[str | None, ...]
    """Free-text answer about each; None where none was requested."""
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Valence, arousal and others by name, [N] each, of a network that gives them."""


def read_samples(
    target: BenchTarget,
    name: str,
    samples: BenchSamples,
    written: int,
    journal: Journal,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """Read every sample that the journal has not, with the same pixels, from an earlier run.

    Args:
        target: reads the samples.
        name: of the journal's file.
        samples: are read in their order.
        written: how many of them, evenly, are answered in free text, too.
        journal: keeps each row before the next sample is read.
        progress: gets samples done and in all.

    Raises DeviceError for a sample whose probabilities are not finite.
    """
    answered = {sample.item.key for sample in spread(samples.samples, written)} if written else set()
    digests = {sample.item.key: sample.sha256 for sample in samples.samples}
    rows = journal.rows(
        name,
        lambda row: row.get("sha256") == digests.get(row["key"]) and is_prediction(row, len(samples.labels), answered),
    )
    for done, sample in enumerate(samples.samples, 1):
        if sample.item.key not in rows:
            row = _read(target, sample, clip=samples.clips, written=sample.item.key in answered)
            rows[sample.item.key] = row
            journal.add(name, row)
        progress(done, len(samples.samples))
    return predictions_of([rows[sample.item.key] for sample in samples.samples])


def predictions_of(rows: Sequence[Row]) -> Predictions:
    """Return the predictions that rows of the journal hold, in their order."""
    scores = np.array([row["scores"] for row in rows], np.float64)
    given = [row.get("values", {}) for row in rows]
    names = [name for name in given[0] if all(name in values for values in given)] if given else []
    values = {name: np.array([one[name] for one in given], np.float64) for name in names}
    return Predictions(scores, tuple(row["answer"] for row in rows), values)


def _read(target: BenchTarget, sample: BenchSample, *, clip: bool, written: bool) -> Row:
    frames = sample.frames()
    prediction = target.read(frames, clip=clip)
    if not all(map(math.isfinite, [*prediction.probabilities, *prediction.values.values()])):
        raise DeviceError(f"{sample.item.key}: its probabilities or values are not finite")
    answer = target.write(frames, None, clip=clip).text if written else None
    return {
        "key": sample.item.key,
        "sha256": sample.sha256,
        "truth": sample.truth,
        "scores": prediction.probabilities,
        **({"values": prediction.values} if prediction.values else {}),
        "answer": answer,
        "groups": dict(sample.item.groups),
        "ms": {stage: round(value, 3) for stage, value in prediction.stage_ms.items()},
    }


def is_prediction(row: dict[str, Any], labels: int, answered: set[str]) -> bool:
    """Return whether a row of the journal has a probability for each label, and an answer if it is one with answers."""
    scores = row.get("scores")
    numbers = (
        isinstance(scores, list)
        and len(scores) == labels
        and all(isinstance(one, float) and 0 <= one <= 1 + ROUNDING for one in scores)
    )
    answer, values = row.get("answer", False), row.get("values", {})
    numbers = numbers and isinstance(values, dict) and all(isinstance(one, float) for one in values.values())
    return numbers and (isinstance(answer, str) if row["key"] in answered else answer is None)
