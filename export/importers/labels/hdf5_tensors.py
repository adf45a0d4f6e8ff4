"""Tensors of an HDF5 file that Keras wrote; `hdf5_process` reads the file, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emo_edge.console.children import module_command
from emo_edge.errors import CheckpointError
from emo_edge.export.reference.hdf5_process import ARRAYS, FACTS
from emo_edge.export.reference.tensor_files import StoredTensor, StoredTensors
from emo_edge.utils.files import substitute
from emo_edge.utils.processes import run_bounded

SIGNATURE = b"\x89HDF\r\n\x1a\n"
PROCESS = "emo_edge.export.reference.hdf5_process"
NO_PLUGINS = {"HDF5_PLUGIN_PRELOAD": "::"}
"""Keeps the library from loading code for a filter that the file names (HDF5's reference manual, H5PL)."""
SECONDS = 60.0
"""By the clock, of the process; its time of the processor is limited to less."""


def keras_file(path: Path, stack: ExitStack) -> tuple[list[dict[str, Any]], StoredTensors]:
    """Open a model that Keras saved as HDF5; what was read of it stays until ``stack`` closes.

    Returns:
        The layers of its architecture as it describes them, and its tensors by ``layer/name``: ``conv2d_1/kernel``.

    Raises CheckpointError for a file that is missing, damaged or something else, that links to other files, or that
    claims more than `hdf5_process.MOST_BYTES`.
    """
    if importlib.util.find_spec("h5py") is None:
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py")
    _require_signature(path)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emo-edge-hdf5-")))
    command = module_command(PROCESS, str(path.absolute()), str(folder))
    done = run_bounded(command, SECONDS, NO_PLUGINS)
    if done.problem:
        reason = done.output.strip().replace(str(path.absolute()), str(path))
        raise CheckpointError(reason or f"{path}: not readable as HDF5 (corrupt): its reader {done.problem}")
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    arrays = stack.enter_context(np.load(folder / ARRAYS, allow_pickle=False))
    tensors = {
        name: StoredTensor(name, path, tuple(shape), _dtype(arrays, name), _reading(arrays, name))
        for name, shape in facts["shapes"].items()
    }
    return facts["layers"], tensors


def _require_signature(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    with path.open("rb") as stream:
        head = stream.read(len(SIGNATURE))
    if head != SIGNATURE:
        raise CheckpointError(f"{path}: {substitute(path) or f'no HDF5 file; it begins with {head!r}'}")


def _dtype(arrays: Any, name: str) -> torch.dtype | None:
    return torch.from_numpy(arrays[name][:0] if arrays[name].ndim else arrays[name]).dtype if name in arrays else None


def _reading(arrays: Any, name: str) -> Callable[[], torch.Tensor]:
    return lambda: torch.from_numpy(arrays[name])
