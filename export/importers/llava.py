"""Common parts of models built on LLaVA: LLaMA's names, the settings of ``config.json``, joined pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from emo_edge.errors import CheckpointError
from emo_edge.export.importers.key_map import Piece
from emo_edge.export.importers.tensors import listing
from emo_edge.export.reference.tensor_files import StoredTensors
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME, LanguageTokenizer
from emo_edge.utils.files import read_json

VISION = "vision."
CLIP_RESAMPLE = "pil_bicubic"
"""transformers' ``CLIPImageProcessor``, through which LLaVA and LLaMA-VID read pictures (``resample`` 3)."""
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
LANGUAGE_RENAMES = {
    r"(model\.embed_tokens\.weight|model\.norm\.weight|lm_head\.weight)": r"language.\1",
    r"(model\.layers\.\d+\.(?:self_attn|mlp|\w+_layernorm)\.(?!rotary).*)": r"language.\1",
}
LANGUAGE_UNUSED = {r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq": "computed from rope_theta"}
POSITIONS_UNUSED = {r".*\.position_ids": "positions are counted, not stored"}
PLAIN = {
    "rope_scaling": None,
    "rope_parameters": None,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "hidden_act": "silu",
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch",
}
"""Settings that this toolkit carries in one value only."""


def model_settings(path: Path, own_problems: Callable[[Mapping[str, Any]], Iterator[str]]) -> dict[str, Any]:
    """Read a model's ``config.json``; raise CheckpointError for settings that this toolkit does not carry."""
    settings = read_json(path, "`model` is the directory that the model's trainer saved")
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path}: not a model's config but {type(settings).__name__}")
    problems = [*own_problems(settings), *_not_carried(settings)]
    if problems:
        raise CheckpointError(f"{path}: {len(problems)} setting(s) that cannot be imported:\n{listing(problems)}")
    return settings


def _not_carried(settings: Mapping[str, Any]) -> Iterator[str]:
    layers = settings.get("num_hidden_layers", 0)
    if not isinstance(layers, int) or layers > 1000:
        yield f"num_hidden_layers {str(layers)[:20]!r}: no number of layers"
    for name, plain in PLAIN.items():
        if settings.get(name, plain) != plain:
            yield f"{name} {settings[name]!r}: only {plain!r} is known"


def squaring(settings: Mapping[str, Any]) -> str:
    """Return ``VisionConfig.squaring`` by LLaVA's ``image_aspect_ratio``; without "pad" CLIP's processor cuts."""
    return "padded" if settings.get("image_aspect_ratio") == "pad" else "centred"


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
    """Return LLaMA's sizes by ``config.json`` and the embedding's shape, as ``LanguageConfig``'s keys."""
    # Older configs do not hold the number of key and value heads, which is then that of the queries.
    heads = settings.get("num_attention_heads", LANGUAGE_DEFAULTS["num_attention_heads"])
    return {
        **{name: settings.get(name, plain) for name, plain in LANGUAGE_DEFAULTS.items()},
        "num_key_value_heads": settings.get("num_key_value_heads") or heads,
        "vocab_size": shapes.size("language.model.embed_tokens.weight", 0),
    }


def joined(opened: Sequence[Piece], report: Callable[[str], None]) -> StoredTensors:
    """Take every tensor from the last piece that has it, and report where two had one."""
    tensors: StoredTensors = {}
    for piece in opened:
        for line in piece.lines():
            report(line)
        twice = [name for name in piece.tensors if name in tensors]
        if twice:
            differing = sum(not _same(tensors[name].read(), piece.tensors[name].read()) for name in twice)
            report(f"  {len(twice)} of them were there before; {piece.name} wins, {differing} differ")
        if any(name.startswith(VISION) for name in piece.tensors):
            # Half a tower is never filled up from another.
            tensors = {name: stored for name, stored in tensors.items() if not name.startswith(VISION)}
        tensors |= piece.tensors
    return tensors


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Compare in the coarser of the two types: one file may be the other, rounded."""
    coarse = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    return one.shape == other.shape and torch.equal(one.to(coarse), other.to(coarse))


def language_tokenizer(model: Path, rows: int) -> dict[str, bytes]:
    """Return LLaMA's ``tokenizer.model`` by its name; raise CheckpointError if it is missing or another model's."""
    path = model / LANGUAGE_MODEL_NAME
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; copy it from Vicuna's or the model's own directory")
    known = len(LanguageTokenizer(model))
    if known > rows:
        raise CheckpointError(f"{path}: {known} pieces, the model has {rows} rows; it is another model's")
    return {LANGUAGE_MODEL_NAME: path.read_bytes()}
