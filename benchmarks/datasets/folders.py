"""A folder with a folder for each label, which holds pictures, video files, or folders of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from emo_edge.benchmarks.datasets.items import Clips, Dataset, Pictures, natural_order
from emo_edge.benchmarks.datasets.listing import KNOWN, Entry, Listing, Request, Tally, collected
from emo_edge.errors import InputError
from emo_edge.media.folders import OPTIONAL_NAMES, PICTURE_NAMES
from emo_edge.media.sources import VIDEO_EXTENSIONS
from emo_edge.taxonomy import ADJECTIVES
from emo_edge.utils.suggestions import plain

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
LAYOUT = """  happiness/1.jpg, 2.jpg, ...      or clips: happiness/1.mp4, or happiness/1/ with frames
  sadness/...                      all of it may lie below train/, val/ and test/"""


def folder(request: Request) -> Dataset:
    """Open a tree; the labels are those that occur, in the taxonomy's order."""
    request.no_folds()
    root, tally = request.folder(), Tally()
    try:
        home = _split_home(request, root)
        entries = list(_entries(home, tally))
    except OSError as error:
        raise InputError(f"{error.filename or root}: cannot be listed: {error.strerror}") from error
    if not entries:
        raise InputError(f"{home}: no folder of a label holds a picture or a clip. Expected:\n{LAYOUT}")
    moving = [is_clip(home, entry.location) for entry in entries]
    if any(moving) and not all(moving):
        examples = entries[moving.index(True)].location, entries[moving.index(False)].location
        raise InputError(f"{home}: clips and pictures together, {' and '.join(examples)}: measure one after the other")
    media = Clips(home) if moving[0] else Pictures(home)
    source = "a folder for each label" + (f", {home.name}" if home != root else "")
    dataset = collected(request, Listing(entries, media, None, source=source, clips=moving[0], tally=tally))
    return _with_labels(dataset, (path.name for path in _folders(home)), request.label_map)


def _with_labels(dataset: Dataset, names: Iterable[str], label_map: Mapping[str, str]) -> Dataset:
    """Ask for the labels of empty folders, too: with fewer to choose from, the question would be an easier one."""
    ours = {plain(theirs): label for theirs, label in label_map.items()}
    known = {plain(label): label for label in KNOWN}
    words = {**ADJECTIVES, **known}
    named = {words.get(plain(ours.get(plain(name), name))) for name in names}
    absent = [label for label in KNOWN if label in named and label not in dataset.labels]
    if not absent:
        return dataset
    order = tuple(label for label in dict.fromkeys((*KNOWN, *dataset.labels)) if label in {*dataset.labels, *absent})
    items = [replace(item, label=order.index(dataset.labels[item.label])) for item in dataset.items]
    return replace(dataset, labels=order, items=items, notes=(*dataset.notes, f"no sample of {', '.join(absent)}"))


def is_clip(root: Path, location: str) -> bool:
    """Return True for a video, by its extension, and for a folder of frames."""
    return Path(location).suffix.lower() in VIDEO_EXTENSIONS or (root / location).is_dir()


def _split_home(request: Request, root: Path) -> Path:
    """Return the folder of the split where the tree has some, or the tree."""
    folders = {path.name.lower(): path for path in _folders(root)}
    splits = {split: folders[name] for split, names in SPLIT_NAMES.items() for name in names if name in folders}
    if splits:
        return request.split_of(splits)
    request.one_split()
    return root


def _entries(home: Path, tally: Tally) -> Iterator[Entry]:
    for label in _folders(home):
        empty = True
        for path in sorted(label.iterdir(), key=natural_order):
            if path.name.startswith("."):
                continue
            location = f"{label.name}/{path.name}"
            if path.is_dir() or path.suffix.lower() in (*PICTURE_NAMES, *OPTIONAL_NAMES, *VIDEO_EXTENSIONS):
                empty = False
                yield Entry(location, location, label.name)
            else:
                tally.add("neither pictures nor clips", location)
        if empty:
            tally.add("empty folders", label.name)


def _folders(home: Path) -> list[Path]:
    return sorted(path for path in home.iterdir() if path.is_dir() and not path.name.startswith("."))
