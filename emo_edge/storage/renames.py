"""Renames that are one step: two names exchanged, and a name that is taken only where it is free."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

_HERE = -100
_FREE, _EXCHANGE = 1, 2
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP)
"""Of a kernel or a file system without such renames: NFS, FUSE, eCryptfs, Linux before 3.15."""


def exchanged(first: Path, second: Path) -> bool:
    """Exchange the names of two paths of one file system at once; return False where the system cannot."""
    return _renamed(first, second, _EXCHANGE)


def rename_new(path: Path, target: Path) -> None:
    """Rename a file to a name that nobody has; raise FileExistsError where there is one, also since a moment ago."""
    if _renamed(path, target, _FREE):
        return
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: two steps are left
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        path.rename(target)
    else:
        path.unlink()


def _renamed(first: Path, second: Path, flag: int) -> bool:
    """Rename in one step; return False where the system cannot, raise OSError where it refuses."""
    function = _renameat2()
    if function is None:
        return False
    if function(_HERE, os.fsencode(first), _HERE, os.fsencode(second), flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """Return the C library's function; glibc has it since 2.28, musl since 1.2.4."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    function.restype = ctypes.c_int
    return function
