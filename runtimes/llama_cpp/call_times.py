"""Times of llama.cpp's calls by their number of positions, which say whether a question from the cache pays.

A call reads every weight once, whatever its size: where reading takes the time, as on small devices, the two short
calls of a cached question can take longer than one call of the whole prompt. It is measured once a machine, build and
kind of file; a small file is not measured, and takes its questions from the cache.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.runtimes.llama_cpp.library import build_key, library
from emo_edge.runtimes.llama_cpp.repacking import MEASURED_FROM
from emo_edge.utils.cache import read_cached, write_cached

ANSWERS_NAME = "llama-calls.json"
ROWS = (1, 8, 16, 32, 64)
"""Positions of the calls that are timed; times between them are on a line, as those beyond."""
WORTH = 0.95
"""Time with a question from the cache, as a fraction of the time without, below which it is taken."""

Measure = Callable[[int], float]
"""Returns the seconds of a call of so many positions."""
logger = logging.getLogger(__name__)


class CallTimes:
    """Seconds of calls on one machine, of one file."""

    def __init__(self, seconds: Mapping[int, float]) -> None:
        """Keep the times by positions; none at all let every question come from the cache."""
        self._rows, self._seconds = list(seconds), list(seconds.values())

    def question_pays(self, cached: Sequence[int], whole: Sequence[int]) -> bool:
        """Return whether the calls of a cached question take less time than those of whole prompts, by positions."""
        if not self._rows:
            return True
        return sum(map(self.seconds, cached)) < WORTH * sum(map(self.seconds, whole))

    def seconds(self, rows: int) -> float:
        """Return the time of a call of 1 or more positions."""
        if rows <= self._rows[-1]:
            return float(np.interp(rows, self._rows, self._seconds))
        step = (self._seconds[-1] - self._seconds[-2]) / (self._rows[-1] - self._rows[-2])
        return self._seconds[-1] + max(0.0, step) * (rows - self._rows[-1])


def call_times(path: Path, settings: str, measure: Measure) -> CallTimes:
    """Return the times of a file's calls: from the user's cache on this machine, else by measuring.

    Args:
        path: the GGUF file.
        settings: what else the times depend on: threads, device, form of the weights.
        measure: times a call; it is asked only where nothing is known.
    """
    if not path.is_file() or path.stat().st_size < MEASURED_FROM:
        return CallTimes({})
    header = read_gguf_header(path)
    shape, file_type = header.shape(), header.metadata.get("general.file_type")
    information = library().llama_print_system_info().decode()
    size = path.stat().st_size
    key = f"{build_key(information)} | file type {file_type} | width {shape.width} | bytes {size} | {settings}"
    answers = read_cached(ANSWERS_NAME)
    known = _known(answers.get(key))
    if not known:
        logger.info("%s: measuring once whether a question from the cache pays on this machine", path.name)
        known = {rows: measure(rows) for rows in ROWS}
        answers[key] = list(known.values())
        write_cached(ANSWERS_NAME, answers)
    return CallTimes(known)


def _known(values: Any) -> dict[int, float]:
    """Return the times of an entry of the cache; none where it is not one."""
    if not isinstance(values, list) or len(values) != len(ROWS):
        return {}
    if not all(isinstance(value, float) and math.isfinite(value) and value > 0 for value in values):
        return {}
    return dict(zip(ROWS, values, strict=True))
