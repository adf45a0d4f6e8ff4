"""Sizes that a session asks of a model and of this machine, checked before llama.cpp allocates or ends the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emo_edge.errors import DeviceError, InputError
from emo_edge.machine.hardware import read_memory

CHECKED_FROM = 256 << 20
"""Bytes of an attention cache from which the free memory is read first."""


def check_sizes(native: Any, context_size: int, max_branches: int, gpu_layers: int) -> None:
    """Raise InputError for sizes below 1, DeviceError where a GPU is asked for and the build has none."""
    if context_size < 1 or max_branches < 1:
        raise InputError(f"context_size {context_size} and max_branches {max_branches} must be positive")
    if gpu_layers and not native.llama_supports_gpu_offload():
        raise DeviceError("this build of llama-cpp-python has no GPU backend: use the CPU or install a CUDA build")


def check_trained(native: Any, model: Any, path: Path, context_size: int) -> None:
    """Raise InputError for more positions than the model was trained for."""
    trained = native.llama_model_n_ctx_train(model)
    if context_size > trained:
        raise InputError(f"{path}: the model was trained for {trained} positions, not for {context_size}")


def check_cache_memory(native: Any, model: Any, cells: int, value_bytes: int) -> None:
    """Raise DeviceError if keys and values of ``cells`` positions do not fit into main memory.

    llama.cpp fills them with zeros, and the system would end the process instead of refusing the memory.
    """
    head = native.llama_model_n_embd(model) // native.llama_model_n_head(model)
    width = head * native.llama_model_n_head_kv(model)
    needed = 2 * native.llama_model_n_layer(model) * cells * width * value_bytes
    memory = read_memory(Path("/")) if needed >= CHECKED_FROM else None
    if memory is None:
        return
    free = min(size for size in (memory.available or memory.total, memory.limit) if size)
    if needed > free:
        raise DeviceError(
            f"no memory for a context of {cells} positions: {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        )
