"""Names of data sets with the folder of a copy: ``name:FOLDER``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emo_edge.errors import InputError
from emo_edge.utils.suggestions import did_you_mean


def folder_of(spec: str, names: Sequence[str], others: Sequence[str] = ()) -> tuple[str, Path]:
    """Return the name and the folder of ``name:FOLDER``; raise InputError that lists the names, and ``others``."""
    name, _, folder = spec.partition(":")
    listed = ", ".join([*(f"{one}:FOLDER" for one in names), *others])
    if name not in names:
        raise InputError(f"{spec or 'no name'}: no such data set. Choose from {listed}{did_you_mean(name, names)}")
    if not folder:
        raise InputError(f"{name}: name the folder of your copy, {name}:FOLDER; no data set comes with this package")
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; {name} is read from the folder of your copy")
    return name, Path(folder)
