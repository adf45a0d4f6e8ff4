"""Redaction: a report without the paths of its machine, which may name a person or a project."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

Redactions = tuple[tuple[str, str], ...]
"""A path as it may be written, and the name that replaces it; the longest first."""


def redactions(root: Path | None, dataset: str, bundle: Path, out: Path, checkpoint: Path) -> Redactions:
    """Collect every way to write the folders of a benchmark, the temporary folder and the home folder.

    A data set that is a path keeps its own name, by which the reports of two of them differ.
    """
    named: list[tuple[Path, str]] = [(bundle, "BUNDLE"), (out, "OUT"), (checkpoint, "CHECKPOINT")]
    named += [(root, "ROOT")] if root else []
    named += [(Path(dataset).parent, "ROOT")] if Path(dataset).exists() else []
    named += [(Path(tempfile.gettempdir()), "TMP")]
    with suppress(RuntimeError):  # a user without a home
        named += [(Path.home(), "~")]
    names: dict[str, str] = {}
    for path, name in named:
        for written in _written(path):
            names.setdefault(written, name)
    return tuple(sorted(names.items(), key=lambda pair: -len(pair[0])))


def redacted(value: Any, names: Redactions) -> Any:
    """Replace paths in every string of a JSON value, the keys of objects excepted."""
    if isinstance(value, str):
        for path, name in names:
            # An absolute path may follow anything, as in -I/home; a relative one is no part of a longer one.
            start = "" if os.path.isabs(path) else r"(?<![\w.~/-])"
            value = re.sub(rf"{start}{re.escape(path)}(?![\w-]|\.\w)", name, value)
        return value
    if isinstance(value, dict):
        return {key: redacted(one, names) for key, one in value.items()}
    return [redacted(one, names) for one in value] if isinstance(value, list | tuple) else value


def _written(path: Path) -> Iterable[str]:
    """Write a path as typed, absolute and resolved; a lone name or the system's root would match other words."""
    forms = {str(path), os.path.abspath(path), str(path.resolve())}
    return (form for form in forms if os.sep in form.strip(os.sep) or (form.startswith(os.sep) and form != os.sep))
