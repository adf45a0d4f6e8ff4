"""Speed of a quantized graph against its baseline, both timed alternately on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.calibration.int8.graph_files import GraphRun, load_graph
from emo_edge.errors import InputError
from emo_edge.tensors import Tensor

WARM_UP = 3
"""Runs of each graph that are not counted."""
LEAST_ROUNDS = 3


@dataclass(frozen=True)
class SpeedCheck:
    """Times of two graphs for the same feed, taken alternately: a disturbance of one round disturbs both."""

    baseline_ms: tuple[float, ...]
    candidate_ms: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """The candidate's time as a share of the baseline's, round by round."""
        return tuple(own / base for own, base in zip(self.candidate_ms, self.baseline_ms, strict=True))

    @property
    def ratio(self) -> float:
        """Median of the ratios; below 1 the candidate is faster."""
        return float(np.median(self.ratios))

    @property
    def spread(self) -> tuple[float, float]:
        """Tenth and ninetieth percentile of the ratios."""
        low, high = np.percentile(self.ratios, (10, 90))
        return float(low), float(high)

    @property
    def slower(self) -> bool:
        """True where the candidate takes longer."""
        return self.ratio > 1

    @property
    def faster(self) -> bool:
        """True where the candidate is faster beyond the spread of the rounds: only then a profile here chooses it."""
        return self.spread[1] < 1

    def verdict(self) -> str:
        """Describe the result in one line."""
        low, high = self.spread
        times = f"{np.median(self.candidate_ms):.2f} against {np.median(self.baseline_ms):.2f} ms"
        measured = f"{times}, ratio {self.ratio:.2f} ({low:.2f} to {high:.2f}) over {len(self.ratios)} rounds"
        word = "slower" if self.slower else "faster" if self.faster else "hardly faster"
        return f"{word} here; {measured}"

    def as_json(self) -> dict[str, Any]:
        """Return every time and what follows from them."""
        own = {
            "ratio": self.ratio,
            "spread": self.spread,
            "slower": self.slower,
            "faster": self.faster,
            "verdict": self.verdict(),
        }
        return {**asdict(self), **own}


def compared_speed(
    baseline: Path, candidate: Path, feed: Mapping[str, Tensor], *, rounds: int = 20, threads: int | None = None
) -> SpeedCheck:
    """Time two graphs of the same inputs alternately on ONNX Runtime's CPU.

    Which of them goes first changes every round. Raises InputError for too few rounds or a feed that does not fit.
    """
    if rounds < LEAST_ROUNDS:
        raise InputError(f"{rounds} rounds are too few: time at least {LEAST_ROUNDS}")
    runs = [GraphRun(load_graph(path), path.parent, threads) for path in (baseline, candidate)]
    for run in runs:
        for _ in range(WARM_UP):
            run.run(feed)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            start = time.perf_counter()
            runs[which].run(feed)
            times[which].append(1e3 * (time.perf_counter() - start))
    return SpeedCheck(tuple(times[0]), tuple(times[1]))
