"""Another command timed around the same picture files, in alternation with ``emo-edge infer``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.benchmarks.measure.timing import DIGITS, timed_ms
from emo_edge.benchmarks.workload.images import LatencyImage
from emo_edge.console.children import code_command
from emo_edge.errors import InputError
from emo_edge.metrics.bootstrap import RESAMPLES, percentile_interval
from emo_edge.utils.processes import ProcessResult, run_bounded

ROUNDS = 7
LONGEST_S = 600.0
PLACEHOLDER = "{files}"
OURS = "from emo_edge.cli.app import main; main()"


class Versus:
    """Two commands that read the same files. Raises InputError for words that no shell would take."""

    def __init__(
        self, command: str, bundle: Path, images: Sequence[LatencyImage], device: str, threads: int | None
    ) -> None:
        """Prepare both.

        Args:
            command: as typed; the files replace ``{files}``, or come last without it.
            bundle: read with its default profile.
            images: the files.
            device: of ours.
            threads: of ours.
        """
        self.command, files = command, [str(image.path) for image in images]
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise InputError(f"`vs` {command}: {error}") from error
        if not words:
            raise InputError("`vs` names no command")
        index = words.index(PLACEHOLDER) if PLACEHOLDER in words else len(words)
        self.theirs = [*words[:index], *files, *words[index + 1 :]]
        limit = ["--threads", str(threads)] if threads else []
        self.ours = code_command(OURS, "infer", str(bundle), *files, "--jsonl", "--device", device, *limit)

    def check(self) -> None:
        """Run both once, which also warms the system's cache; raise InputError if one fails."""
        for name, command in (("`vs`", self.theirs), ("emo-edge infer", self.ours)):
            ended = run_bounded(command, LONGEST_S)
            if ended.problem:
                raise InputError(
                    f"{name}: {' '.join(command[:3])} {ended.problem}; it must read the files and end with 0"
                )

    def measure(self) -> dict[str, Any]:
        """Time both alternately, the first one changing each round; return ``vs`` of the report.

        ``ratio`` is our median over theirs, below 1 where ours is faster, with a 95 % bootstrap interval.
        """
        theirs: list[float] = []
        ours: list[float] = []
        for index in range(ROUNDS):
            for own in (index % 2 == 0, index % 2 == 1):
                (ours if own else theirs).append(timed_ms(partial(self._run, own)))
        return {
            "command": self.command,
            "raw_ms": [round(value, DIGITS) for value in theirs],
            "ours_raw_ms": [round(value, DIGITS) for value in ours],
            "ratio": ratio_of(ours, theirs),
        }

    def _run(self, own: bool) -> ProcessResult:
        ended = run_bounded(self.ours if own else self.theirs, LONGEST_S)
        if ended.problem:
            raise InputError(
                f"{'emo-edge infer' if own else 'the other command'} {ended.problem}, after it had run well before"
            )
        return ended


def ratio_of(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Ratio of medians, and its 95 % percentile interval over resampled times of each."""
    draw = np.random.default_rng(0)
    medians = [np.median(draw.choice(np.asarray(times), (RESAMPLES, len(times))), axis=1) for times in (ours, theirs)]
    low, high = percentile_interval(medians[0] / medians[1])
    return {"value": float(np.median(ours) / np.median(theirs)), "low": low, "high": high}
