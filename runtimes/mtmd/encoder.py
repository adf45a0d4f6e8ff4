"""A picture through libmtmd: its tokens and embeddings, with their places, as `llama-mtmd-cli` computes them.

Sizes, tiles, normalisation and the tokens around a picture are the mmproj file's own, read by libmtmd.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.errors import BundleError, DeviceError, InputError
from emo_edge.machine.cpus import usable_cpus
from emo_edge.runtimes.base.sessions import Chunk, PictureEncoder, PictureRows
from emo_edge.runtimes.llama_cpp.library import native_errors
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.runtimes.mtmd.library import mtmd_library, open_mmproj, text_tokens
from emo_edge.tensors import Tensor

TEXT, IMAGE = 0, 1
"""``MTMD_INPUT_CHUNK_TYPE_TEXT`` and ``_IMAGE``."""


class MtmdEncoder(PictureEncoder):
    """An mmproj file beside an open language model, which must stay open as long. One thread at a time."""

    def __init__(
        self, path: Path, language: LlamaSession, *, threads: int | None = None, gpu: bool = False, exact: bool = False
    ) -> None:
        """Load the file; raises what `open_mmproj` raises.

        Args:
            path: the mmproj file.
            language: the session whose model reads the embeddings.
            threads: CPU threads; None takes every CPU this process may use.
            gpu: compute on a GPU.
            exact: attention without flash attention.
        """
        self._path, self._mtmd, self._width = path, mtmd_library(), language.embedding_size
        context = open_mmproj(path, language.model, threads=threads or usable_cpus(), gpu=gpu, exact=exact)
        self._context, self._on_grid = context, bool(self._mtmd.mtmd_decode_use_mrope(context))
        self._free = weakref.finalize(self, self._mtmd.mtmd_free, context)

    def close(self) -> None:
        """Free the vision tower; a second call does nothing."""
        self._free()

    def encode(self, image: Tensor) -> list[Chunk]:
        """Return the chunks of a picture, uint8 RGB [H, W, 3], in the order of the prompt.

        Raises InputError for a picture that libmtmd refuses, BundleError for an mmproj of another model, DeviceError
        where it fails.
        """
        if not self._free.alive:
            raise RuntimeError("this picture encoder is closed")
        with self._chunks(image) as chunks:
            count = self._mtmd.mtmd_input_chunks_size(chunks)
            return [self._chunk(self._mtmd.mtmd_input_chunks_get(chunks, index)) for index in range(count)]

    def positions(self, image: Tensor) -> int:
        """Return the positions of the context that a picture fills, without computing them: it may be thousands."""
        if not self._free.alive:
            raise RuntimeError("this picture encoder is closed")
        mtmd = self._mtmd
        with self._chunks(image) as chunks:
            cut = [mtmd.mtmd_input_chunks_get(chunks, index) for index in range(mtmd.mtmd_input_chunks_size(chunks))]
            return sum(int(mtmd.mtmd_input_chunk_get_n_tokens(chunk)) for chunk in cut)

    @contextmanager
    def _chunks(self, image: Tensor) -> Iterator[Any]:
        """Cut a picture as the mmproj file says; nothing of it is computed yet."""
        mtmd, pixels = self._mtmd, np.ascontiguousarray(image, np.uint8)
        height, width, _ = pixels.shape
        marker = mtmd.mtmd_default_marker()
        text = mtmd.mtmd_input_text(text=marker, text_len=len(marker), add_special=False, parse_special=True)
        bitmap = mtmd.mtmd_bitmap_init(width, height, pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))
        chunks = mtmd.mtmd_input_chunks_init()
        try:
            bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
            native_errors()
            if mtmd.mtmd_tokenize(self._context, chunks, ctypes.byref(text), bitmaps, 1):
                raise InputError(f"libmtmd refuses a picture of {width}x{height} pixels: {native_errors()}")
            yield chunks
        finally:
            mtmd.mtmd_input_chunks_free(chunks)
            mtmd.mtmd_bitmap_free(bitmap)

    def _chunk(self, chunk: Any) -> Chunk:
        mtmd = self._mtmd
        kind = mtmd.mtmd_input_chunk_get_type(chunk)
        if kind == TEXT:
            tokens = text_tokens(mtmd, chunk)
            if any(token < 0 for token in tokens):
                raise BundleError(
                    f"{self._path}: the language model lacks a token that this mmproj puts around a picture: it is "
                    "another model's mmproj; download both files from one page"
                )
            return tokens
        if kind != IMAGE:
            raise DeviceError("libmtmd cut a picture into something that is neither text nor a picture")
        native_errors()
        if mtmd.mtmd_encode_chunk(self._context, chunk):
            raise DeviceError(f"libmtmd could not compute a picture: {native_errors()}")
        count = mtmd.mtmd_input_chunk_get_n_tokens(chunk)
        output = ctypes.cast(mtmd.mtmd_get_output_embd(self._context), ctypes.POINTER(ctypes.c_float))
        rows = np.ctypeslib.as_array(output, (count, self._width)).copy()
        causal = not mtmd.mtmd_decode_use_non_causal(self._context, chunk)
        return PictureRows(rows, self._grid(chunk, count), int(mtmd.mtmd_input_chunk_get_n_pos(chunk)), causal)

    def _grid(self, chunk: Any, count: int) -> Tensor | None:
        if not self._on_grid:
            return None
        tokens = self._mtmd.mtmd_input_chunk_get_tokens_image(chunk)
        places = [self._mtmd.mtmd_image_tokens_get_decoder_pos(tokens, 0, index) for index in range(count)]
        return np.array([(place.t, place.y, place.x, place.z) for place in places], np.int32)
