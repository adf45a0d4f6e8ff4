"""Language models of random weights, whose speed gives llama.cpp's rates on this machine."""

from __future__ import annotations

import os
import string
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import numpy as np

from emo_edge.bundle.gguf_header import MAGIC
from emo_edge.errors import DeviceError
from emo_edge.machine.cpus import usable_cpus
from emo_edge.runtimes.llama_cpp import library

ALIGNMENT = 32
VOCABULARY = 1024
STD = 0.02
F16 = 1
"""llama.cpp's file type of the models written here; llama.cpp quantizes them to every other type."""
UNKNOWN, CONTROL, BYTE, NORMAL = 2, 3, 6, 1
"""Kinds of tokens in GGUF."""
Metadata = dict[str, str | int | float | Sequence[str] | Sequence[int] | Sequence[float]]


@dataclass(frozen=True)
class LanguageProbe:
    """A LLaMA of random weights; ``file_type`` is llama.cpp's number."""

    width: int
    mlp: int
    layers: int
    file_type: int

    def write(self, path: Path) -> Path:
        """Write the model in float16, then quantize it with llama.cpp if it has another type."""
        if self.file_type == F16:
            self._write(path)
            return path
        plain = path.with_suffix(".f16")
        self._write(plain)
        native = library.library()
        parameters = native.llama_model_quantize_default_params()
        parameters.ftype, parameters.nthread = self.file_type, usable_cpus()
        failed = native.llama_model_quantize(os.fsencode(plain), os.fsencode(path), parameters)
        plain.unlink()
        if failed:
            raise DeviceError(
                f"llama.cpp cannot quantize random weights to file type {self.file_type}; plan another `device`"
            )
        return path

    @property
    def layer_parameters(self) -> int:
        """Numbers in the matrices of a layer."""
        return 4 * self.width**2 + 3 * self.width * self.mlp

    def _write(self, path: Path) -> None:
        tensors = list(self._tensors())
        with path.open("wb") as stream:
            stream.write(_head(self._metadata(), tensors))
            numbers = np.random.default_rng(0)
            for _, shape in tensors:
                stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
                norm = np.ones(shape, np.float32)
                value = norm if len(shape) == 1 else numbers.standard_normal(shape, np.float32) * np.float32(STD)
                stream.write((value if len(shape) == 1 else value.astype(np.float16)).tobytes())

    def _metadata(self) -> Metadata:
        heads = max(1, self.width // 64)
        return {
            "general.architecture": "llama",
            "general.file_type": F16,
            "llama.context_length": 1024,
            "llama.embedding_length": self.width,
            "llama.block_count": self.layers,
            "llama.feed_forward_length": self.mlp,
            "llama.attention.head_count": heads,
            "llama.attention.layer_norm_rms_epsilon": 1e-5,
            "llama.rope.dimension_count": self.width // heads,
            "llama.vocab_size": VOCABULARY,
            **_vocabulary(),
        }

    def _tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of each tensor, rows first."""
        width, mlp = self.width, self.mlp
        yield "token_embd.weight", (VOCABULARY, width)
        yield "output_norm.weight", (width,)
        yield "output.weight", (VOCABULARY, width)
        for layer in range(self.layers):
            name = f"blk.{layer}."
            for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
                yield f"{name}{part}.weight", (width, width)
            yield f"{name}ffn_gate.weight", (mlp, width)
            yield f"{name}ffn_up.weight", (mlp, width)
            yield f"{name}ffn_down.weight", (width, mlp)
            for part in ("attn_norm", "ffn_norm"):
                yield f"{name}{part}.weight", (width,)


def _vocabulary() -> Metadata:
    """Return a vocabulary as SentencePiece has it: every byte, every letter, and pairs of letters until it is full."""
    letters = ["\u2581", *string.ascii_letters, *string.punctuation]
    pairs = ("".join(pair) for pair in product(["\u2581", *string.ascii_lowercase], string.ascii_lowercase))
    plain = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256)), *letters]
    tokens = [*plain, *islice(pairs, VOCABULARY - len(plain))]
    tokens += [f"[{index}]" for index in range(len(tokens), VOCABULARY)]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * (VOCABULARY - 259)]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [-float(place) for place in range(VOCABULARY)],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def _head(metadata: Metadata, tensors: Sequence[tuple[str, tuple[int, ...]]]) -> bytes:
    """Return the bytes before the data: see `emo_edge.bundle.gguf_header` for the layout."""
    parts = [MAGIC, struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    parts += [_string(name) + _value(value) for name, value in metadata.items()]
    start = 0
    for name, shape in tensors:
        kind, size = (0, 4) if len(shape) == 1 else (1, 2)
        parts += [_string(name), struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, start)]
        start += -(-int(np.prod(shape)) * size // ALIGNMENT) * ALIGNMENT
    head = b"".join(parts)
    return head + b"\0" * (-len(head) % ALIGNMENT)


def _value(value: str | int | float | Sequence[str] | Sequence[int] | Sequence[float]) -> bytes:
    if isinstance(value, str | int | float):
        kind, content = _packed(value)
        return struct.pack("<I", kind) + content
    kind = _packed(value[0])[0]
    # llama.cpp reads a list of numbers as signed, and a number as unsigned.
    kind = 5 if kind == 4 else kind
    return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(_packed(part)[1] for part in value)


def _packed(value: str | int | float) -> tuple[int, bytes]:
    """Return GGUF's number of a value's type, and its bytes: string, uint32 or float32."""
    if isinstance(value, str):
        return 8, _string(value)
    return (4, struct.pack("<I", value)) if isinstance(value, int) else (6, struct.pack("<f", value))


def _string(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content
