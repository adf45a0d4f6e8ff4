"""The language model of a checkpoint as GGUF, and GGUF at fewer bits, for llama.cpp.

Names and metadata follow gguf-py's LLaMA architecture. llama.cpp rotates neighbouring rows of q and k where
transformers rotates row i with row i + half, so their rows are interleaved here (``permute`` of llama.cpp's
``convert_hf_to_gguf.py``). Columns keep their order, and so do statistics of columns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from ctypes import byref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.checkpoint import all_finite, open_weights, structure_problems, weight_files
from emo_edge.export.config import LanguageConfig
from emo_edge.export.tensor_files import tensors_of_directory
from emo_edge.export.text import LanguageTokenizer
from emo_edge.runtimes.llama_probe import library, native_errors

PREFIX = "language."
WRITTEN_TYPES = {"f32": torch.float32, "f16": torch.float16}
"""What a checkpoint is written in; every other file type is made from such a file."""
FILE_TYPES = {
    "f32": 0,
    "f16": 1,
    "bf16": 32,
    "q8_0": 7,
    "q5_0": 8,
    "q5_1": 9,
    "q4_0": 2,
    "q4_1": 3,
    "iq4_nl": 25,
    "q6_k": 18,
    "q5_k_m": 17,
    "q5_k_s": 16,
    "q4_k_m": 15,
    "q4_k_s": 14,
    "q3_k_l": 13,
    "q3_k_m": 12,
    "q3_k_s": 11,
    "q2_k": 10,
    "iq4_xs": 30,
    "iq3_m": 27,
    "iq3_s": 26,
}
"""File type to llama.cpp's ``LLAMA_FTYPE`` number. Left out: formats that a model is trained in (tq, mxfp4, q1_0)."""
QUANTIZED_AT_ONCE = 1 << 29
"""Bytes of a tensor's rows that llama.cpp holds while it quantizes; its own default is 8 GiB."""
IMATRIX_TYPES = ("iq3_xs", "iq3_xxs", "iq2_m", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_m", "iq1_s", "q2_k_s")
"""File types that llama.cpp makes only from importance statistics."""
_SMALL_BLOCKS = ("q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "iq4_nl")
_BYTE_PIECES = frozenset(f"<0x{value:02X}>" for value in range(256))
_BPE = 2


@dataclass(frozen=True)
class Weight:
    """One tensor: its name in the checkpoint (after the prefix) and in GGUF, its shape, its heads if rotated."""

    source: str
    target: str
    shape: tuple[int, ...]
    heads: int = 0


def available_file_types(config: LanguageConfig) -> list[str]:
    """List the file types whose blocks divide this model's rows, from the most bits to the fewest."""
    rows = (config.hidden_size, config.intermediate_size)
    return [name for name in FILE_TYPES if all(row % _block(name) == 0 for row in rows)]


def gguf_from_checkpoint(
    directory: Path,
    config: LanguageConfig,
    out: Path,
    *,
    file_type: str = "f16",
    name: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write the checkpoint's language model as GGUF, one tensor in memory at a time.

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
        partial = stack.enter_context(_written_beside(out))
        writer = stack.enter_context(closing(gguf.GGUFWriter(partial, "llama")))
        _add_metadata(writer, config, name, FILE_TYPES[file_type])
        _add_tokenizer(writer, directory, config)
        total = done = 0
        for weight in weights:
            kind = np.dtype(np.float16 if _dtype(weight, dtype) == torch.float16 else np.float32)
            size = int(np.prod(weight.shape)) * kind.itemsize
            writer.add_tensor_info(weight.target, weight.shape, kind, size)
            total += size
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for weight in weights:
            data = _converted(stored[weight.source].get_tensor(PREFIX + weight.source), weight, dtype)
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


def quantize_gguf(source: Path, target: Path, file_type: str, *, known_finite: bool = False) -> None:
    """Make a GGUF file of fewer bits from an f16 or f32 one.

    ``known_finite`` spares a pass over the values of a file that `gguf_from_checkpoint` wrote.

    Raises CheckpointError, before the slow work, for an unknown file type, one that needs importance statistics or
    whose blocks do not divide the rows, values that are not finite (they would end the process inside llama.cpp), and
    if ``target`` is there already.
    """
    _require_offered(file_type)
    _check_source(source, file_type, known_finite)
    native = library()
    parameters = native.llama_model_quantize_default_params()
    parameters.nthread = os.cpu_count() or 1
    parameters.ftype = FILE_TYPES[file_type]
    parameters.max_buf_size = QUANTIZED_AT_ONCE
    with _written_beside(target) as partial:
        if native.llama_model_quantize(os.fsencode(source), os.fsencode(partial), byref(parameters)):
            # What is wrong with the source was refused before: this is the machine.
            raise InputError(f"{target}: llama.cpp cannot make {file_type}: {native_errors()}; is there room?")


def _weights(config: LanguageConfig) -> list[Weight]:
    hidden, inner, rows = config.hidden_size, config.intermediate_size, config.vocab_size
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    shared = hidden // heads * kv_heads
    layer = (
        ("input_layernorm", "attn_norm", (hidden,), 0),
        ("self_attn.q_proj", "attn_q", (hidden, hidden), heads),
        ("self_attn.k_proj", "attn_k", (shared, hidden), kv_heads),
        ("self_attn.v_proj", "attn_v", (shared, hidden), 0),
        ("self_attn.o_proj", "attn_output", (hidden, hidden), 0),
        ("post_attention_layernorm", "ffn_norm", (hidden,), 0),
        ("mlp.gate_proj", "ffn_gate", (inner, hidden), 0),
        ("mlp.up_proj", "ffn_up", (inner, hidden), 0),
        ("mlp.down_proj", "ffn_down", (hidden, inner), 0),
    )
    return [
        Weight("model.embed_tokens.weight", "token_embd.weight", (rows, hidden)),
        *(
            Weight(f"model.layers.{index}.{source}.weight", f"blk.{index}.{target}.weight", shape, rotated)
            for index in range(config.num_hidden_layers)
            for source, target, shape, rotated in layer
        ),
        Weight("model.norm.weight", "output_norm.weight", (hidden,)),
        Weight("lm_head.weight", "output.weight", (rows, hidden)),
    ]


def _stored_weights(directory: Path, weights: list[Weight], stack: ExitStack) -> dict[str, Any]:
    """Open the checkpoint's files: name after the prefix to the file that holds it."""
    files = [stack.enter_context(open_weights(path)) for path in weight_files(directory)]
    found = {
        name.removeprefix(PREFIX): file
        for file in files
        for name in file.keys()  # noqa: SIM118 - safe_open is no mapping
        if name.startswith(PREFIX)
    }
    shapes = {name: tuple(file.get_slice(PREFIX + name).get_shape()) for name, file in found.items()}
    problems = list(structure_problems({weight.source: weight.shape for weight in weights}, shapes))
    if problems:
        listing = "\n".join(f"  {problem}" for problem in sorted(problems))
        raise CheckpointError(f"{directory}: {len(problems)} problem(s) in the weights of {PREFIX}*:\n{listing}")
    return found


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
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _add_tokenizer(writer: Any, directory: Path, config: LanguageConfig) -> None:
    """Copy the SentencePiece pieces, padded with unused ones up to the rows of the embedding table."""
    from sentencepiece import sentencepiece_model_pb2

    path = LanguageTokenizer(directory).path
    model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    _check_tokenizer(path, model, config.vocab_size)
    padding = range(len(model.pieces), config.vocab_size)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.piece for piece in model.pieces] + [f"[PAD{number}]" for number in padding])
    writer.add_token_scores([piece.score for piece in model.pieces] + [0.0 for _ in padding])
    # SentencePiece and GGUF number the kinds of pieces alike; unused ones never match a text.
    unused = sentencepiece_model_pb2.ModelProto.SentencePiece.UNUSED
    writer.add_token_types([int(piece.type) for piece in model.pieces] + [int(unused) for _ in padding])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_unk_token_id(model.trainer_spec.unk_id)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(model.normalizer_spec.add_dummy_prefix)


def _check_tokenizer(path: Path, model: Any, rows: int) -> None:
    """Refuse what llama.cpp reads otherwise than SentencePiece, or dies of (a byte without a piece)."""
    normalizer, trainer = model.normalizer_spec, model.trainer_spec
    kinds = type(model).SentencePiece
    bytes_found = {piece.piece for piece in model.pieces if piece.type == kinds.BYTE}
    own = [piece.piece for piece in model.pieces if piece.type == kinds.USER_DEFINED]
    problems = {
        "is not of the BPE kind": trainer.model_type != _BPE,
        "normalizes its text": bool(normalizer.precompiled_charsmap) or normalizer.remove_extra_whitespaces,
        "does not write spaces as a leading ▁": not normalizer.escape_whitespaces or trainer.treat_whitespace_as_suffix,
        "lacks pieces for some bytes": not bytes_found >= _BYTE_PIECES,
        f"has user-defined pieces ({', '.join(own[:3])})": bool(own),
        f"has {len(model.pieces)} pieces, more than vocab_size {rows}": len(model.pieces) > rows,
    }
    found = [problem for problem, there in problems.items() if there]
    if found:
        raise CheckpointError(f"{path}: llama.cpp cannot tokenise as this model, which {'; '.join(found)}")


def _require_offered(file_type: str) -> None:
    if file_type in IMATRIX_TYPES:
        raise CheckpointError(f"{file_type} needs importance statistics (an imatrix); without: {', '.join(FILE_TYPES)}")
    if file_type not in FILE_TYPES:
        raise CheckpointError(f"no file type {file_type!r}; there are: {', '.join(FILE_TYPES)}")


def _block(file_type: str) -> int:
    """Values that share a scale: ggml's ``QK`` constants; a mixture counts by its largest."""
    if file_type in ("f32", "f16", "bf16"):
        return 1
    return 32 if file_type in _SMALL_BLOCKS else 256


def _check_source(source: Path, file_type: str, known_finite: bool) -> None:
    import gguf

    if not source.is_file():
        raise CheckpointError(f"{source}: no such file")
    try:
        tensors = gguf.GGUFReader(source, "c").tensors  # copy-on-write: torch wants arrays that may be written
    except Exception as error:  # the reader raises whatever the broken bytes lead it to
        raise CheckpointError(f"{source}: not readable as GGUF (truncated or corrupt): {error}") from error
    block = _block(file_type)
    plain = (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16)
    for tensor in tensors:
        row = int(tensor.shape[0])
        if tensor.tensor_type not in plain:
            raise CheckpointError(f"{source}: {tensor.name} is {tensor.tensor_type.name}; quantize an f16 or f32 file")
        if len(tensor.shape) > 1 and row % block:
            raise CheckpointError(f"{file_type} needs rows that are multiples of {block}: {tensor.name} has {row}")
    for tensor in tensors:
        if not known_finite and not all_finite(torch.from_numpy(tensor.data)):
            raise CheckpointError(f"{source}: not finite: {tensor.name}")


@contextmanager
def _written_beside(target: Path) -> Iterator[Path]:
    """Give a path to write to, renamed to ``target`` when all is well and removed when not."""
    if target.exists():
        raise CheckpointError(f"{target}: already there; give another name")
    partial = target.with_name(f"{target.name}.partial")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:  # numpy's own has no errno
        raise InputError(f"{target}: cannot be written: {error}; make room or choose another place") from error
    finally:
        partial.unlink(missing_ok=True)
