"""Seals of files that this machine wrote: what was copied here from elsewhere, or changed since, does not hold one."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

SECRET = ".secret"
SECRET_BYTES = 32


class MachineSeal:
    """Seals JSON values with a secret that is made once in a directory and never leaves it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def of(self, values: Mapping[str, Any]) -> str:
        """Return the seal of values; raise OSError where the secret can be neither read nor written."""
        text = json.dumps(values, sort_keys=True, allow_nan=False).encode()
        return hmac.new(self.secret(), text, hashlib.sha256).hexdigest()

    def holds(self, values: Mapping[str, Any], seal: object) -> bool:
        """Return whether this machine made the seal for just these values."""
        return hmac.compare_digest(str(seal), self.of(values))

    def secret(self) -> bytes:
        """Return the secret; it is made where there is none."""
        path = self.directory / SECRET
        with suppress(FileNotFoundError):
            secret = path.read_bytes()
            if len(secret) == SECRET_BYTES:
                return secret
            path.unlink()  # cut off by a power failure: anybody could seal with nothing
        self.directory.mkdir(parents=True, exist_ok=True)
        partial = self.directory / f"{SECRET}.{secrets.token_hex(8)}"
        partial.touch(mode=0o600)
        partial.write_bytes(secrets.token_bytes(SECRET_BYTES))
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            partial.replace(path)
        partial.unlink(missing_ok=True)
        return path.read_bytes()
