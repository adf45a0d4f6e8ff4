"""One call of llama.cpp: a batch of positions, never more than the context takes.

llama.cpp ends the process for a batch of more positions than that (``GGML_ASSERT(n_tokens_all <= cparams.n_batch)`` of
``llama_context::decode``), and makes its limit smaller than asked for where the context is smaller.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from emo_edge.errors import DeviceError
from emo_edge.runtimes.base.compute_thread import ComputeThread
from emo_edge.runtimes.llama_cpp.library import native_errors
from emo_edge.tensors import Tensor


class BatchDecoder:
    """Computes batches in a context; its opener frees that."""

    def __init__(self, native: Any, context: Any, compute: ComputeThread) -> None:
        """Decode in ``context`` with ``native``, llama.cpp's module, in the thread ``compute``."""
        self._native, self._context, self._compute = native, context, compute
        self.most = int(native.llama_n_batch(context))
        """Positions of one batch at most."""

    @contextmanager
    def attending_to_each_other(self, wanted: bool) -> Iterator[None]:
        """Let the rows of a batch attend to those behind them, if ``wanted``."""
        if wanted:
            self._native.llama_set_causal_attn(self._context, False)
        try:
            yield
        finally:
            if wanted:
                self._native.llama_set_causal_attn(self._context, True)

    def __call__(self, inputs: Tensor, positions: Tensor, sequences: Tensor, with_logits: Tensor) -> None:
        """Compute one batch: token ids int32 [N] or embeddings float32 [N, E]; ``with_logits`` rows give logits.

        ``positions`` are int32 [N], or [4, N] for the embeddings of a model with M-RoPE.

        Raises ValueError for a batch that is empty or larger than ``most``, DeviceError where llama.cpp fails.
        """
        count = len(inputs)
        if not 0 < count <= self.most:
            raise ValueError(f"a batch holds 1 to {self.most} positions, not {count}")
        inputs = np.ascontiguousarray(inputs, np.int32 if inputs.ndim == 1 else np.float32)
        ordered, owners = (np.ascontiguousarray(values, np.int32) for values in (positions, sequences))
        owner_counts, outputs = np.ones(count, np.int32), np.ascontiguousarray(with_logits, np.int8)
        owner_lists = (owners.ctypes.data + owners.itemsize * np.arange(count)).astype(np.uintp)
        batch = self._native.llama_batch(n_tokens=count)
        if inputs.ndim == 1:
            batch.token = inputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        else:
            batch.embd = inputs.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        batch.pos = ordered.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        batch.n_seq_id = owner_counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        batch.seq_id = owner_lists.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(ctypes.c_int32)))
        batch.logits = outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
        native_errors()
        code = self._compute(lambda: self._native.llama_decode(self._context, batch))
        if code:
            raise DeviceError(f"llama.cpp could not compute {count} positions (code {code}): {native_errors()}")
