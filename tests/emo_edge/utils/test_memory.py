"""Allocations that fail are kept apart from files that are damaged."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from emo_edge.errors import CheckpointError, DeviceMemoryError
from emo_edge.utils.memory import is_out_of_memory, memory_error, require_memory


def raised(error: Exception, cause: BaseException) -> Exception:
    try:
        raise error from cause
    except type(error) as caught:
        return caught


SHORT = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("can't start new thread"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    raised(CheckpointError("a.pt: truncated"), RuntimeError("unable to allocate 1 GiB")),
    raised(CheckpointError("a.pt: truncated"), raised(ValueError("broken"), MemoryError())),
]
LONG = [
    CheckpointError("a.pt: truncated"),
    OSError(errno.ENOSPC, "No space left on device"),
    raised(CheckpointError("a.pt: truncated"), ValueError("unexpected end")),
]


@pytest.mark.parametrize("error", SHORT, ids=str)
def test_a_failed_allocation(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert "not enough memory" in str(memory_error("a.pt", error))


@pytest.mark.parametrize("error", LONG, ids=str)
def test_another_failure(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_the_reason_is_the_first_cause() -> None:
    error = raised(CheckpointError("truncated: unable to allocate"), RuntimeError("unable to allocate 1 GiB"))
    assert str(memory_error("a", error)).startswith("a: not enough memory (unable to allocate 1 GiB); close other")


def test_memory_is_asked_for_without_taking_it() -> None:
    require_memory(1 << 30, "a")
    code = (
        "import resource\nfrom emo_edge.utils.memory import require_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\nrequire_memory(1 << 20, 'a')\n"
        "require_memory(1 << 30, 'a')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1].startswith(f"{DeviceMemoryError.__module__}.DeviceMemoryError: a: not enough")
