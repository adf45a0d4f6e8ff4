"""The rows of a GGUF file's embedding table, as llama.cpp would look them up.

llama.cpp takes token ids or embeddings in one call, not both, and each call reads every weight of the model. With the
rows at hand, a prompt of text and pictures is one call of embeddings.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.gguf_header import EMBEDDING, read_gguf_header
from emo_edge.bundle.gguf_types import TENSOR_TYPES
from emo_edge.errors import CheckpointError

FUNCTIONS = {
    "f16": "ggml_fp16_to_fp32_row",
    "bf16": "ggml_bf16_to_fp32_row",
    **{name: f"dequantize_row_{name}" for name in ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0")},
    **{f"q{bits}_k": f"dequantize_row_q{bits}_K" for bits in (2, 3, 4, 5, 6)},
}
"""By type: the function of ggml's library that writes float32."""
BY_NUMBER = {TENSOR_TYPES[name].number: name for name in ("f32", *FUNCTIONS)}


class TokenEmbeddings:
    """The table of one file; `token_embeddings` makes it."""

    def __init__(self, stored: NDArray[np.uint8], width: int, widen: Callable[..., object] | None) -> None:
        """Keep the rows as they are stored, uint8 [V, B], their width, and the function that converts them."""
        self._stored, self._width, self._widen = stored, width, widen

    def __call__(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the rows of token ids, float32 [N, E]."""
        stored = np.ascontiguousarray(self._stored[np.asarray(tokens, np.int64)])
        if self._widen is None:
            return stored.view(np.float32)
        rows = np.empty((len(stored), self._width), np.float32)
        self._widen(stored.ctypes.data, rows.ctypes.data, rows.size)
        return rows


def token_embeddings(path: Path, native: Any) -> TokenEmbeddings | None:
    """Open the table of a LLaMA's file; None where llama.cpp's own lookup is not known to be these rows.

    ``native`` is llama.cpp's module. Another architecture may scale what it looks up, an unknown type of values has
    no function here, and a library may hide its functions.
    """
    try:
        header = read_gguf_header(path)
    except CheckpointError:
        return None
    table = header.tensors.get(EMBEDDING)
    if table is None or len(table.shape) != 2 or header.metadata.get("general.architecture") != "llama":
        return None
    if "llama.embedding_scale" in header.metadata:
        return None
    width, count = table.shape
    kind = BY_NUMBER.get(table.type)
    if kind is None:
        return None
    _, block, size = TENSOR_TYPES[kind]
    if width % block or count * width // block * size > table.bytes:
        return None
    widen = _function(native, FUNCTIONS[kind]) if kind in FUNCTIONS else None
    if widen is None and kind in FUNCTIONS:
        return None
    stored = np.memmap(path, np.uint8, "r", table.start, (count, width // block * size))
    return TokenEmbeddings(stored, width, widen)


def _function(native: Any, name: str) -> Callable[..., object] | None:
    try:
        # Found in ggml's library, which llama.cpp's is linked with; Windows looks in llama.cpp's alone.
        function = native._lib[name]
    except AttributeError:
        return None
    function.argtypes, function.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64), None
    return function  # type: ignore[no-any-return]
