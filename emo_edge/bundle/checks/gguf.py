"""Values of a GGUF file that llama.cpp would end the process on, refused before it opens the file.

A closed set of keys and tensors: those that `emo_edge.export.gguf` writes, and those that llama.cpp's own converter and
quantizer write for such a LLaMA. llama.cpp's assertions are in its ``llama-model.cpp`` (sizes), ``llama-vocab.cpp``
(tokens), ``models/llama.cpp`` (heads), ``ggml-backend.cpp`` (alignment) and ``ggml-cpu/ops.cpp`` (rms norm, types).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from emo_edge.bundle.checks.vocabulary import TOKEN_ID, TOKENS, arrays_of, vocabulary_problems
from emo_edge.bundle.gguf_header import (
    ALIGNMENT,
    ALIGNMENT_KEY,
    ARRAY,
    BOOL,
    EMBEDDING,
    FLOAT32,
    OUTPUT,
    STRING,
    UINT32,
    GgufHeader,
    read_gguf_header,
    read_gguf_structure,
)
from emo_edge.bundle.gguf_types import TENSOR_TYPES
from emo_edge.errors import BundleError, CheckpointError
from emo_edge.utils.text import quoted

MOST_LAYERS = 512
"""llama.cpp's ``LLAMA_MAX_LAYERS``."""
LISTED = 8
"""Problems that an error names."""
FREE = ("general.", "quantize.", "tokenizer.chat_template")
"""Beginnings of keys whose values llama.cpp does not compute with."""
BY_NUMBER = {kind.number: kind for kind in TENSOR_TYPES.values()}


class Rule(NamedTuple):
    """The value of a key: GGUF's type, what is allowed in words, and the test."""

    kind: int
    allowed: str
    holds: Callable[[Any], bool]


def _whole(least: int, most: int) -> Rule:
    return Rule(UINT32, f"a whole number from {least} to {most}", lambda value: least <= value <= most)


def _number(above: float, most: float) -> Rule:
    return Rule(FLOAT32, f"a number above {above:g}, {most:g} at most", lambda value: above < value <= most)


def _text(*values: str) -> Rule:
    return Rule(STRING, " or ".join(values) or "a text", lambda value: not values or value in values)


_YES_OR_NO = Rule(BOOL, "true or false", lambda value: True)
ARCHITECTURES = {"llama": "llama", "qwen2": "gpt2"}
"""Architectures that emo-edge exports, and the kind of tokenizer that each has."""
_REQUIRED = {
    "{arch}.context_length": _whole(1, 1 << 20),
    "{arch}.embedding_length": _whole(1, 1 << 16),
    "{arch}.block_count": _whole(1, MOST_LAYERS),
    "{arch}.feed_forward_length": _whole(1, 1 << 18),
    "{arch}.attention.head_count": _whole(1, 1 << 10),
    "{arch}.attention.layer_norm_rms_epsilon": _number(0, 0.1),
}
_OPTIONAL = {
    ALIGNMENT_KEY: Rule(
        UINT32, f"a power of two from {ALIGNMENT} to 65536", lambda value: value in [1 << bit for bit in range(5, 17)]
    ),
    "general.file_type": _whole(0, 1 << 16),
    "general.quantization_version": _whole(0, 1 << 16),
    "{arch}.attention.head_count_kv": _whole(1, 1 << 10),
    "{arch}.attention.key_length": _whole(2, 1 << 16),
    "{arch}.attention.value_length": _whole(2, 1 << 16),
    "{arch}.rope.dimension_count": _whole(2, 1 << 16),
    "{arch}.rope.freq_base": _number(0, 1e10),
    "{arch}.rope.scaling.type": _text("linear"),
    "{arch}.rope.scaling.factor": _number(0, 1 << 10),
    "{arch}.vocab_size": _whole(1, 1 << 20),
    "tokenizer.ggml.pre": _text(),
    "tokenizer.ggml.add_bos_token": _YES_OR_NO,
    "tokenizer.ggml.add_eos_token": _YES_OR_NO,
    "tokenizer.ggml.add_space_prefix": _YES_OR_NO,
}


def required(architecture: str) -> dict[str, Rule]:
    """Return the rules of the keys that a header of this architecture needs."""
    named = {key.format(arch=architecture): rule for key, rule in _REQUIRED.items()}
    own = {"general.architecture": _text(*ARCHITECTURES), "tokenizer.ggml.model": _text(ARCHITECTURES[architecture])}
    return {**own, **named}


def rules(architecture: str) -> dict[str, Rule]:
    """Return the rules of all keys that a header of this architecture may have."""
    return required(architecture) | {key.format(arch=architecture): rule for key, rule in _OPTIONAL.items()}


