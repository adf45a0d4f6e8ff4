"""Partial results of a calibration: ranges of activations, and importance statistics."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np

from emo_edge.benchmarks.hostile.mutate import mutated_bytes, mutated_json, mutated_zip
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.bundle.imatrix_file import Imatrix, read_imatrix, write_imatrix
from emo_edge.calibration.int8.clipping_thresholds import METHODS, threshold
from emo_edge.calibration.int8.range_state import load_state, new_state
from emo_edge.errors import InputError

GRAPH, TENSORS = "fingerprint", ("first", "second")


def _ranges() -> Sequence[bytes]:
    state, feed = new_state(GRAPH, TENSORS), {"image": np.ones((2, 3), np.float32)}
    for scale, histogram in enumerate(state.histograms.values(), 1):
        histogram.add(np.linspace(0, scale, 100, dtype=np.float32))
    state.counted(feed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ranges.npz"
        state.save(path)
        return [path.read_bytes()]


def _mutated_ranges(rng: Random, content: bytes) -> bytes:
    return mutated_zip(rng, content, {"header.npy": _mutated_header})


def _mutated_header(rng: Random, content: bytes) -> bytes:
    """Change a value of the JSON in the array, or bytes."""
    start = content.index(b"\n") + 1
    text = np.frombuffer(content[start:], "<U1").tobytes().decode("utf-32-le")
    try:
        changed = mutated_json(rng, json.dumps(json.loads(text)).encode()).decode("utf-8", "replace")
    except ValueError:
        return mutated_bytes(rng, content)
    length = len(changed)
    head = content[:start].replace(f"<U{len(text)}".encode(), f"<U{length}".encode())
    return head + changed.encode("utf-32-le")


def _read_ranges(path: Path) -> None:
    state = load_state(path, GRAPH, TENSORS)
    for histogram in state.histograms.values():
        for method in METHODS:
            threshold(histogram, method)
        histogram.add(np.linspace(0, 1000, 100, dtype=np.float32))
    state.counted({"image": np.ones((2, 3), np.float32)})
    state.save(path.with_suffix(".again"))
    with suppress(InputError):
        list(state.remaining([{"image": np.ones((2, 3), np.float32)}]))


def _imatrix() -> Sequence[bytes]:
    sums = {f"blk.{layer}.attn_q.weight": np.arange(8, dtype=np.float32) for layer in range(3)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "imatrix.gguf"
        write_imatrix(Imatrix(sums, dict.fromkeys(sums, 5), 2, ("samples",)), path)
        return [path.read_bytes()]


def _read_imatrix(path: Path) -> None:
    statistics = read_imatrix(path)
    for name in statistics.sums:
        statistics.means(name)


RANGES = Kind("ranges.npz", _ranges, _mutated_ranges, _read_ranges)
IMATRIX = Kind("imatrix.gguf", _imatrix, mutated_bytes, _read_imatrix)
