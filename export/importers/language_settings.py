"""The language model's settings in a ``config.json``, as transformers 4 and 5 write it, LLaVA and its relatives too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError
from emo_edge.export.importers.tensors import listing
from emo_edge.export.reference.tensor_files import StoredTensors
from emo_edge.utils.files import read_json

LANGUAGE_DEFAULTS = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""Settings that transformers' LLaMA config and ours call alike, with transformers' values where a config has none."""
QWEN2_DEFAULTS = {
    **LANGUAGE_DEFAULTS,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "bos_token_id": 0,
    "eos_token_id": None,
}
"""The same of a Qwen2, which has no begin-of-sequence token; its end is the tokenizer's where a config has none."""
QWEN2 = "qwen2"
ARCHITECTURE = "language_architecture"
"""Our name for llama.cpp's name of the language model, `QWEN2` or llama."""
_STACK = r"(?:language_model\.model\.|model\.language_model\.|model\.)"
"""Before the decoder's names: transformers 4 before 4.52 inside LLaVA, from 4.52 on, and LLaMA alone."""
LANGUAGE_RENAMES = {
    rf"{_STACK}(embed_tokens\.weight|norm\.weight)": r"language.model.\1",
    rf"{_STACK}(layers\.\d+\.(?:self_attn|mlp|\w+_layernorm)\.(?!rotary).*)": r"language.model.\1",
    r"(?:language_model\.)?(lm_head\.weight)": r"language.\1",
}
LANGUAGE_UNUSED = {rf"{_STACK}(?:layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq": "computed from rope_theta"}
POSITIONS_UNUSED = {r".*\.position_ids": "positions are counted, not stored"}
EMBEDDINGS, OUTPUT = "language.model.embed_tokens.weight", "language.lm_head.weight"
PLAIN = {
    "attention_bias": False,
    "mlp_bias": False,
    "hidden_act": "silu",
    "use_sliding_window": False,
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch",
}
"""Settings that this toolkit carries in one value only."""
MOST_FACTOR = 1024
TRAINED_LENGTH = "trained_length"
"""Our name for the length that the tokenizer's settings hold."""


def model_settings(
    path: Path,
    own_problems: Callable[[Mapping[str, Any]], Iterator[str]],
    renamed: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> dict[str, Any]:
    """Read a model's ``config.json``; raise CheckpointError for settings that this toolkit does not carry.

    The rotary embedding's settings stand where transformers 4 has them, ``rope_theta`` and ``rope_scaling``.

    Args:
        path: of the file.
        own_problems: yields those of the family.
        renamed: gives the settings other names, before anything is checked.
    """
    settings = read_json(path, "`model` is the directory that the model's trainer saved")
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path}: not a model's config but {type(settings).__name__}")
    settings = renamed(with_flat_rope(settings))
    problems = [*own_problems(settings), *_not_carried(settings)]
    if problems:
        raise CheckpointError(f"{path}: {len(problems)} setting(s) that cannot be imported:\n{listing(problems)}")
    return settings


