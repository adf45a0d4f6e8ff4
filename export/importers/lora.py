"""LoRA adapters of PEFT: read, checked against the base, merged one weight at a time.

The merged weight is W + (B @ A) * scale in float32, in PEFT's own order of operations (``peft/tuners/lora/layer.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from emo_edge.errors import CheckpointError
from emo_edge.export.reference.tensor_files import StoredTensor, StoredTensors, tensors_of_file
from emo_edge.utils.files import read_json

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAMES = ("adapter_model.safetensors", "adapter_model.bin")
WHOLE_NAME = "non_lora_trainables.bin"
"""File that LLaVA's trainer saves next to the adapter: tensors that were trained as a whole."""
_PREFIX = "base_model.model."
_SIDE = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(?:\.[^.]+)?\.weight")
_UNLESS: dict[str, tuple[Any, ...]] = {
    "fan_in_fan_out": (False, None),
    "use_dora": (False, None),
    "lora_bias": (False, None),
    "use_qalora": (False, None),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, []),
    "target_parameters": (None, []),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
    "loftq_config": (None, {}),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None,),
    "use_rslora": (True, False, None),
}
"""Settings that change what an adapter means, and the values under which it is a plain sum. The initialisations left
out (PiSSA, OLoRA, LoftQ, ...) change the base weights, too, which the adapter's file does not hold."""


@dataclass(frozen=True)
class LoraPair:
    """One adapted weight's two factors."""

    down: StoredTensor
    """A [r, in]."""
    up: StoredTensor
    """B [out, r]."""
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the weight that this pair fits."""
        return self.up.shape[0], self.down.shape[1]

    def merged(self, weight: torch.Tensor) -> torch.Tensor:
        """Return W + (B @ A) * scale in float32."""
        return weight.float() + (self.up.read().float() @ self.down.read().float()) * self.scale


@dataclass(frozen=True)
class Adapter:
    """A directory that PEFT wrote: factors by the name of the weight they adapt, and tensors that replace others."""

    directory: Path
    pairs: dict[str, LoraPair]
    whole: StoredTensors


def open_adapter(directory: Path, stack: ExitStack) -> Adapter:
    """Open an adapter's directory.

    Raises CheckpointError for one that is incomplete, or whose settings mean more than a sum, each named.
    """
    settings = _settings(directory / CONFIG_NAME)
    file = next((directory / name for name in WEIGHTS_NAMES if (directory / name).is_file()), None)
    if file is None:
        raise CheckpointError(f"{directory}: none of {', '.join(WEIGHTS_NAMES)} is there")
    stored = _without_prefix(tensors_of_file(file, stack))
    if (directory / WHOLE_NAME).is_file():
        stored |= _without_prefix(tensors_of_file(directory / WHOLE_NAME, stack))
    sides = {name: match for name in stored if (match := _SIDE.fullmatch(name))}
    halves = {(match["module"], match["side"]): stored[name] for name, match in sides.items()}
    modules = dict.fromkeys(module for module, _ in halves)
    alone = [module for module in modules if not {(module, "A"), (module, "B")} <= halves.keys()]
    if alone or not modules or len(halves) < len(sides):
        problem = f"no other half of {alone[0]}" if alone else "holds no LoRA factors, or those of two adapters"
        raise CheckpointError(f"{file}: {problem}")
    pairs = {
        f"{module}.weight": _pair(settings, module, halves[module, "A"], halves[module, "B"]) for module in modules
    }
    return Adapter(directory, pairs, {name: tensor for name, tensor in stored.items() if name not in sides})


def _settings(path: Path) -> dict[str, Any]:
    settings = read_json(path, "an adapter is the directory that PEFT saved")
    if not isinstance(settings, dict) or settings.get("peft_type") != "LORA":
        kind = settings.get("peft_type") if isinstance(settings, dict) else type(settings).__name__
        raise CheckpointError(f"{path}: peft_type is {kind!r}; only LORA can be merged")
    refused = [
        f"{name} = {settings[name]!r}"
        for name, plain in _UNLESS.items()
        if name in settings and settings[name] not in plain
    ]
    if refused:
        raise CheckpointError(
            f"{path}: cannot be merged as W + scale B A with {', '.join(refused)}; merge it with peft"
        )
    return settings


def _without_prefix(tensors: StoredTensors) -> StoredTensors:
    """Strip PEFT's wrapping and the name of a module that was saved as a whole."""
    return {
        name.removeprefix(_PREFIX).replace(".modules_to_save.default.", "."): tensor for name, tensor in tensors.items()
    }


def _pair(settings: Mapping[str, Any], module: str, down: StoredTensor, up: StoredTensor) -> LoraPair:
    module_of = f"{down.path.parent / CONFIG_NAME}: {module}"
    if len(down.shape) != 2 or len(up.shape) != 2 or down.shape[0] != up.shape[1]:
        raise CheckpointError(f"{module_of}: factors {list(down.shape)} and {list(up.shape)} do not multiply")
    rank = _by_pattern(settings, "rank_pattern", module, settings.get("r"))
    alpha = _by_pattern(settings, "alpha_pattern", module, settings.get("lora_alpha"))
    if rank != down.shape[0] or rank == 0:
        raise CheckpointError(f"{module_of}: the rank is {rank!r} there, and {down.shape[0]} in {down.path.name}")
    if not isinstance(alpha, int | float) or not abs(alpha) < 1e6:
        raise CheckpointError(f"{module_of}: lora_alpha is {str(alpha)[:20]!r}, not a usable number")
    return LoraPair(down, up, alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank))


def _by_pattern(settings: Mapping[str, Any], table: str, module: str, default: Any) -> Any:
    """Look a module up as PEFT does: the first pattern that is its name's end counts."""
    patterns = settings.get(table) or {}
    try:
        return next((value for key, value in patterns.items() if re.fullmatch(rf"(.*\.)?({key})", module)), default)
    except (re.error, AttributeError, TypeError) as error:
        raise CheckpointError(f"{CONFIG_NAME}: {table} is not a table of patterns: {error}") from error
