"""The list of a repository's files, by which a later export knows what it may replace."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.triton.contract import MODEL
from emo_edge.utils.files import entries_below, read_json, sha256_of, write_json

LISTING = f"{MODEL}/1/written.json"
LISTING_VERSION = 1
CACHED = re.compile(rf"{MODEL}/1/__pycache__/model\.[\w-]+\.pyc")
"""Files that the server's Python leaves."""
NAMED = 5
"""Files that a refusal names."""


def write_listing(root: Path) -> None:
    """Write the path and the sha256 of every file below ``root``."""
    files = {name: sha256_of(root / name) for name in entries_below(root)}
    write_json(root / LISTING, {"listing_version": LISTING_VERSION, "files": files})


def require_written(target: Path) -> None:
    """Raise InputError unless a folder holds the files of a repository of ours as they were written, and no other."""
    listed = _listed(target)
    names = [name for name in entries_below(target) if name != LISTING and not CACHED.fullmatch(name)]
    others = [name for name in names if name not in listed]
    changed = [name for name in names if name in listed and _digest(target / name) != listed[name]]
    for kind, problems in (("holds files that are not the repository's", others), ("was changed since", changed)):
        if problems:
            more = f" and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
            raise InputError(
                f"{target}: {kind}: {', '.join(problems[:NAMED])}{more}; move or remove them, or give another name"
            )


def _listed(target: Path) -> dict[str, Any]:
    try:
        document = read_json(target / LISTING, "no repository of ours")
        if isinstance(document, dict) and isinstance(document.get("files"), dict):
            return dict(document["files"])
    except CheckpointError:
        pass
    raise InputError(f"{target}: already there, and no repository of ours; give another name")


def _digest(path: Path) -> str | None:
    """Return the sha256 of a plain file; None for anything else."""
    try:
        return sha256_of(path) if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None
