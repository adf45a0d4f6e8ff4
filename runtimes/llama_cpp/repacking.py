"""Repacking of a model's weights for this CPU: its benefit is measured once a machine, build and kind of file.

Repacked weights are not always faster: on an AVX-512 CPU without AMX, prompts of LLaMA-7B's width in q4_k_m took a
third less time without, and q4_0 took longer; `emo_edge.benchmarks.peers.llama_cpp_builds` compares. The two short
calls of a prompt whose question is in the cache took less time with.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.errors import DeviceError
from emo_edge.runtimes.llama_cpp.library import build_key, library, load_model, native_errors, probe_batch
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
"""Time without repacking, as a fraction of the time with it, below which it is left out."""

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
            return min(sum(_call_seconds(native, context, path, rows) for rows in way) for way in ways)
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