def with_flat_rope(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings whose ``rope_parameters`` (transformers 5) are ``rope_theta`` and ``rope_scaling``."""
    flat = dict(settings)
    rope = flat.pop("rope_parameters", None)
    if isinstance(rope, dict):
        flat |= {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}
        flat["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    elif rope is not None:
        flat["rope_scaling"] = rope
    return flat


def rope_factor(settings: Mapping[str, Any]) -> float | None:
    """Return what positions are divided by: 1 without scaling; None for a scaling that is not linear."""
    scaling = settings.get("rope_scaling")
    if scaling is None:
        return 1.0
    kind = (scaling.get("rope_type") or scaling.get("type")) if isinstance(scaling, dict) else None
    if kind == "default":
        return 1.0
    factor = scaling.get("factor") if isinstance(scaling, dict) else None
    known = kind == "linear" and isinstance(factor, int | float) and 1 <= factor <= MOST_FACTOR
    return float(factor) if known and factor is not None else None


def _not_carried(settings: Mapping[str, Any]) -> Iterator[str]:
    layers = settings.get("num_hidden_layers", 0)
    if not isinstance(layers, int) or layers > 1000:
        yield f"num_hidden_layers {str(layers)[:20]!r}: no number of layers"
    width, heads, size = (settings.get(name) for name in ("hidden_size", "num_attention_heads", "head_dim"))
    if size is not None and isinstance(width, int) and isinstance(heads, int) and size * heads != width:
        yield f"head_dim {str(size)[:20]}: only hidden_size / num_attention_heads is known"
    if rope_factor(settings) is None:
        yield f"rope_scaling {str(settings['rope_scaling'])[:80]}: only linear scaling, by 1 or more, is known"
    for name, plain in PLAIN.items():
        if settings.get(name, plain) != plain:
            yield f"{name} {settings[name]!r}: only {plain!r} is known"


class Shapes:
    """Sizes read off tensors; what is missing is collected and reported at once."""

    def __init__(self, tensors: StoredTensors) -> None:
        self.shapes = {name: tensor.shape for name, tensor in tensors.items()}
        self.missing = dict[str, None]()

    def size(self, name: str, axis: int) -> int:
        """Return one size of the checkpoint's tensor ``name``; 1 for one that is missing."""
        shape = self.shapes.get(name, ())
        if len(shape) <= axis:
            self.missing[name] = None
            return 1
        return shape[axis]

    def check(self, problems: Sequence[str]) -> None:
        """Raise CheckpointError, listing ``problems`` too, if tensors are missing that a size is read from."""
        if self.missing:
            lines = [*problems, *(f"missing: {name}, which tells a size" for name in self.missing)]
            raise CheckpointError(f"{len(lines)} problem(s) in the weights:\n" + listing(lines))


def language_config(settings: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """Return the language model's sizes by ``config.json`` and the embedding's shape, as ``LanguageConfig``'s keys."""
    qwen2 = settings.get(ARCHITECTURE) == QWEN2
    defaults = QWEN2_DEFAULTS if qwen2 else LANGUAGE_DEFAULTS
    values = {name: settings.get(name, plain) for name, plain in defaults.items()}
    # Older configs do not hold the number of key and value heads, which is then that of the queries.
    own = settings.get("num_key_value_heads", values.get("num_key_value_heads"))
    values["num_key_value_heads"] = own or values["num_attention_heads"]
    if qwen2 and values["bos_token_id"] is None:
        values["bos_token_id"] = 0
    return {
        **values,
        "architecture": QWEN2 if qwen2 else "llama",
        "bos_place": "none" if qwen2 else "first",
        "vocab_size": shapes.size(EMBEDDINGS, 0),
        "rope_factor": rope_factor(settings),
        "max_position_embeddings": _positions(settings, values["max_position_embeddings"]),
        "tie_word_embeddings": tied(settings),
    }


def tied(settings: Mapping[str, Any]) -> bool:
    """Return whether the output matrix is the table of embeddings."""
    return bool(settings.get("tie_word_embeddings", False))


def without_tied_output(
    tensors: StoredTensors, settings: Mapping[str, Any], report: Callable[[str], None]
) -> StoredTensors:
    """Leave the output matrix out where the config ties it to the embeddings, as transformers does."""
    if not (tied(settings) and OUTPUT in tensors):
        return tensors
    report("  lm_head.weight: left out, the config ties it to the embeddings")
    return {name: stored for name, stored in tensors.items() if name != OUTPUT}


def _positions(settings: Mapping[str, Any], trained: Any) -> Any:
    """Count positions: linear scaling stretches those of the base model up to the length that was trained with it.

    LLaMA-VID's and FastChat's trainers leave ``max_position_embeddings`` as it is and save the length apart.
    """
    lengths = [settings.get(name) for name in (TRAINED_LENGTH, "tokenizer_model_max_length", "max_sequence_length")]
    length, factor = next((one for one in lengths if isinstance(one, int)), None), rope_factor(settings)
    if not isinstance(trained, int) or length is None or factor is None:
        return trained
    return max(trained, min(length, int(trained * factor)))
