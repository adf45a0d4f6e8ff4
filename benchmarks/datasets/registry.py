"""Open a data set of facial expressions in its official layout, from the user's copy: none is shipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from emo_edge.benchmarks.datasets.items import Dataset, Frame, Item, Problem
from emo_edge.benchmarks.datasets.listing import SPLITS, Request
from emo_edge.errors import InputError
from emo_edge.utils.suggestions import did_you_mean

__all__ = ["DATASETS", "Dataset", "Frame", "Item", "Problem", "open_dataset"]

DATASETS = {
    "rafdb": "rafdb:basic",
    "rafdb-compound": "rafdb:compound",
    "affectnet7": "affectnet:seven",
    "affectnet8": "affectnet:eight",
    "ferplus": "ferplus:ferplus",
    "dfew": "dfew:dfew",
    "ferv39k": "ferv39k:ferv39k",
    "mafw": "mafw:single",
    "mafw-compound": "mafw:compound",
    "folder": "folders:folder",
    "synthetic": "synthetic:pictures",
    "synthetic-clips": "synthetic:clips",
}
"""Module and function of each data set. A further one is a file and a line here."""
COUNTED = ("synthetic", "synthetic-clips")
LISTS = (".csv", ".jsonl")
NO_MAP: Mapping[str, str] = MappingProxyType({})


def open_dataset(
    spec: str,
    root: Path | None = None,
    split: str = "test",
    fold: int | None = None,
    label_map: Mapping[str, str] = NO_MAP,
) -> Dataset:
    """List a data set's samples; nothing is decoded before an item's frames are read.

    Args:
        spec: a name of `DATASETS`, "synthetic:N" or "synthetic-clips:N" (drawings), or a path: a folder with a folder
            of pictures or clips for each label, or a .csv or .jsonl list.
        root: folder of the user's copy; of a list's pictures, if they are elsewhere.
        split: "train", "val" or "test", as far as the data set has it.
        fold: 1 to 5 where the data set is measured in folds.
        label_map: their label to ours, or to "" to leave its samples out.

    Raises InputError for an unknown name or split, another layout, labels that are not known, and where no sample is
    left.
    """
    if split not in SPLITS:
        raise InputError(f"`split` {split}: choose from {', '.join(SPLITS)}{did_you_mean(split, SPLITS)}")
    name, _, argument = spec.partition(":")
    if name not in DATASETS or (argument and name not in COUNTED):
        return _at_path(spec, root, split, fold, label_map)
    if root is not None and name in COUNTED:
        raise InputError(f"{spec} is drawn: it is read from no folder")
    return _opener(DATASETS[name])(Request(name, argument, root, split, fold, label_map))


def _at_path(spec: str, root: Path | None, split: str, fold: int | None, label_map: Mapping[str, str]) -> Dataset:
    path = Path(spec)
    if spec and path.is_dir() and root is None:
        return _opener(DATASETS["folder"])(Request(path.resolve().name, "", path, split, fold, label_map))
    if path.suffix.lower() in LISTS:
        return _opener("csv_jsonl:listed")(Request(path.name, spec, root, split, fold, label_map))
    counted = [f"{name}:N" if name in COUNTED else name for name in DATASETS]
    raise InputError(
        f"{spec or 'no name'}: no such data set. Choose from {', '.join(counted)}, or give a folder with a folder for "
        f"each label, or a list ({', '.join(LISTS)}){did_you_mean(spec.partition(':')[0], DATASETS)}"
    )


def _opener(target: str) -> Callable[[Request], Dataset]:
    module, _, function = target.partition(":")
    opener: Callable[[Request], Dataset] = getattr(import_module(f"emo_edge.benchmarks.datasets.{module}"), function)
    return opener
