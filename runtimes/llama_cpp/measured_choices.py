"""Choices that are measured once a machine, build and kind of file: repacked weights, cached questions.

Repacked weights are not always faster: on an AVX-512 CPU without AMX, prompts of LLaMA-7B's width in q4_k_m took a
third less time without, and q4_0 took longer; `emo_edge.benchmarks.peers.llama_cpp_builds` compares. The two short
calls of a prompt whose question is in the cache took less time with.

A call reads every weight once, whatever its size: where reading takes the time, as on small devices, the two short
calls of a cached question can take longer than one call of the whole prompt. A small file is not measured, and takes
its questions from the cache.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.errors import DeviceError
from emo_edge.runtimes.base.compute_thread import ComputeThread
from emo_edge.runtimes.llama_cpp.library import build_key, library, load_model, native_errors, probe_batch, uses_amx
from emo_edge.utils.cache import read_cached, write_cached

Ways = Sequence[Sequence[int]]
"""Ways to compute a label, of which the fastest is taken: the positions of the calls that each makes."""
ANSWERS_NAME = "llama-repacking.json"
MEASURED_FROM = 32 << 20
"""Bytes of a file below which nothing is measured: it would take longer than it can save."""
WHOLE: Ways = ((61,),)
"""A prompt in one call: about as many positions as a reading computes; a power of two would take other kernels."""
WHOLE_OR_CACHED: Ways = (*WHOLE, (16, 1))
"""The same, and a prompt that takes its question from the cache: picture and head in one call, the tail in another."""
CALLS = 2
"""Calls that count, the faster of them."""
WORTH = 0.95
"""Time without repacking, or with a cached question, as a fraction of the other, below which it is chosen."""
CALLS_NAME = "llama-calls.json"
TIMED_ROWS = (1, 8, 16, 32, 64)
"""Positions of the calls that are timed; times between them are on a line, as those beyond."""
Measure = Callable[[int], float]
"""Returns the seconds of a call of so many positions."""
logger = logging.getLogger(__name__)


def repacking_pays(
    path: Path,
    threads: int,
    ways: Ways = WHOLE,
    measure: Callable[[Path, bool, int, Ways], float] | None = None,
) -> bool:
    """Return True if weights should be repacked: from the user's cache on this machine, else by measuring.

    Args:
        path: the GGUF file. It is loaded twice, one after the other.
        threads: CPU threads of a prompt.
        ways: ways to compute a label.
        measure: returns the seconds of the fastest way; llama.cpp's own if None.

    Raises what opening the file without repacking raises.
    """
    if not path.is_file() or path.stat().st_size < MEASURED_FROM:
        return True
    header = read_gguf_header(path)
    if not header.quantized_types:
        return True
    file_type = header.metadata.get("general.file_type")
    information = library().llama_print_system_info().decode()
    key = f"{build_key(information)} | file type {file_type} | width {header.shape().width}"
    key += "" if ways == WHOLE else f" | {' or '.join('+'.join(map(str, way)) for way in ways)}"
    answers = read_cached(ANSWERS_NAME)
    if not isinstance(answers.get(key), bool):
        logger.info("%s: measuring once whether this CPU is faster with repacked weights", path.name)
        seconds = measure or prompt_seconds
        plain = seconds(path, False, threads, ways)
        try:
            repacked = seconds(path, True, threads, ways)
        except DeviceError as error:
            # Plain weights stay in the file's pages, repacked ones take memory of their own: not kept, it may be free.
            logger.info("%s: weights are not repacked: %s", path.name, error)
            return False
        answers[key] = plain > WORTH * repacked
        write_cached(ANSWERS_NAME, answers)
    return bool(answers[key])


def prompt_seconds(path: Path, repacked: bool, threads: int, ways: Ways = WHOLE) -> float:
    """Load the file, and time the fastest way to compute a label."""
    native, model = library(), load_model(path, extra_buffers=repacked)
    try:
        parameters = native.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = max(rows for way in ways for rows in way)
        parameters.n_threads = parameters.n_threads_batch = threads
        context = native.llama_init_from_model(model, parameters)
        if not context:
            raise DeviceError(f"{path}: no memory to measure its kernels: {native_errors()}")
        try:
            with ComputeThread(repacked and uses_amx(native)) as compute:
                times = [[compute(partial(_call_seconds, native, context, path, rows)) for rows in way] for way in ways]
            return min(map(sum, times))
        finally:
            native.llama_free(context)
    finally:
        native.llama_model_free(model)


def _call_seconds(native: Any, context: Any, path: Path, rows: int) -> float:
    """Time a call of so many positions; the first one does not count."""
    _computed(native, context, path, rows)
    return min(_computed(native, context, path, rows) for _ in range(CALLS))


def _computed(native: Any, context: Any, path: Path, rows: int) -> float:
    batch = probe_batch(native, rows, outputs=1)
    try:
        native.llama_memory_clear(native.llama_get_memory(context), True)
        started = time.perf_counter()
        if native.llama_decode(context, batch):
            raise DeviceError(f"{path}: llama.cpp cannot compute it: {native_errors()}")
        native.llama_synchronize(context)
        return time.perf_counter() - started
    finally:
        native.llama_batch_free(batch)


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
    answers = read_cached(CALLS_NAME)
    known = _known(answers.get(key))
    if not known:
        logger.info("%s: measuring once whether a question from the cache pays on this machine", path.name)
        known = {rows: measure(rows) for rows in TIMED_ROWS}
        answers[key] = list(known.values())
        write_cached(CALLS_NAME, answers)
    return CallTimes(known)


def _known(values: Any) -> dict[int, float]:
    """Return the times of an entry of the cache; none where it is not one."""
    if not isinstance(values, list) or len(values) != len(TIMED_ROWS):
        return {}
    if not all(isinstance(value, float) and math.isfinite(value) and value > 0 for value in values):
        return {}
    return dict(zip(TIMED_ROWS, values, strict=True))
