"""Write both files of a random VLM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from emo_edge.benchmarks.random_vlm.vocabulary import Vocabulary
from emo_edge.utils.files import replaced_file

SUFFIXES = (".weight", ".bias")
NAMED_BLOCKS = 8
"""Blocks of a tower, and layers of a projector, that the table of names covers."""
HEAD = "lm_head"
NAME = "random weights"
STD = 0.08
"""Of the weights: large enough that different pictures give different labels."""
Rename = Callable[[str, torch.Tensor], Mapping[str, torch.Tensor] | None]
"""Returns the tensors of the file that one of transformers' becomes; None leaves it to the converter's table."""


@dataclass(frozen=True)
class RandomVlm:
    """A model, and how llama.cpp's converter describes it."""

    model: Any
    """Of transformers, float32."""
    vocabulary: Vocabulary
    chat_template: str
    architecture: Any
    """`gguf.MODEL_ARCH` of the language model."""
    projector: str
    """``clip.projector_type``."""
    side: int
    """Pixels of a picture that needs no resizing."""
    vision: Mapping[str, int | float]
    """Keys below ``clip.vision.``."""
    clip: Mapping[str, bool] = field(default_factory=dict)
    """Keys below ``clip.``."""
    feature_layer: int | None = None
    """The one that the projector reads, counted from the tower's input on."""
    language_prefix: str = "model.language_model."
    vision_prefixes: tuple[str, ...] = ()
    rope_sections: tuple[int, ...] = ()
    rename: Rename = lambda name, tensor: None
    mean: float = 0.5
    deviation: float = 0.5
    published: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None
    """Returns the weights by the names of the authors' checkpoints, where transformers saves them by others."""
    released: Mapping[str, Any] = field(default_factory=dict)
    """Keys of ``config.json`` that released checkpoints of the family have and transformers does not write."""
    preprocessor: Mapping[str, Any] = field(default_factory=dict)
    """Keys of ``preprocessor_config.json`` besides mean and deviation."""
    pinpoints: tuple[tuple[int, int], ...] = ()
    """Widths and heights that a picture is resized to and cut into tiles: ``image_grid_pinpoints`` of LLaVA-NeXT."""


def write_random_vlm(vlm: RandomVlm, model: Path, mmproj: Path, *, file_type: str = "f32") -> None:
    """Write both files; ``file_type`` is that of the language model's matrices, f32 or f16."""
    with replaced_file(model) as partial:
        _write_language(vlm, partial, np.dtype(np.float16 if file_type == "f16" else np.float32))
    with replaced_file(mmproj) as partial:
        _write_vision(vlm, partial)


def randomize(model: Any, seed: int) -> Any:
    """Give every matrix of a model of transformers normal weights; norms stay as they are."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, STD, generator=generator)
    return model.eval()


def _write_language(vlm: RandomVlm, path: Path, dtype: np.dtype[Any]) -> None:
    config = vlm.model.config.get_text_config()
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[vlm.architecture])
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_file_type(1 if dtype == np.float16 else 0)
    if vlm.rope_sections:
        writer.add_rope_dimension_sections(vlm.rope_sections)
    if vlm.architecture in (gguf.MODEL_ARCH.LLAMA, gguf.MODEL_ARCH.GEMMA3):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if vlm.architecture == gguf.MODEL_ARCH.LLAMA:
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(config.head_dim)
    if vlm.architecture == gguf.MODEL_ARCH.GEMMA3:
        writer.add_sliding_window(config.sliding_window)
        writer.add_rope_freq_base_swa(config.rope_local_base_freq)
    vlm.vocabulary.write(writer)
    writer.add_chat_template(vlm.chat_template)
    names = gguf.get_tensor_name_map(vlm.architecture, config.num_hidden_layers)
    for name, tensor in vlm.model.state_dict().items():
        if name.startswith(HEAD) and config.tie_word_embeddings:
            continue
        if name.startswith((vlm.language_prefix, HEAD)):
            own = name if name.startswith(HEAD) else "model." + name.removeprefix(vlm.language_prefix)
            values = _as_stored(vlm, own, tensor, config)
            stored = names.get_name(own, SUFFIXES)
            writer.add_tensor(stored, values.numpy().astype(dtype if values.dim() > 1 else np.float32))
    _finish(writer)


def _as_stored(vlm: RandomVlm, name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    """Return queries and keys of a LLaMA as llama.cpp rotates them, and norms of a Gemma as it multiplies them.

    A LLaMA's pairs are neighbours in the file, halves of a head in transformers, which adds one to Gemma's norms.
    """
    if vlm.architecture == gguf.MODEL_ARCH.GEMMA3 and name.endswith("norm.weight"):
        return tensor + 1
    if vlm.architecture != gguf.MODEL_ARCH.LLAMA or not name.endswith(("q_proj.weight", "k_proj.weight")):
        return tensor
    heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
    rows, columns = tensor.shape
    return tensor.view(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _write_vision(vlm: RandomVlm, path: Path) -> None:
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_uint32("general.file_type", 0)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", vlm.projector)
    for name, value in vlm.clip.items():
        writer.add_bool(f"clip.{name}", value)
    if vlm.feature_layer is not None:
        writer.add_array("clip.vision.feature_layer", [vlm.feature_layer])
    if vlm.pinpoints:
        writer.add_array("clip.vision.image_grid_pinpoints", [side for size in vlm.pinpoints for side in size])
    for name, number in vlm.vision.items():
        (writer.add_float32 if isinstance(number, float) else writer.add_uint32)(f"clip.vision.{name}", number)
    writer.add_array("clip.vision.image_mean", [vlm.mean] * 3)
    writer.add_array("clip.vision.image_std", [vlm.deviation] * 3)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, NAMED_BLOCKS)
    for name, tensor in vlm.model.state_dict().items():
        if not name.startswith(vlm.vision_prefixes):
            continue
        renamed = vlm.rename(name, tensor)
        if renamed is None:
            stored = names.get_name(name.removeprefix("model."), SUFFIXES) or names.get_name(name, SUFFIXES)
            if stored is None:
                raise ValueError(f"llama.cpp's table has no name for {name}")
            renamed = {stored: tensor}
        for stored, values in renamed.items():
            writer.add_tensor(stored, values.contiguous().numpy().astype(np.float32))
    _finish(writer)


def _finish(writer: Any) -> None:
    writer.add_name(NAME)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_size_label(gguf.size_label(*writer.get_total_parameter_count()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
