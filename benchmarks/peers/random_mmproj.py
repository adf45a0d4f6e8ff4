"""The image half of a LLaVA for llama.cpp, with random weights: its times are real, what it sees is noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.utils.files import replaced_file

STD = 0.02
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's, of the colours."""


@dataclass(frozen=True)
class ClipShape:
    """Sizes of a CLIP image tower; LLaVA-1.5's is ViT-L/14 at 336 pixels, of whose 24 layers it reads the 23rd."""

    image_size: int = 336
    patch_size: int = 14
    width: int = 1024
    mlp: int = 4096
    heads: int = 16
    layers: int = 23

    @property
    def tokens(self) -> int:
        """Embeddings that the language model reads for a picture."""
        return (self.image_size // self.patch_size) ** 2


def write_clip_projector(path: Path, language: Path, shape: ClipShape | None = None, out: int | None = None) -> Path:
    """Write tower and two-layer projector, matrices in float16, for a GGUF language model; return ``path``.

    ``out`` is the width of the embeddings; None takes the language model's.

    Keys and names are those that llama.cpp's ``tools/mtmd/clip.cpp`` reads.
    """
    import gguf

    sizes, out = shape or ClipShape(), out or read_gguf_header(language).shape().width
    with replaced_file(path) as partial:
        writer = gguf.GGUFWriter(partial, "clip")
        writer.add_string("general.type", "mmproj")
        writer.add_uint32("general.file_type", 1)
        writer.add_bool("clip.has_vision_encoder", True)
        writer.add_bool("clip.use_gelu", False)
        writer.add_string("clip.projector_type", "mlp")
        for key, value in (
            ("image_size", sizes.image_size),
            ("patch_size", sizes.patch_size),
            ("embedding_length", sizes.width),
            ("feed_forward_length", sizes.mlp),
            ("attention.head_count", sizes.heads),
            ("block_count", sizes.layers),
            ("projection_dim", out),
        ):
            writer.add_uint32(f"clip.vision.{key}", value)
        # Without it llama.cpp leaves the last layer out.
        writer.add_array("clip.vision.feature_layer", [sizes.layers])
        writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
        writer.add_array("clip.vision.image_mean", MEAN)
        writer.add_array("clip.vision.image_std", DEVIATION)
        for name, tensor in _tensors(sizes, out):
            writer.add_tensor(name, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return path


def _tensors(shape: ClipShape, out: int) -> Iterator[tuple[str, NDArray[np.floating]]]:
    numbers, width = np.random.default_rng(0), shape.width

    def matrix(*size: int) -> NDArray[np.floating]:
        return (numbers.standard_normal(size, np.float32) * np.float32(STD)).astype(np.float16)

    def linear(name: str, rows: int, columns: int) -> Iterator[tuple[str, NDArray[np.floating]]]:
        yield f"{name}.weight", matrix(rows, columns)
        yield f"{name}.bias", np.zeros(rows, np.float32)

    def norm(name: str) -> Iterator[tuple[str, NDArray[np.floating]]]:
        yield f"{name}.weight", np.ones(width, np.float32)
        yield f"{name}.bias", np.zeros(width, np.float32)

    yield "v.class_embd", np.zeros(width, np.float32)
    yield "v.patch_embd.weight", matrix(width, 3, shape.patch_size, shape.patch_size)
    yield "v.position_embd.weight", matrix(shape.tokens + 1, width)
    yield from norm("v.pre_ln")
    for layer in range(shape.layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            yield from linear(f"v.blk.{layer}.{part}", width, width)
        yield from norm(f"v.blk.{layer}.ln1")
        yield from norm(f"v.blk.{layer}.ln2")
        yield from linear(f"v.blk.{layer}.ffn_up", shape.mlp, width)
        yield from linear(f"v.blk.{layer}.ffn_down", width, shape.mlp)
    yield from linear("mm.0", out, width)
    yield from linear("mm.2", out, out)
