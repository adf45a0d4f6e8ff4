"""Read the tensors of an HDF5 file that Keras wrote. Nothing in it is executed, and no other file is opened by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emo_edge.errors import CheckpointError
from emo_edge.export.reference.tensor_files import StoredTensor, StoredTensors

WEIGHTS, ARCHITECTURE = "model_weights", "model_config"
MOST_BYTES = 1 << 28
"""Of all tensors together: far above any small expression network."""
MOST_MEMBERS = 10_000
"""Groups and datasets that are looked at, so that groups which hold each other come to an end."""
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def keras_file(path: Path, stack: ExitStack) -> tuple[list[dict[str, Any]], StoredTensors]:
    """Open a model that Keras saved as HDF5; the file stays open until ``stack`` closes.

    Returns:
        The layers of its architecture as it describes them, and its tensors by ``layer/name``: ``conv2d_1/kernel``.

    Raises CheckpointError for a file that is missing, damaged or something else, that links to other files, or that
    claims more than `MOST_BYTES`.
    """
    import h5py

    _require_signature(path)
    try:
        file = stack.enter_context(h5py.File(path, "r"))
        reader = _Reader(h5py, file, path)
        layers, tensors = reader.layers(), dict(reader.tensors())
    except (OSError, RuntimeError, RecursionError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: not readable as HDF5 (truncated or corrupt): {error}") from error
    total = sum(int(np.prod(one.shape, dtype=object)) * 4 for one in tensors.values())
    if total > MOST_BYTES:
        raise CheckpointError(f"{path}: claims {total} bytes of weights, more than any network of this family has")
    return layers, tensors


def _require_signature(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    with path.open("rb") as stream:
        head = stream.read(len(SIGNATURE))
    if head != SIGNATURE:
        raise CheckpointError(f"{path}: no HDF5 file; it begins with {head!r}")


class _Reader:
    """Walks through an open file without following a link."""

    def __init__(self, h5py: Any, file: Any, path: Path) -> None:
        self.h5py, self.file, self.path = h5py, file, path
        self.left = MOST_MEMBERS

    def layers(self) -> list[dict[str, Any]]:
        """Return kind and settings of each layer; raise CheckpointError for what is no model of Keras."""
        text = self.file.attrs.get(ARCHITECTURE)
        if text is None or WEIGHTS not in self._members(self.file):
            raise CheckpointError(f"{self.path}: no model that Keras saved whole: it lacks {ARCHITECTURE} or {WEIGHTS}")
        try:
            layers = json.loads(text)["config"]["layers"]
            named = [{"class_name": str(one["class_name"]), "config": dict(one["config"])} for one in layers]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{self.path}: {ARCHITECTURE} is no architecture of Keras: {error}") from error
        return named

    def tensors(self) -> Iterator[tuple[str, StoredTensor]]:
        """Yield every dataset below the weights, named by its layer and its own name without Keras' ``:0``."""
        weights = self.file[WEIGHTS]
        for layer in self._members(weights):
            for name, dataset in self._datasets(weights[layer]):
                full = f"{layer}/{name.rpartition('/')[2].partition(':')[0]}"
                yield full, StoredTensor(full, self.path, tuple(dataset.shape), _dtype(dataset), _reading(dataset))

    def _datasets(self, group: Any) -> Iterator[tuple[str, Any]]:
        for name in self._members(group):
            member = group[name]
            if isinstance(member, self.h5py.Group):
                yield from self._datasets(member)
            elif member.external or member.is_virtual:
                raise CheckpointError(f"{self.path}: {member.name} lies in another file, which is not opened")
            else:
                yield member.name, member

    def _members(self, group: Any) -> list[str]:
        """Name what a group holds itself; raise CheckpointError for a link, which may lead anywhere."""
        if not isinstance(group, self.h5py.Group):
            raise CheckpointError(f"{self.path}: {group.name} is no group of a layer")
        names = list(group)
        self.left -= len(names)
        if self.left < 0:
            raise CheckpointError(f"{self.path}: holds more than {MOST_MEMBERS} groups, or groups within themselves")
        linked = [name for name in names if not isinstance(group.get(name, getlink=True), self.h5py.HardLink)]
        if linked:
            raise CheckpointError(f"{self.path}: {group.name.rstrip('/')}/{linked[0]} is a link, which is not followed")
        return names


def _dtype(dataset: Any) -> torch.dtype | None:
    return {"f4": torch.float32, "f2": torch.float16, "f8": torch.float64}.get(dataset.dtype.str[1:])


def _reading(dataset: Any) -> Callable[[], torch.Tensor]:
    return lambda: torch.from_numpy(np.ascontiguousarray(dataset[()], dataset.dtype.newbyteorder("=")))
