"""A language model larger than memory: its decoder layers stay on the disk, and each is read when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from emo_edge.export.reference.weights import open_weights, tensor_files

LAYERS = "language.model.layers."


def stream_layers(language: Any, directory: Path) -> None:
    """Let each decoder layer of a ``LlamaForCausalLM`` read its weights before it runs and drop them after.

    One layer is in memory at a time, in the dtype and on the device of the final norm: a 7B model computes in float32
    in two gigabytes, half of them its two token tables. A forward pass reads the whole model: give it many rows at
    once. For inference alone; a checkpoint that changes on the disk meanwhile changes the model.

    Args:
        language: whose decoder layers may be on the meta device; the rest is loaded.
        directory: the checkpoint, whose structure and values were checked.
    """
    files = tensor_files(directory)
    for number, layer in enumerate(language.model.layers):
        _drop(layer)
        layer.register_forward_pre_hook(partial(_fetch, files, f"{LAYERS}{number}.", language.model.norm.weight))
        layer.register_forward_hook(_drop)


def _fetch(files: Mapping[str, Path], prefix: str, like: torch.Tensor, layer: Any, _: object) -> None:
    wanted = {name: files[prefix + name] for name in layer.state_dict()}
    tensors: dict[str, torch.Tensor] = {}
    for path in set(wanted.values()):
        with open_weights(path) as file:
            own = [name for name, holder in wanted.items() if holder == path]
            tensors |= {name: file.get_tensor(prefix + name).to(like.device, like.dtype) for name in own}
    layer.load_state_dict(tensors, assign=True)


def _drop(layer: Any, *_: object) -> None:
    layer.to("meta")
