"""Graphs as ONNX Runtime optimised them on this machine, kept so that the next process need not do it again.

Optimisation takes most of the time to open a small graph, for float16 above all, which a processor without such
arithmetic computes in float32. A copy is given to a loader only if this machine sealed these very bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from emo_edge.errors import InputError
from emo_edge.graphs.onnx_external import external_locations
from emo_edge.machine.summary import describe_processor
from emo_edge.storage.machine_seal import MachineSeal
from emo_edge.utils.cache import cache_directory
from emo_edge.utils.files import partial_path, replaced_file

logger = logging.getLogger(__name__)
LARGEST = 32 << 20
"""Bytes of a graph: reading and verifying the copy of a larger one takes longer than it saves."""
KEPT = 256 << 20
"""Bytes of all copies together; beyond that those unused for longest go."""
COPY = ".onnx"
SEAL_LENGTH = 64
"""Characters of a seal, which stand before the graph in a copy."""


class OptimisedCopies:
    """A directory of optimised graphs. Where it cannot be used, graphs are optimised each time."""

    def __init__(self, directory: Path, kept: int = KEPT) -> None:
        self.directory, self._kept, self._seals = directory, kept, MachineSeal(directory)

    def read(self, key: str) -> bytes | None:
        """Return the copy of a key if this machine made it, else None."""
        path = self._path(key)
        with suppress(OSError):
            content = path.read_bytes()
            seal, graph = content[:SEAL_LENGTH].decode("ascii", "replace"), content[SEAL_LENGTH:]
            if self._seals.holds(_record(key, graph), seal):
                os.utime(path)
                return graph
            logger.info("%s: made elsewhere, or changed since; the graph is optimised again", path)
        return None

    def write(self, key: str, graph: bytes) -> None:
        """Keep a copy; a directory that cannot be written is no error."""
        path = self._path(key)
        with suppress(OSError):
            self._make_directory()
            with replaced_file(path) as partial:
                partial.touch(mode=0o600)
                partial.write_bytes(self._seals.of(_record(key, graph)).encode() + graph)
            self._shrink(path)

    def saved(self, save: Callable[[Path], None]) -> bytes | None:
        """Return what ``save`` writes to a path, which is removed then; None where nothing can be written."""
        path = partial_path(self.directory / COPY)
        try:
            self._make_directory()
            save(path)
            return path.read_bytes()
        except OSError:
            return None
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _make_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}{COPY}"

    def _shrink(self, newest: Path) -> None:
        """Remove the copies unused for longest until the rest fit; parts that a killed process left are among them."""
        files = [path for path in self.directory.iterdir() if path.suffix in (COPY, ".partial")]
        total = sum(path.stat().st_size for path in files)
        for path in sorted(files, key=lambda path: path.stat().st_mtime):
            if total > self._kept and path != newest:
                total -= path.stat().st_size
                path.unlink(missing_ok=True)


def user_copies() -> OptimisedCopies | None:
    """Return the copies of this user; None without a home."""
    with suppress(InputError):
        return OptimisedCopies(cache_directory() / "graphs")
    return None


def small_graph(path: Path) -> bytes | None:
    """Return the content of an ONNX file; None for a large one, or one whose weights lie in other files."""
    with suppress(OSError, ValueError):
        if path.stat().st_size <= LARGEST and not external_locations(path):
            return path.read_bytes()
    return None


def copy_key(graph: bytes, version: str) -> str:
    """Name all that the optimised copy of a graph depends on, the version of ONNX Runtime among it."""
    facts = [hashlib.sha256(graph).hexdigest(), version, describe_processor()]
    return hashlib.sha256(json.dumps(facts, allow_nan=False).encode()).hexdigest()[:32]


def _record(key: str, graph: bytes) -> dict[str, Any]:
    return {"key": key, "sha256": hashlib.sha256(graph).hexdigest()}