def check_gguf(path: Path) -> GgufHeader:
    """Return a language model's header; raise BundleError that names each value that llama.cpp is not given."""
    try:
        structure = read_gguf_structure(path)
        header = read_gguf_header(path) if structure.architecture in ARCHITECTURES else structure
    except (OSError, ValueError, CheckpointError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise BundleError(
            f"{path}: llama.cpp cannot read it (truncated, corrupt or of another kind): {reason}"
        ) from error
    problems = gguf_problems(header, path.stat().st_size)
    if problems:
        named = [f"  {problem}" for problem in problems[:LISTED]]
        more = [f"  and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        listing = "\n".join([*named, *more])
        raise BundleError(f"{path}: {len(problems)} problem(s) in the language model, export it again:\n{listing}")
    return header


def gguf_problems(header: GgufHeader, size: int) -> list[str]:
    """List what is wrong with the header of a file of ``size`` bytes, the key or tensor first."""
    problems = [*_metadata_problems(header), *vocabulary_problems(header)]
    # Sizes that make no sense have no shapes to compare with.
    problems = problems or list(_size_problems(header))
    return problems or list(_tensor_problems(header, size))


def _metadata_problems(header: GgufHeader) -> Iterator[str]:
    name = header.architecture if header.architecture in ARCHITECTURES else "llama"
    needed, known, arrays = required(name), rules(name), arrays_of(header)
    for key in needed.keys() - header.metadata.keys():
        yield f"{key}: missing; {needed[key].allowed} is allowed"
    for key, value in header.metadata.items():
        rule = known.get(key)
        if rule is None:
            if key not in arrays and not TOKEN_ID.fullmatch(key) and not key.startswith(FREE):
                yield f"{quoted(key)}: no key of a language model that emo-edge exports"
        elif header.kinds[key] != rule.kind or not rule.holds(value):
            shown = "an array" if header.kinds[key] == ARRAY else quoted(value)
            yield f"{key}: {shown} of GGUF's type {header.kinds[key]}; {rule.allowed} of type {rule.kind} is allowed"


def _size_problems(header: GgufHeader) -> Iterator[str]:
    """Compare sizes with each other: heads divide the width, and rope rotates pairs of a whole head."""
    shape, tokens, name = header.shape(), header.metadata[TOKENS], header.architecture
    if shape.width % shape.heads or shape.width // shape.heads % 2:
        yield (
            f"{name}.attention.head_count: {shape.heads}; heads of an even size that divide {name}.embedding_length "
            f"{shape.width} are allowed"
        )
    if shape.heads % shape.kv_heads:
        yield f"{name}.attention.head_count_kv: {shape.kv_heads}; a divisor of the {shape.heads} heads is allowed"
    if shape.vocabulary != tokens:
        yield f"{name}.vocab_size: {shape.vocabulary}; {tokens}, the number of tokens, is allowed"
    for size in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
        key = f"{name}.{size}"
        value = header.metadata.get(key, shape.width // shape.heads)
        if value != shape.width // shape.heads:
            yield f"{key}: {value}; {shape.width // shape.heads}, the size of a head, is allowed"


def _tensor_problems(header: GgufHeader, size: int) -> Iterator[str]:
    expected = expected_tensors(header)
    for name in [name for name in expected if name not in header.tensors and name != OUTPUT]:
        yield f"{name}: missing"
    position, alignment = header.data_start, header.metadata.get(ALIGNMENT_KEY, ALIGNMENT)
    for name, tensor in header.tensors.items():
        kind = BY_NUMBER.get(tensor.type)
        if name not in expected:
            yield f"{quoted(name)}: no tensor of a language model that emo-edge exports"
            return
        if tensor.shape != expected[name]:
            yield f"{name}: shape {list(tensor.shape)}; {list(expected[name])} is allowed, by the sizes of the header"
            return
        if kind is None or (len(tensor.shape) == 1 and tensor.type) or tensor.shape[0] % kind.block:
            yield f"{name}: ggml's type {tensor.type}, which no matrix or norm of this width has"
            return
        if tensor.start != position:
            yield f"{name}: starts at byte {tensor.start}; {position}, after the tensor before it, is allowed"
            return
        end = position + math.prod(tensor.shape) // kind.block * kind.size
        if end > size:
            yield f"{name}: ends at byte {end}, and the file at {size}"
            return
        position = -(-end // alignment) * alignment


def expected_tensors(header: GgufHeader) -> dict[str, tuple[int, ...]]:
    """Return name and shape of each tensor that a header's sizes ask for; the output matrix may be left out."""
    shape = header.shape()
    width, kv_width, mlp, tokens = shape.width, shape.kv_width, shape.mlp, shape.vocabulary
    layer = {
        "attn_norm": (width,),
        "attn_q": (width, width),
        "attn_k": (width, kv_width),
        "attn_v": (width, kv_width),
        "attn_output": (width, width),
        "ffn_norm": (width,),
        "ffn_gate": (width, mlp),
        "ffn_up": (width, mlp),
        "ffn_down": (mlp, width),
    }
    tensors = {EMBEDDING: (width, tokens), "output_norm.weight": (width,), OUTPUT: (width, tokens)}
    for index in range(shape.layers):
        tensors |= {f"blk.{index}.{part}.weight": sizes for part, sizes in layer.items()}
        if header.architecture == "qwen2":
            tensors |= {f"blk.{index}.attn_{part}.bias": layer[f"attn_{part}"][1:] for part in "qkv"}
    return tensors
