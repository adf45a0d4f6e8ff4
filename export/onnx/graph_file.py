"""A graph and its weights, which are copied once: on their way into the file, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from emo_edge.errors import CheckpointError
from emo_edge.tensors import TensorSpec
from emo_edge.utils.native_paths import native_path

EXTERNAL_BYTES = 1_500_000_000
"""More weights than this go to a file next to the graph; protobuf ends at 2 GiB."""


@dataclass(frozen=True)
class Weight:
    """A large constant in the memory of the model it was traced from."""

    values: NDArray[Any]
    """Of any strides."""
    dtype: np.dtype[Any]
    """In which the graph holds it."""

    @property
    def nbytes(self) -> int:
        """Size in the file."""
        return self.values.size * self.dtype.itemsize

    def stored(self) -> NDArray[Any]:
        """Copy it as the file holds it, contiguous and little-endian."""
        return np.ascontiguousarray(self.values, self.dtype.newbyteorder("<"))


@dataclass(frozen=True)
class Graph:
    """A graph with weights, its inputs and outputs; ``N`` and ``L`` are the axes that vary."""

    model: ModelProto
    """Every node and small constant; a tensor of ``weights`` is here by name, type and shape alone."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    weights: Mapping[str, Weight] = field(default_factory=dict)
    """Large constants by name. They share the model's memory: it must not change while the graph is in use."""


def save_graph(graph: Graph, path: Path) -> list[Path]:
    """Write and check ``path``; return the files written, with ``NAME.onnx.data`` for large weights.

    Raises CheckpointError if one of them exists.
    """
    data = path.with_name(f"{path.name}.data")
    for file in (path, data):
        if file.exists():
            raise CheckpointError(f"{file}: already exists; remove it or give another name")
    whole = ModelProto()
    whole.CopyFrom(graph.model)
    large = {tensor.name: tensor for tensor in whole.graph.initializer if tensor.name in graph.weights}
    if sum(graph.weights[name].nbytes for name in large) <= EXTERNAL_BYTES:
        for name, tensor in large.items():
            tensor.raw_data = graph.weights[name].stored().tobytes()
    else:
        with data.open("xb") as stream:
            for name, tensor in large.items():
                _refer(tensor, data.name, stream.tell(), graph.weights[name].nbytes)
                stream.write(graph.weights[name].stored().data)
    path.write_bytes(whole.SerializeToString(deterministic=True))
    with native_path(path) as name:
        onnx.checker.check_model(name, full_check=True)
    return [file for file in (path, data) if file.exists()]


def declared(name: str, weight: Weight) -> TensorProto:
    """Name a weight in a graph, without its values."""
    return TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(weight.dtype), dims=weight.values.shape)


def _refer(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
