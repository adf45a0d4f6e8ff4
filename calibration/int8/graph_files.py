"""Graphs as calibration handles them: small messages whose large weights stay in the file next to the source."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto

from emo_edge.errors import CheckpointError, DeviceError, InputError
from emo_edge.runtimes.onnx import session_options
from emo_edge.runtimes.onnx_int8 import open_session
from emo_edge.telemetry import open_onnxruntime
from emo_edge.tensors import Tensor
from emo_edge.utils.files import replaced_file
from emo_edge.utils.native_paths import native_path

EXTERNAL_BYTES = 1_500_000_000
"""More weights than this go to a file next to the graph; protobuf ends at 2 GiB."""
BLOCK_BYTES = 1 << 24


class GraphRun:
    """A graph in ONNX Runtime's CPU, made from a message in memory.

    Args:
        model: large weights by reference.
        folder: where the files lie that ``model`` refers to.
        threads: of the CPU, for one operator; None leaves it to ONNX Runtime.

    Raises CheckpointError for a graph that ONNX Runtime refuses, ModuleNotFoundError without onnxruntime.
    """

    def __init__(self, model: ModelProto, folder: Path, threads: int | None = None) -> None:
        ort = open_onnxruntime()
        options = session_options(threads)
        try:
            with native_path(folder.resolve()) as name:
                options.add_session_config_entry("session.model_external_initializers_file_folder_path", name)
                self._session: Any = open_session(ort, model.SerializeToString(), options, ["CPUExecutionProvider"])
        except Exception as error:
            raise CheckpointError(f"ONNX Runtime cannot load the graph {model.graph.name}: {error}") from error
        self.outputs = [value.name for value in self._session.get_outputs()]

    def run(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute every output; raise InputError for a feed that does not fit, DeviceError without memory."""
        try:
            values = self._session.run(self.outputs, dict(feed))
        except Exception as error:
            # ONNX Runtime's errors share no class of their own.
            if "alloc" in str(error):
                raise DeviceError(f"out of memory; feed fewer samples at once. ONNX Runtime: {error}") from error
            raise InputError(f"the graph cannot be fed {_shapes(feed)}: {error}") from error
        return dict(zip(self.outputs, values, strict=True))


def load_graph(path: Path) -> ModelProto:
    """Read a graph without its data file; raise CheckpointError if it cannot be read."""
    import onnx

    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:
        raise CheckpointError(f"{path}: cannot be read as an ONNX graph: {error}") from error


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a graph's file and the data files it names."""
    digest = hashlib.sha256()
    for file in (path, *data_files(load_graph(path), path.parent)):
        with file.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def data_files(model: ModelProto, folder: Path) -> list[Path]:
    """List the files in ``folder`` that hold weights of ``model``."""
    return [folder / name for name in dict.fromkeys(_location(tensor) for tensor in _external(model))]


def stored_bytes(path: Path) -> int:
    """Return the size of a graph with its data files."""
    return sum(file.stat().st_size for file in (path, *data_files(load_graph(path), path.parent)))


def save_model(model: ModelProto, folder: Path, target: Path) -> list[Path]:
    """Write ``model`` with every weight it refers to in ``folder``; return the files, ``NAME.onnx.data`` if large.

    Written beside and renamed. Raises CheckpointError if a file is there already, or if the graph is malformed.
    """
    import onnx
    from onnx import external_data_helper as external

    data = target.with_name(f"{target.name}.data")
    refuse_existing(target, data)
    with native_path(folder.resolve()) as name:
        external.load_external_data_for_model(model, name)
    try:
        with replaced_file(target) as partial, native_path(partial) as name:
            if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > EXTERNAL_BYTES:
                external.convert_model_to_external_data(model, location=data.name, convert_attribute=False)
                onnx.save_model(model, name)
            else:
                partial.write_bytes(model.SerializeToString(deterministic=True))
            onnx.checker.check_model(name, full_check=True)
    except Exception:
        data.unlink(missing_ok=True)
        raise
    return [file for file in (target, data) if file.exists()]


def refuse_existing(*files: Path) -> None:
    """Raise CheckpointError if one of the files to be written is there."""
    for file in files:
        if file.exists():
            raise CheckpointError(f"{file}: already exists; remove it or give another name")


def _external(model: ModelProto) -> list[TensorProto]:
    return [tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]


def _location(tensor: TensorProto) -> str:
    return next(str(entry.value) for entry in tensor.external_data if entry.key == "location")


def _shapes(feed: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {value.dtype} {list(value.shape)}" for name, value in feed.items())
