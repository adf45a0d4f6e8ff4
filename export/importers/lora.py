"""LoRA adapters of PEFT: read, checked against the base, merged one weight at a time.

The merged weight is W + (B @ A) * scale in float32, in PEFT's own order of operations (``peft/tuners/lora/layer.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from emo_edge.errors import CheckpointError
from emo_edge.export.importers.key_map import without_wrappings
from emo_edge.export.reference.tensor_files import StoredTensor, StoredTensors, tensors_of_file
from emo_edge.utils.files import read_json

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAMES = ("adapter_model.safetensors", "adapter_model.bin")
WHOLE_NAME = "non_lora_trainables.bin"
"""File that LLaVA's trainer saves next to the adapter: tensors that were trained as a whole."""
_NAME = re.compile(r"\^?(?:[A-Za-z0-9_-]|\\?\.|\\-)+\$?")
"""Key of a pattern table that is the name of a module; a dot in it stands for itself, escaped or not."""
_SIDE = re.compile(
    r"(?P<module>.+)\.lora_(?:(?P<side>[AB])(?:\.[^.]+)?\.weight|embedding_(?P<embedding>[AB])(?:\.[^.]+)?)"
)
"""A factor of a linear, or of a table of embeddings, whose product is transposed."""
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
_HARMLESS = frozenset(
    (
        "alpha_pattern",
        "auto_mapping",
        "base_model_name_or_path",
        "bias",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "megatron_config",
        "megatron_core",
        "modules_to_save",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",
        "runtime_config",
        "target_modules",
        "task_type",
    )
)
"""Settings that say how an adapter was trained or loaded, or that are read elsewhere. Of a setting that is in neither
list a newer PEFT may mean anything (KaSA, BD-LoRA, VeLoRA, ...)."""


@dataclass(frozen=True)
class LoraPair:
    """One adapted weight's two factors."""

    down: StoredTensor
    """A [r, in]."""
    up: StoredTensor
    """B [out, r]."""
    scale: float
    transposed: bool = False
    """True of a table of embeddings, whose rows are A's columns."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the weight that this pair fits."""
        rows, columns = self.up.shape[0], self.down.shape[1]
        return (columns, rows) if self.transposed else (rows, columns)

    def merged(self, weight: torch.Tensor) -> torch.Tensor:
        """Return W + (B @ A) * scale in float32."""
        product = self.up.read().float() @ self.down.read().float()
        return weight.float() + (product.T if self.transposed else product) * self.scale


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
    halves = {(match["module"], match["side"] or match["embedding"]): stored[name] for name, match in sides.items()}
    tables = {match["module"] for match in sides.values() if match["embedding"]}
    modules = dict.fromkeys(module for module, _ in halves)
    alone = [module for module in modules if not {(module, "A"), (module, "B")} <= halves.keys()]
    if alone or not modules or len(halves) < len(sides):
        problem = f"no other half of {alone[0]}" if alone else "holds no LoRA factors, or those of two adapters"
        raise CheckpointError(f"{file}: {problem}")
    scales = _Scales(settings)
    pairs = {
        f"{module}.weight": replace(
            scales.pair(module, halves[module, "A"], halves[module, "B"]), transposed=module in tables
        )
        for module in modules
    }
    return Adapter(directory, pairs, {name: tensor for name, tensor in stored.items() if name not in sides})


def _settings(path: Path) -> dict[str, Any]:
    settings = read_json(path, "an adapter is the directory that PEFT saved")
    if not isinstance(settings, dict) or settings.get("peft_type") != "LORA":
        kind = settings.get("peft_type") if isinstance(settings, dict) else type(settings).__name__
        raise CheckpointError(f"{path}: peft_type is {kind!r:.60}; only LORA can be merged")
    refused = [
        f"{name} = {settings[name]!r:.60}"
        for name, plain in _UNLESS.items()
        if name in settings and settings[name] not in plain
    ]
    newer = sorted(settings.keys() - _UNLESS.keys() - _HARMLESS)
    refused += [f"{name[:60]} = {settings[name]!r:.60}" for name in newer if settings[name]]
    if refused:
        raise CheckpointError(
            f"{path}: cannot be merged as W + scale B A with {', '.join(refused)}; merge it with peft"
        )
    return settings


def _without_prefix(tensors: StoredTensors) -> StoredTensors:
    """Strip the wrappings, the name of a module that was saved as a whole, and that of an adapted module's own."""
    plain = {without_wrappings(name): tensor for name, tensor in tensors.items()}
    return {
        name.replace(".modules_to_save.default.", ".").replace(".base_layer.", "."): tensor
        for name, tensor in plain.items()
    }


class _Scales:
    """The factor of each module's product, from an adapter's settings."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._ranks = _NamedValues(settings, "rank_pattern", settings.get("r"))
        self._alphas = _NamedValues(settings, "alpha_pattern", settings.get("lora_alpha"))
        self._by_root = bool(settings.get("use_rslora"))

    def pair(self, module: str, down: StoredTensor, up: StoredTensor) -> LoraPair:
        """Join a module's two factors; raise CheckpointError unless they multiply, with the rank of the settings."""
        module_of = f"{down.path.parent / CONFIG_NAME}: {module}"
        if len(down.shape) != 2 or len(up.shape) != 2 or down.shape[0] != up.shape[1]:
            raise CheckpointError(f"{module_of}: factors {list(down.shape)} and {list(up.shape)} do not multiply")
        rank, alpha = self._ranks.of(module), self._alphas.of(module)
        if not isinstance(rank, int) or rank != down.shape[0] or rank == 0:
            raise CheckpointError(
                f"{module_of}: the rank is {rank!r:.20} there, and {down.shape[0]} in {down.path.name}"
            )
        if not isinstance(alpha, int | float) or not abs(alpha) < 1e6:
            raise CheckpointError(f"{module_of}: lora_alpha is {str(alpha)[:20]!r}, not a usable number")
        return LoraPair(down, up, alpha / (math.sqrt(rank) if self._by_root else rank))


class _NamedValues:
    """A table of PEFT that gives some modules a rank or an alpha of their own.

    PEFT runs its keys as regular expressions, which a stranger's file may not have here: one of 30 characters can take
    hours. Its own writers write names of modules, whole or their ends, and those are compared as they are.
    """

    def __init__(self, settings: Mapping[str, Any], field: str, default: Any) -> None:
        table = settings.get(field) or {}
        if not isinstance(table, dict):
            raise CheckpointError(f"{CONFIG_NAME}: {field} is not a table of modules but {type(table).__name__}")
        if strange := [key for key in table if not _NAME.fullmatch(key)]:
            raise CheckpointError(
                f"{CONFIG_NAME}: {field} has {strange[0][:60]!r}, a regular expression; only names of modules are "
                "read. Merge the adapter with peft, or write the names out"
            )
        self._default = default
        self._values: dict[str, tuple[int, Any]] = {}
        for place, (key, value) in enumerate(table.items()):
            self._values.setdefault(_plain_name(key), (place, value))

    def of(self, module: str) -> Any:
        """Look a module up as PEFT does: the first key that is its name, or its end after a dot, counts."""
        if not self._values:
            return self._default
        parts = module.split(".")
        ends = [f"^{module}", *(".".join(parts[start:]) for start in range(len(parts)))]
        return min((self._values[end] for end in ends if end in self._values), default=(0, self._default))[1]


def _plain_name(key: str) -> str:
    """Return a key without the marks that change nothing; ``^`` stays, for it binds the whole name."""
    return key.removesuffix("$").replace("\\", "")
