"""HDF5 files as Keras writes them: their layers, and every tensor."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from emo_edge.benchmarks.hostile.mutate import mutated_bytes
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.export.importers.labels.hdf5_tensors import keras_file
from emo_edge.export.reference.hdf5_process import ARCHITECTURE, WEIGHTS

LAYERS: dict[str, dict[str, tuple[int, ...]]] = {
    "conv2d_1": {"kernel:0": (3, 3, 1, 8)},
    "batch_normalization_1": {"gamma:0": (8,), "beta:0": (8,)},
}


def _whole() -> Sequence[bytes]:
    """Write a model with datasets that lie in one piece, and one with packed chunks."""
    return [_written({}), _written({"compression": "gzip", "shuffle": True})]


def _written(settings: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    config = {"layers": [{"class_name": "Conv2D", "config": {"name": layer}} for layer in LAYERS]}
    with h5py.File(stream, "w") as file:
        file.attrs[ARCHITECTURE] = json.dumps({"class_name": "Model", "config": config}, allow_nan=False).encode()
        weights = file.create_group(WEIGHTS)
        for layer, tensors in LAYERS.items():
            for name, shape in tensors.items():
                weights.create_dataset(f"{layer}/{layer}/{name}", data=np.ones(shape, np.float32), **settings)
    return stream.getvalue()


def _read(path: Path) -> None:
    with ExitStack() as stack:
        _, tensors = keras_file(path, stack)
        for tensor in tensors.values():
            if tensor.dtype is not None:
                tensor.read()


HDF5 = Kind("model.hdf5", _whole, mutated_bytes, _read)
