"""Files of bytes that this machine made, each under a key: one that was changed, or made elsewhere, is none.

For what a native library reads without checking it. A seal is not a secret: the bytes lie open to their owner.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from emo_edge.storage.machine_seal import MachineSeal
from emo_edge.utils.files import replaced_file

logger = logging.getLogger(__name__)
SUFFIX = ".sealed"
LONGEST_SEAL = 256
"""Bytes of the first line, a seal in hexadecimal digits."""


class SealedFiles:
    """A directory of such files. Safe between processes: a reader sees an old file or a new one, never a part."""

    def __init__(self, directory: Path, limit: int) -> None:
        """Use ``directory``; beyond ``limit`` bytes the files unused for longest go."""
        self.directory, self.limit = directory, limit
        self._seals = MachineSeal(directory)

    def read(self, key: Mapping[str, Any]) -> bytes | None:
        """Return the content that was written under a key; None where there is none that holds its seal."""
        path = self._path(key)
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > self.limit + LONGEST_SEAL:
                return None
            with path.open("rb") as file:
                seal = file.readline(LONGEST_SEAL).strip().decode("ascii", errors="replace")
                content = file.read()
            if not self._seals.holds(_sealed(key, content), seal):
                logger.warning("%s was changed, cut off or made elsewhere: it is not used, and made again", path)
                return None
            with suppress(OSError):
                os.utime(path)
        except OSError as error:
            logger.warning("%s cannot be read (%s): it is not used", path, error.strerror)
            return None
        return content

    def write(self, key: Mapping[str, Any], content: bytes) -> None:
        """Keep a content under a key; a directory that cannot be written, or a full disk, is no error."""
        if len(content) > self.limit:
            return
        path = self._path(key)
        with suppress(OSError):
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with replaced_file(path) as partial:
                partial.touch(mode=0o600)
                with partial.open("wb") as file:
                    file.write(self._seals.of(_sealed(key, content)).encode() + b"\n")
                    file.write(content)
            self._shrink(path)

    def _path(self, key: Mapping[str, Any]) -> Path:
        text = json.dumps(key, sort_keys=True, allow_nan=False).encode()
        return self.directory / f"{hashlib.sha256(text).hexdigest()[:32]}{SUFFIX}"

    def _shrink(self, newest: Path) -> None:
        """Remove the files unused for longest until the rest fit the limit; the newest one stays."""
        states = [(path.stat(), path) for path in self.directory.glob(f"*{SUFFIX}")]
        total = sum(state.st_size for state, _ in states)
        for state, path in sorted(states, key=lambda one: one[0].st_mtime):
            if total <= self.limit:
                return
            if path != newest:
                total -= state.st_size
                path.unlink(missing_ok=True)


def _sealed(key: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    return {"key": dict(key), "sha256": hashlib.sha256(content).hexdigest()}
