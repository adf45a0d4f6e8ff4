"""Compilers of native libraries, by their marks: one that may have made wrong kernels for AMX.

The header of GCC 12 declares that ``_tile_loadconfig`` reads 8 bytes where it reads 64, so that the stores of the rest
may be removed as dead. The processor then loads what the stack held: one process crashes and another one, by chance,
does not, so that a trial proves nothing. Seen with GCC 12.2; which later release is right was not verified, and
releases before 14 count as wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

MADE_BY = re.compile(rb"GCC: \([^)\0]{0,200}\) (\d{1,3})\.\d{1,3}\.\d{1,3}")
"""In the section .comment of a library."""
FIRST_RIGHT = 14
KEEPING = (b"-fno-tree-dse", b"-fno-dse")
"""Options that keep the stores; ``-frecord-gcc-switches`` writes the options into the library."""


def may_lose_tile_stores(libraries: Iterable[Path]) -> bool:
    """Return True if a library was compiled by such a GCC, without a record of the options that keep the stores."""
    return any(_may_lose(path.read_bytes()) for path in libraries)


def _may_lose(content: bytes) -> bool:
    is_old = any(int(mark[1]) < FIRST_RIGHT for mark in MADE_BY.finditer(content))
    return is_old and not all(option in content for option in KEEPING)
