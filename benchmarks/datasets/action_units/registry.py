"""Open a data set of action units from ``name:FOLDER``, the folder of the user's copy: none is shipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emo_edge.benchmarks.datasets.action_units.bp4d import bp4d
from emo_edge.benchmarks.datasets.action_units.disfa import disfa
from emo_edge.benchmarks.datasets.action_units.recordings import UnitDataset
from emo_edge.benchmarks.datasets.specs import folder_of

DATASETS: dict[str, Callable[[Path], UnitDataset]] = {"bp4d": bp4d, "disfa": disfa}


def open_units(spec: str) -> UnitDataset:
    """Read the labels of ``bp4d:FOLDER`` or ``disfa:FOLDER``; raise InputError for others, and for another layout."""
    name, folder = folder_of(spec, tuple(DATASETS))
    return DATASETS[name](folder)
