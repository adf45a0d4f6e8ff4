"""Lines that libjpeg, libpng and libtiff print on descriptor 2 about a damaged picture: our error is the only one.

They have no switch that Python reaches: OpenCV and Pillow compile them in. So a command writes its own messages to a
copy of descriptor 2, and the descriptor itself leads nowhere while a picture is decoded. A program that imports the
package keeps its standard error, and sees those lines.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2


class _Descriptor:
    """Descriptor 2 of a process whose own messages go elsewhere."""

    def __init__(self) -> None:
        self.lock, self.users, self.owned = threading.Lock(), 0, False
        self._kept = self._nowhere = -1

    def leave(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                if self._nowhere < 0:
                    self._nowhere = os.open(os.devnull, os.O_WRONLY)
                self._kept = os.dup(STDERR)
                os.dup2(self._nowhere, STDERR)

    def restore(self) -> None:
        with self.lock:
            self.users -= 1
            if not self.users:
                os.dup2(self._kept, STDERR)
                os.close(self._kept)


_DESCRIPTOR = _Descriptor()


def own_stderr() -> None:
    """Write ``sys.stderr`` to a copy of descriptor 2, where it is that descriptor's."""
    stream = sys.stderr
    try:
        is_own = stream.fileno() == STDERR
    except (OSError, ValueError, AttributeError):
        return
    if is_own:
        stream.flush()
        copy = os.dup(STDERR)
        sys.stderr = open(copy, "w", 1, encoding=stream.encoding, errors=stream.errors, closefd=False)  # noqa: SIM115
        _DESCRIPTOR.owned = True


@contextmanager
def without_native_messages() -> Iterator[None]:
    """Discard what native code prints on standard error meanwhile, in every thread, after `own_stderr`."""
    if not _DESCRIPTOR.owned or os.environ.get("OPENCV_LOG_LEVEL", "SILENT") != "SILENT":
        yield
        return
    _DESCRIPTOR.leave()
    try:
        yield
    finally:
        _DESCRIPTOR.restore()
