"""Read the files that checkpoints come in, one tensor at a time: safetensors, torch's zip files, sharded or not.

A torch file is mapped, not read: its tensors cost memory only while they are used. Nothing in it is run.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from emo_edge.errors import CheckpointError
from emo_edge.export.reference.torch_archive import check_archive
from emo_edge.export.reference.weights import open_weights, shard_names
from emo_edge.utils.files import refuse_substitute
from emo_edge.utils.native_paths import native_path

WEIGHTS_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In the order in which transformers looks for them."""
WRAPPERS = ("model", "state_dict", "model_state_dict", "module")
"""Entries of a torch file in which trainers save the tensors, beside the optimizer or the epoch; DeepSpeed's last."""
MOST_WRAPPERS = 4
"""Entries that stand one in the other."""
LONGEST_NAME = 512
"""Characters of a tensor's name; those of these families have up to 100."""
_SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file, read on request."""

    name: str
    path: Path
    shape: tuple[int, ...]
    dtype: torch.dtype | None
    """None for a type that no model of these families is stored in."""
    read: Callable[[], torch.Tensor]


StoredTensors = dict[str, StoredTensor]


def tensors_of_directory(directory: Path, stack: ExitStack) -> StoredTensors:
    """Open a model directory's weights: its one file or the shards of its index; safetensors before torch's.

    Raises CheckpointError for a directory without weights, an index that names what is not there, or a name that two
    shards hold. The files stay open until ``stack`` closes.
    """
    for name in WEIGHTS_NAMES:
        if (directory / name).is_file():
            opened = _tensors_of_index if name.endswith(".json") else tensors_of_file
            return opened(directory / name, stack)
    raise CheckpointError(f"{directory}: none of {', '.join(WEIGHTS_NAMES)} is there")


def tensors_of_file(path: Path, stack: ExitStack, *, inside: str | None = None) -> StoredTensors:
    """Open one file of weights; ``inside`` is the entry of a torch file that holds them, if it is there.

    The entries of `WRAPPERS` are opened, too, where the file is no table of tensors itself. Raises CheckpointError for
    a file that is missing, truncated, corrupt or not made of tensors alone.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        return _tensors_of_safetensors(path, stack)
    return {name: _in_memory_map(name, path, value) for name, value in _named_tensors(path, inside).items()}


def _tensors_of_index(index: Path, stack: ExitStack) -> StoredTensors:
    placed = shard_names(index)
    tensors: StoredTensors = {}
    for shard in sorted(set(placed.values())):
        own = tensors_of_file(index.parent / shard, stack)
        twice = sorted(tensors.keys() & own.keys())
        if twice:
            raise CheckpointError(f"{index.parent}: {twice[0]} is both in {tensors[twice[0]].path.name} and in {shard}")
        tensors |= own
    lacking = sorted(name for name, shard in placed.items() if name not in tensors or tensors[name].path.name != shard)
    if lacking:
        listing = "\n".join(f"  {name} in {placed[name]}" for name in lacking)
        raise CheckpointError(f"{index}: {len(lacking)} tensor(s) are not where it says:\n{listing}")
    return tensors


def _tensors_of_safetensors(path: Path, stack: ExitStack) -> StoredTensors:
    file = stack.enter_context(open_weights(path))
    tensors = {}
    for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
        _require_name(name, path)
        part = file.get_slice(name)
        dtype = _SAFETENSORS_DTYPES.get(part.get_dtype())
        tensors[name] = StoredTensor(name, path, tuple(part.get_shape()), dtype, _reader(file, name))
    return tensors


def _reader(file: Any, name: str) -> Callable[[], torch.Tensor]:
    return lambda: file.get_tensor(name)


def _in_memory_map(name: str, path: Path, value: torch.Tensor) -> StoredTensor:
    return StoredTensor(name, path, tuple(value.shape), value.dtype, value.detach)


def _named_tensors(path: Path, inside: str | None) -> dict[str, torch.Tensor]:
    content = _unpickled(path)
    content = _opened(content, inside)
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: holds no table of named tensors but {type(content).__name__}")
    others = [str(name) for name, value in content.items() if not (isinstance(name, str) and _is_plain(value))]
    if others:
        shown = ", ".join(ascii(name)[:60] for name in others[:5])
        raise CheckpointError(f"{path}: holds more than plain named tensors: {shown}; give weights alone")
    for name, value in content.items():
        _require_name(name, path)
        if math.prod(value.shape) > value.untyped_storage().nbytes() // value.element_size():
            raise CheckpointError(f"{path}: {name} claims {list(value.shape)} values and stores fewer; save it whole")
    return dict(content)


def _opened(content: Any, inside: str | None) -> Any:
    """Open the entries of a torch file that hold the tensors, where a trainer saved them beside other things."""
    for _ in range(MOST_WRAPPERS):
        if not isinstance(content, Mapping):
            return content
        bare = any(isinstance(value, torch.Tensor) for value in content.values())
        entries = [content.get(name) for name in (inside, *(() if bare else WRAPPERS)) if name is not None]
        entry = next((entry for entry in entries if isinstance(entry, Mapping) and entry), None)
        if entry is None:
            return content
        content = entry
    return content


def _require_name(name: str, path: Path) -> None:
    if not (len(name) <= LONGEST_NAME and name.isprintable()):
        raise CheckpointError(f"{path}: {ascii(name)[:60]} is no name of a tensor")


def _is_plain(value: Any) -> bool:
    """Return whether a value of a torch file is a dense tensor with values."""
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_nested)


def _unpickled(path: Path) -> Any:
    """Load tensors and plain containers only; torch's old format, which cannot be mapped, is read as a whole."""
    try:
        with path.open("rb") as stream:
            mapped = stream.read(4) == b"PK\x03\x04"
        if mapped:
            check_archive(path)
        with native_path(path) as name:
            return torch.load(name, map_location="cpu", weights_only=True, mmap=mapped)
    except CheckpointError:
        raise
    except Exception as error:  # a broken file leads torch's unpickler to nearly every kind of error
        refuse_substitute(path, error)
        needed = re.search(r"GLOBAL (\S{1,200})", str(error))
        if isinstance(error, pickle.UnpicklingError) and needed:
            raise CheckpointError(
                f"{path}: needs more than tensors to be read, and code in a file is never run: {needed[1]}. "
                "Ask its author for safetensors"
            ) from error
        raise CheckpointError(
            f"{path}: not readable as a torch file (truncated or corrupt): {_reason(error)}. Fetch it again"
        ) from error


def _reason(error: Exception) -> str:
    """Take what is wrong from torch's long messages, without its advice to run the code in the file."""
    text = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip() and "weights_only" not in line]
    return (lines or [type(error).__name__])[0].partition(" Please ")[0][:200].rstrip(".")
