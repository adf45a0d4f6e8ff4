"""Open a data set of labelled clips from ``name:FOLDER``, the folder of the user's copy: none is shipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emo_edge.benchmarks.datasets.affective.casme2 import casme2
from emo_edge.benchmarks.datasets.affective.clips import ClipDataset
from emo_edge.benchmarks.datasets.affective.imigue import FOLDERS, imigue
from emo_edge.benchmarks.datasets.affective.rltrial import rltrial
from emo_edge.benchmarks.datasets.affective.samm import samm
from emo_edge.benchmarks.datasets.specs import folder_of
from emo_edge.errors import InputError

WHOLE: dict[str, Callable[[Path], ClipDataset]] = {"casme2": casme2, "samm": samm, "rltrial": rltrial}
"""Data sets that are measured as a whole, by leaving people out."""
SPLITS = tuple(FOLDERS)


def open_clips(spec: str, split: str | None = None) -> ClipDataset:
    """Read the labels of ``casme2:FOLDER``, ``samm:FOLDER``, ``imigue:FOLDER`` or ``rltrial:FOLDER``.

    ``split`` is "train" or "test", of iMiGUE alone; None is the test set. Raises InputError for others, and for another
    layout.
    """
    name, folder = folder_of(spec, (*WHOLE, "imigue"))
    if name == "imigue":
        if split not in (None, *SPLITS):
            raise InputError(f"`split` {split}: choose from {', '.join(SPLITS)}")
        return imigue(folder, split or "test")
    if split is not None:
        raise InputError(f"{name} has no splits, it is measured by leaving people out: leave `split` {split} out")
    return WHOLE[name](folder)
