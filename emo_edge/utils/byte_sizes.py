"""Sizes as people write them."""

from __future__ import annotations

import math
import re

from emo_edge.errors import InputError

UNITS = {"": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
LARGEST = float(1 << 62)
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>KB|MB|GB|)", re.IGNORECASE)


def size_of(text: str) -> int:
    """Read a size such as ``800MB`` (decimal units) in bytes; raise InputError for anything else."""
    match = _SIZE.fullmatch(text.strip())
    size = float(match["number"]) * UNITS[match["unit"].upper()] if match else math.inf
    if size > LARGEST:
        raise InputError(f"a size reads like 800MB or 3.9GB, not {text[:80]!r}")
    return int(size)
