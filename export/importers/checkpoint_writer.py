"""Write a checkpoint of any size, a shard in memory at a time; a stopped run goes on after its last whole shard."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError

from emo_edge.console.progress import Progress
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.configs.checkpoint import CheckpointConfig
from emo_edge.export.importers.tensors import listing
from emo_edge.export.reference.weights import INDEX_NAME, WEIGHTS_NAME, all_finite, save_tensors
from emo_edge.storage.locks import FileLock, LockedError, lock_path
from emo_edge.storage.output_paths import require_output
from emo_edge.utils.files import require_disk_space, write_json

SHARD_BYTES = 1 << 29
"""safetensors copies a shard once more while it writes it, so twice this is held in memory."""
_PLAN_NAME = "plan.sha256"


class WrittenTensor(Protocol):
    """A tensor of the checkpoint, made when it is written."""

    @property
    def name(self) -> str:
        """The checkpoint's name for it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the written tensor."""

    @property
    def dtype(self) -> torch.dtype:
        """Default type of the written tensor."""

    def value(self) -> torch.Tensor:
        """Compute it."""

    def origin(self) -> str:
        """Name it and what it is made of, for an error."""

    def stamp(self) -> str:
        """Identify what it is made of: the same stamp, the same value."""


def check_target(target: Path) -> None:
    """Raise CheckpointError if there is anything where the checkpoint should go, InputError if it cannot be written."""
    require_output(target)
    if target.is_symlink() or (target.exists() and not target.is_dir()) or (target.is_dir() and any(target.iterdir())):
        raise CheckpointError(f"{target}: already there; give another name")


def write_checkpoint(
    target: Path,
    config: CheckpointConfig,
    files: Mapping[str, bytes],
    tensors: Sequence[WrittenTensor],
    *,
    dtype: torch.dtype | None = None,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write config, small files and weights under a temporary name, then rename.

    A rerun of the same import keeps the shards that are whole.

    Args:
        target: the checkpoint's directory; it must not hold anything.
        config: as it is written to ``config.json``.
        files: name to content, tokenizers for instance.
        tensors: read, checked and written in this order.
        dtype: of every tensor; None keeps each one's own.
        progress: gets the bytes written so far and in all.

    Raises CheckpointError naming every tensor with values that are not finite, and InputError where there is no room.
    """
    target = target.absolute()
    check_target(target)
    shards = list(_shards(tensors, dtype))
    names = _shard_names(len(shards))
    total = sum(_size(tensor, dtype) for tensor in tensors)
    with _partial_directory(target, _fingerprint(config, tensors, dtype)) as partial:
        require_disk_space(partial, total - sum(path.stat().st_size for path in partial.glob("*.safetensors")))
        done, problems = 0, list[str]()
        for name, shard in zip(names, shards, strict=True):
            if not (partial / name).exists():
                problems += _write_shard(partial / name, shard, dtype, bool(problems))
            done += sum(_size(tensor, dtype) for tensor in shard)
            progress(done, total)
        if problems:
            raise CheckpointError(f"{len(problems)} tensor(s) hold values that are not finite:\n{listing(problems)}")
        if len(shards) > 1:
            placed = {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
            index = {"metadata": {"total_size": total}, "weight_map": placed}
            write_json(partial / INDEX_NAME, index)
        config.save_pretrained(partial)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        (partial / _PLAN_NAME).unlink()
        try:
            partial.rename(target)
        except OSError as error:
            raise InputError(
                f"{target}: cannot be written ({error.strerror}); move what is there, and try again"
            ) from error


def _size(tensor: WrittenTensor, dtype: torch.dtype | None) -> int:
    return int(torch.Size(tensor.shape).numel()) * (dtype or tensor.dtype).itemsize


def _shards(tensors: Sequence[WrittenTensor], dtype: torch.dtype | None) -> Iterator[list[WrittenTensor]]:
    shard, size = list[WrittenTensor](), 0
    for tensor in tensors:
        own = _size(tensor, dtype)
        if shard and size + own > SHARD_BYTES:
            yield shard
            shard, size = [], 0
        shard.append(tensor)
        size += own
    if shard:
        yield shard


def _shard_names(count: int) -> list[str]:
    if count == 1:
        return [WEIGHTS_NAME]
    return [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]


def _write_shard(path: Path, shard: Sequence[WrittenTensor], dtype: torch.dtype | None, only_check: bool) -> list[str]:
    """Write one file, unless something is not finite, here or before; return what is not."""
    values, problems, storages = dict[str, torch.Tensor](), list[str](), set[int]()
    for tensor in shard:
        value = tensor.value().to(dtype or tensor.dtype)
        if not all_finite(value):
            problems.append(f"not finite: {tensor.origin()}")
        if not problems and not only_check:
            # Two names in a torch file may share memory, which safetensors refuses to write.
            shared = value.untyped_storage().data_ptr() in storages
            values[tensor.name] = value.clone() if shared else value.contiguous()
            storages.add(value.untyped_storage().data_ptr())
    if not problems and not only_check:
        try:
            save_tensors(values, path)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: cannot be written: {error}; make room or choose another place") from error
    return problems


def _fingerprint(config: CheckpointConfig, tensors: Sequence[WrittenTensor], dtype: torch.dtype | None) -> str:
    """Hash what makes this checkpoint this one: its config, its dtype and what each tensor is made of."""
    digest = hashlib.sha256(f"{config.model_dump_json()} {dtype}".encode())
    for tensor in tensors:
        digest.update(json.dumps([tensor.name, tensor.stamp()]).encode())
    return digest.hexdigest()


@contextmanager
def _partial_directory(target: Path, fingerprint: str) -> Iterator[Path]:
    """Open the partial directory, emptied unless the same import left it; this process alone writes there."""
    partial = target.with_name(f".{target.name}.partial")
    with ExitStack() as held:
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(lock_path(target)))
            if partial.is_symlink():
                partial.unlink()
            partial.mkdir(exist_ok=True)
        except LockedError as error:
            raise CheckpointError(
                f"{target}: another import is writing it ({error.strerror}); wait, or give another name"
            ) from error
        except OSError as error:
            raise InputError(f"{target}: cannot be written ({error.strerror}); choose another place") from error
        try:
            _clear(partial, fingerprint)
            yield partial
        except CheckpointError:
            # What is wrong with the files stays wrong: there is nothing to go on with.
            shutil.rmtree(partial)
            raise


def _clear(partial: Path, fingerprint: str) -> None:
    """Empty the partial directory, but for the whole shards that the same import left."""
    plan = partial / _PLAN_NAME
    goes_on = plan.is_file() and plan.read_bytes() == fingerprint.encode()
    for left in partial.iterdir():
        if not (goes_on and (left == plan or left.suffix == ".safetensors")):
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    plan.write_bytes(fingerprint.encode())
