"""Failed allocations, kept apart from damaged files: engines report both as an error of the file."""

from __future__ import annotations

import errno
import mmap
from collections.abc import Iterator
from pathlib import Path

from emo_edge.errors import DeviceMemoryError

WORDS = (
    *("out of memory", "not enough memory", "insufficient memory", "cannot allocate memory", "can't allocate memory"),
    *("bad_alloc", "failed to allocate", "unable to allocate", "outofmemory", "failed to map segment"),
    "can't start new thread",
)
"""Of the messages of llama.cpp, ONNX Runtime, PyTorch, OpenCV, safetensors, the C library's loader and Python."""
STATIC_TLS = "static tls block"
"""Of the loader, where a library comes too late for a place that is made once: memory has nothing to do with it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one that it was raised from, is a failed allocation."""
    return any(_is_one(cause) for cause in _causes(error))


def require_memory(needed: int, subject: str | Path) -> None:
    """Raise DeviceMemoryError where the process may not map ``needed`` bytes more, as under ``ulimit -v``.

    For libraries that abort the process where an allocation fails. Nothing is allocated.
    """
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return
    try:
        mmap.mmap(-1, needed, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0).close()
    except (OSError, MemoryError) as error:
        raise memory_error(subject, error) from error


def memory_error(subject: str | Path, error: BaseException) -> DeviceMemoryError:
    """Return the error to raise where memory is short, not the file wrong."""
    reason = next((_words(cause) for cause in reversed(list(_causes(error))) if _is_one(cause)), "")
    return DeviceMemoryError(
        f"{subject}: not enough memory{f' ({reason})' if reason else ''}; close other programs, raise the limit, "
        "or choose something smaller"
    )


def _is_one(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).lower() if isinstance(error, Exception) else ""
    return STATIC_TLS not in text and any(words in text for words in WORDS)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(16):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
