"""Read a Keras model's HDF5 file in a process of its own: the library may loop for ever in a damaged one.

Nothing in the file is executed, and no other file is opened by it. Run as a module, this file is that process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.errors import CheckpointError
from emo_edge.utils.json_values import json_values

WEIGHTS, ARCHITECTURE = "model_weights", "model_config"
FLOATS = ("f2", "f4", "f8")
MOST_BYTES = 1 << 28
"""Of all tensors together: far above any small expression network."""
MOST_MEMBERS = 10_000
"""Groups and datasets that are looked at, so that groups which hold each other come to an end."""
CPU_SECONDS, MEMORY = 2, 2 << 30
"""Of the processor, at most, from the opening of the file on, and of the process. The file of the package fer takes
0.3 s."""
REFUSED = 3
"""Exit code where the message on stdout is the whole error."""
FACTS, ARRAYS = "facts.json", "arrays.npz"


def read_model(h5py: Any, path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the layers as Keras describes them, and the datasets by ``layer/name``; both live as long as the process.

    Raises CheckpointError for a file that is damaged or something else, links to other files, or claims more than
    `MOST_BYTES`.
    """
    try:
        reader = _Reader(h5py, h5py.File(path, "r", locking=False), path)
        layers, datasets = reader.layers(), reader.named_datasets()
        total = sum(map(_claimed_bytes, datasets.values()))
    except (OSError, RuntimeError, RecursionError, KeyError, ValueError, TypeError, MemoryError) as error:
        raise CheckpointError(f"{path}: not readable as HDF5 (truncated or corrupt): {error}") from error
    if total > MOST_BYTES:
        raise CheckpointError(f"{path}: claims {total} bytes of weights, more than any network of this family has")
    return layers, datasets


def _claimed_bytes(dataset: Any) -> int:
    """Return the bytes that reading a dataset takes: those of its numbers, or of one whole chunk where that is more."""
    elements = (int(np.prod(shape, dtype=object)) for shape in (dataset.shape, dataset.chunks or ()))
    return max(elements) * int(dataset.dtype.itemsize)


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
            layers = json_values(text)["config"]["layers"]
            named = [{"class_name": str(one["class_name"]), "config": dict(one["config"])} for one in layers]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{self.path}: {ARCHITECTURE} is no architecture of Keras: {error}") from error
        return named

    def datasets(self) -> Iterator[tuple[str, Any]]:
        """Yield every dataset below the weights, named by its layer and its own name without Keras' ``:0``."""
        weights = self.file[WEIGHTS]
        for layer in self._members(weights):
            for name, dataset in self._datasets(weights[layer]):
                yield f"{layer}/{name.rpartition('/')[2].partition(':')[0]}", dataset

    def named_datasets(self) -> dict[str, Any]:
        """Return `datasets` by name; raise CheckpointError for a name that stands for two of them."""
        named: dict[str, Any] = {}
        for name, dataset in self.datasets():
            if name in named:
                raise CheckpointError(f"{self.path}: holds {name} twice: {named[name].name} and {dataset.name}")
            named[name] = dataset
        return named

    def _datasets(self, group: Any) -> Iterator[tuple[str, Any]]:
        for name in self._members(group):
            member = group[name]
            if isinstance(member, self.h5py.Group):
                yield from self._datasets(member)
            elif not isinstance(member, self.h5py.Dataset) or member.shape is None:
                raise CheckpointError(f"{self.path}: {group.name}/{name} is no array of numbers")
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


def main(path: Path, folder: Path) -> None:
    """Write the facts and the arrays of a model into a folder."""
    import h5py

    with suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # The limit counts whole seconds from the start of the process, which takes long on a slow machine.
        most = int(time.process_time()) + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    layers, datasets = read_model(h5py, path)
    shapes = {name: list(one.shape) for name, one in datasets.items()}
    read = {name: one for name, one in datasets.items() if one.dtype.str[1:] in FLOATS}
    arrays: dict[str, Any]
    try:
        arrays = {name: np.ascontiguousarray(one[()], one.dtype.newbyteorder("=")) for name, one in read.items()}
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as HDF5 (truncated or corrupt): {error}") from error
    (folder / FACTS).write_text(json.dumps({"layers": layers, "shapes": shapes}, allow_nan=False), encoding="utf-8")
    np.savez(folder / ARRAYS, **arrays)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except (CheckpointError, ValueError) as refused:
        sys.stdout.buffer.write(str(refused).encode("utf-8", "surrogateescape"))
        sys.exit(REFUSED)
