"""Import libmtmd, which llama-cpp-python ships, and open an mmproj file silently."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

from emo_edge.errors import BundleError, DeviceError, MissingExtraError
from emo_edge.runtimes.llama_cpp.library import import_mtmd, library, log_callback, native_errors
from emo_edge.utils.extras import is_failed_load, unloadable
from emo_edge.utils.memory import WORDS as MEMORY_WORDS

TOO_OLD = "this llama-cpp-python has no libmtmd that emo-edge can use. Run: pip install -U 'llama-cpp-python>=0.3.36'"
NEWER = "it is damaged, or newer than this llama-cpp-python: download it again, or update llama-cpp-python"
NEEDED = ("mtmd_init_from_file", "mtmd_tokenize", "mtmd_image_tokens_get_decoder_pos", "mtmd_decode_use_non_causal")


@functools.cache
def mtmd_library() -> Any:
    """Import libmtmd's C functions, silenced; raise MissingExtraError naming the install command."""
    native = library()
    try:
        mtmd_cpp = import_mtmd()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        if is_failed_load(error) and not isinstance(error, ImportError):
            raise unloadable("llama_cpp", error) from error
        raise MissingExtraError(TOO_OLD) from error
    if not all(hasattr(mtmd_cpp, name) for name in NEEDED):
        raise MissingExtraError(TOO_OLD)
    mtmd_cpp.mtmd_helper_log_set(log_callback(native), None)
    return mtmd_cpp


def open_mmproj(path: Path, model: Any, *, threads: int, gpu: bool, exact: bool) -> Any:
    """Load an mmproj file beside an open language model; the caller frees it.

    Args:
        path: the file.
        model: llama.cpp's model whose embeddings it writes.
        threads: CPU threads.
        gpu: compute on a GPU.
        exact: attention without flash attention.

    Raises BundleError for a file that libmtmd cannot read, that sees no pictures or belongs to another model,
    DeviceError when memory ran out.
    """
    mtmd, native = mtmd_library(), library()
    parameters = mtmd.mtmd_context_params_default()
    parameters.use_gpu, parameters.n_threads, parameters.print_timings, parameters.warmup = gpu, threads, False, False
    if exact:
        parameters.flash_attn_type = native.LLAMA_FLASH_ATTN_TYPE_DISABLED
    native_errors()
    context = mtmd.mtmd_init_from_file(os.fsencode(path), model, parameters)
    if not context:
        reason = native_errors()
        if any(words in reason.lower() for words in MEMORY_WORDS):
            raise DeviceError(f"{path}: not enough memory for the vision tower: {reason}")
        advice = "take the mmproj of the same model" if "mismatch" in reason else NEWER
        raise BundleError(f"{path}: libmtmd cannot use it as this model's mmproj: {reason}; {advice}")
    if not mtmd.mtmd_support_vision(context):
        mtmd.mtmd_free(context)
        raise BundleError(f"{path}: this mmproj reads sound, not pictures; take the one with the vision tower")
    return context


def text_tokens(mtmd: Any, chunk: Any) -> list[int]:
    """Return the token ids of a chunk of text."""
    count = ctypes.c_size_t()
    tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    return list(tokens[: count.value]) if count.value else []
