"""Predictions of each row of a benchmark for every sample, each kept in the journal before the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.workload.journal import Journal, Row
from emo_edge.benchmarks.workload.sample_table import BenchSample
from emo_edge.benchmarks.workload.samples import BenchSamples, spread
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


class ReadingJob(NamedTuple):
    """A sample to read, and how."""

    sample: BenchSample
    clip: bool
    written: bool
    """True asks for a free-text answer, too."""


def read_samples(
    target: BenchTarget,
    name: str,
    samples: BenchSamples,
    written: int,
    journal: Journal,
    progress: Callable[[int, int], None] = lambda done, total: None,
    everywhere: Callable[[Iterable[ReadingJob]], Iterator[Row]] | None = None,
) -> Predictions:
    """Read every sample that the journal has not, with the same pixels, from an earlier run.

    Args:
        target: reads the samples.
        name: of the journal's file.
        samples: are read in their order.
        written: how many of them, evenly, are answered in free text, too.
        journal: keeps each row before the next sample is read.
        progress: gets samples done and in all.
        everywhere: reads in several processes, in place of ``target``.

    Raises DeviceError for a sample whose probabilities are not finite.
    """
    every, answered = samples.samples, {sample.item.key for sample in spread(samples.samples, written)}
    numbers = {sample.item.key: number for number, sample in enumerate(every)}
    read = CollectedRows(len(every), len(samples.labels))

    def fits(row: Row) -> bool:
        number = numbers.get(row["key"])
        same = number is not None and row.get("sha256") == every[number].sha256
        return same and is_prediction(row, len(samples.labels), answered)

    for row in journal.rows(name, fits):
        read.put(numbers[row["key"]], row)
    missing = read.missing.tolist()
    chosen = (every[number] for number in missing)
    jobs = (ReadingJob(sample, samples.clips, sample.item.key in answered) for sample in chosen)
    rows = everywhere(jobs) if everywhere else map(partial(prediction_row, target), jobs)
    for done, (number, row) in enumerate(zip(missing, rows, strict=True), len(every) - len(missing) + 1):
        read.put(number, row)
        journal.add(name, row)
        progress(done, len(every))
    return read.predictions()


class CollectedRows:
    """Rows of the journal in arrays, as they come."""

    def __init__(self, count: int, labels: int) -> None:
        """Expect ``count`` rows of so many labels."""
        self._scores = np.full((count, labels), np.nan)
        self._answers: list[str | None] = [None] * count
        self._values: dict[str, NDArray[np.float64]] = {}

    def put(self, number: int, row: Row) -> None:
        """Keep the row of a sample."""
        self._scores[number], self._answers[number] = row["scores"], row["answer"]
        for name, value in row.get("values", {}).items():
            self._values.setdefault(name, np.full(len(self._scores), np.nan))[number] = value

    @property
    def missing(self) -> NDArray[np.int64]:
        """Numbers of the samples that have no row."""
        return np.flatnonzero(np.isnan(self._scores).any(-1))

    def predictions(self) -> Predictions:
        """Return the predictions; of the values those that every sample has."""
        whole = {name: values for name, values in self._values.items() if not np.isnan(values).any()}
        return Predictions(self._scores, tuple(self._answers), whole)


def prediction_row(target: BenchTarget, job: ReadingJob) -> Row:
    """Read a sample; return its row for the journal. Raises DeviceError for probabilities that are not finite."""
    sample, frames = job.sample, job.sample.frames()
    prediction = target.read(frames, clip=job.clip)
    if not all(map(math.isfinite, [*prediction.probabilities, *prediction.values.values()])):
        raise DeviceError(f"{sample.item.key}: its probabilities or values are not finite")
    answer = target.write(frames, None, clip=job.clip).text if job.written else None
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
