"""The language model of a checkpoint as GGUF, for llama.cpp.

Names and metadata follow gguf-py's architectures ``llama`` and ``qwen2``. Of a LLaMA, llama.cpp rotates neighbouring
rows of q and k where transformers rotates row i with row i + half, so their rows are interleaved here (``permute`` of
llama.cpp's ``convert_hf_to_gguf.py``); of a Qwen2 both rotate alike. Columns keep their order, and so do statistics of
columns.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emo_edge.errors import CheckpointError
from emo_edge.export.configs.networks import LanguageConfig
from emo_edge.export.gguf.file_types import FILE_TYPES
from emo_edge.export.gguf.vocabulary import add_tokenizer
from emo_edge.export.reference.tensor_files import tensors_of_directory
from emo_edge.export.reference.weights import all_finite, open_weights, structure_problems, weight_files
from emo_edge.storage.output_files import new_file
from emo_edge.utils.prefetch import computed_ahead

PREFIX = "language."
WRITTEN_TYPES = {"f32": torch.float32, "f16": torch.float16}
"""Types that a checkpoint is written in; every other file type is quantized from such a file."""


@dataclass(frozen=True)
class Weight:
    """One tensor: its name in the checkpoint (after the prefix) and in GGUF, its shape, its heads if rotated."""

    source: str
    target: str
    shape: tuple[int, ...]
    heads: int = 0


def gguf_from_checkpoint(
    directory: Path,
    config: LanguageConfig,
    out: Path,
    *,
    file_type: str = "f16",
    name: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write the checkpoint's language model as GGUF, two tensors in memory at a time: one is read, one is written.

    Matrices become ``file_type`` (f16 or f32), norms stay f32. ``progress`` gets the bytes written so far and in all.
    Raises CheckpointError for weights that are missing, misshapen or not finite in that type, for a tokenizer that
    llama.cpp would read differently, and if ``out`` is there already.
    """
    import gguf

    if file_type not in WRITTEN_TYPES:
        raise CheckpointError(f"a checkpoint is written as {' or '.join(WRITTEN_TYPES)}, not {file_type}: quantize it")
    weights, dtype = _weights(config), WRITTEN_TYPES[file_type]
    with ExitStack() as stack:
        stored = _stored_weights(directory, weights, stack)
        partial = stack.enter_context(new_file(out))
        writer = stack.enter_context(closing(gguf.GGUFWriter(partial, config.architecture)))
        _add_metadata(writer, config, name, FILE_TYPES[file_type])
        add_tokenizer(writer, directory, config)
        total = done = 0
        for weight in weights:
            kind = np.dtype(np.float16 if _dtype(weight, dtype) == torch.float16 else np.float32)
            size = int(np.prod(weight.shape)) * kind.itemsize
            writer.add_tensor_info(weight.target, weight.shape, kind, size)
            total += size
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()

        def read(weight: Weight) -> NDArray[Any]:
            return _converted(stored[weight.source].get_tensor(PREFIX + weight.source), weight, dtype)

        for data in computed_ahead(read, weights):
            writer.write_tensor_data(data)
            done += data.nbytes
            progress(done, total)
    return out


def lossless_type(directory: Path) -> str:
    """Return the smallest of `WRITTEN_TYPES` that holds the language model's matrices without rounding."""
    with ExitStack() as stack:
        stored = tensors_of_directory(directory, stack).items()
        kinds = {one.dtype for name, one in stored if name.startswith(PREFIX) and len(one.shape) > 1}
    return "f16" if kinds == {torch.float16} else "f32"


def _weights(config: LanguageConfig) -> list[Weight]:
    hidden, inner, rows = config.hidden_size, config.intermediate_size, config.vocab_size
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    shared = hidden // heads * kv_heads
    llama = config.architecture == "llama"
    layer = (
        ("input_layernorm.weight", "attn_norm.weight", (hidden,), 0),
        ("self_attn.q_proj.weight", "attn_q.weight", (hidden, hidden), heads if llama else 0),
        ("self_attn.k_proj.weight", "attn_k.weight", (shared, hidden), kv_heads if llama else 0),
        ("self_attn.v_proj.weight", "attn_v.weight", (shared, hidden), 0),
        *(
            (f"self_attn.{part}_proj.bias", f"attn_{part}.bias", (rows_of,), 0)
            for part, rows_of in (() if llama else (("q", hidden), ("k", shared), ("v", shared)))
        ),
        ("self_attn.o_proj.weight", "attn_output.weight", (hidden, hidden), 0),
        ("post_attention_layernorm.weight", "ffn_norm.weight", (hidden,), 0),
        ("mlp.gate_proj.weight", "ffn_gate.weight", (inner, hidden), 0),
        ("mlp.up_proj.weight", "ffn_up.weight", (inner, hidden), 0),
        ("mlp.down_proj.weight", "ffn_down.weight", (hidden, inner), 0),
    )
    return [
        Weight("model.embed_tokens.weight", "token_embd.weight", (rows, hidden)),
        *(
            Weight(f"model.layers.{index}.{source}", f"blk.{index}.{target}", shape, rotated)
            for index in range(config.num_hidden_layers)
            for source, target, shape, rotated in layer
        ),
        Weight("model.norm.weight", "output_norm.weight", (hidden,)),
        *([] if config.tie_word_embeddings else [Weight("lm_head.weight", "output.weight", (rows, hidden))]),
    ]


def _stored_weights(directory: Path, weights: list[Weight], stack: ExitStack) -> dict[str, Any]:
    """Open the checkpoint's files: name after the prefix to the file that holds it."""
    files = [stack.enter_context(open_weights(path)) for path in weight_files(directory)]
    stored = {
        name.removeprefix(PREFIX): file
        for file in files
        for name in file.keys()  # noqa: SIM118 - safe_open is no mapping
        if name.startswith(PREFIX)
    }
    shapes = {name: tuple(file.get_slice(PREFIX + name).get_shape()) for name, file in stored.items()}
    problems = list(structure_problems({weight.source: weight.shape for weight in weights}, shapes))
    if problems:
        listing = "\n".join(f"  {problem}" for problem in sorted(problems))
        raise CheckpointError(f"{directory}: {len(problems)} problem(s) in the weights of {PREFIX}*:\n{listing}")
    return stored


def _dtype(weight: Weight, dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if len(weight.shape) == 1 else dtype


def _converted(stored: Tensor, weight: Weight, dtype: torch.dtype) -> NDArray[Any]:
    tensor = stored.to(_dtype(weight, dtype))
    if not stored.is_floating_point() or not all_finite(tensor):
        raise CheckpointError(f"not finite: {PREFIX}{weight.source} ({stored.dtype}), written as {tensor.dtype}")
    if weight.heads:
        rows, columns = tensor.shape
        halves = tensor.view(weight.heads, 2, rows // weight.heads // 2, columns)
        tensor = halves.transpose(1, 2).reshape(rows, columns)
    data: NDArray[Any] = tensor.contiguous().numpy()
    return data


def _add_metadata(writer: Any, config: LanguageConfig, name: str, file_type: int) -> None:
    import gguf

    writer.add_name(name)
    writer.add_type("model")
    writer.add_file_type(file_type)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_theta)
    if config.rope_factor > 1:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_factor)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
