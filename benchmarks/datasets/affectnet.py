"""AffectNet with 7 or 8 expressions, in both of its releases.

The later one (2021) has a folder of pictures and one of NumPy files for each split; the earlier one (2017) has lists
with the face's box. Neither has a public test set: the field measures on the validation set, and so does "test" here.

Source: Mollahosseini, Hasani and Mahoor, "AffectNet: A Database for Facial Expression, Valence, and Arousal Computing
in the Wild" (IEEE TAC 2017), http://mohammadmahoor.com/affectnet/, which gives the files on request. Layout and label
codes are reconstructed from public loaders of the authors' files, which agree; that a NumPy file holds one number or
its text, and that validation.csv may lack its header, from one or two of them each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emo_edge.benchmarks.datasets.items import Dataset, Pictures
from emo_edge.benchmarks.datasets.layout import csv_rows, first_there, inside
from emo_edge.benchmarks.datasets.listing import Entry, Listing, Request, Tally, collected
from emo_edge.errors import InputError
from emo_edge.media.crops import Box
from emo_edge.taxonomy import EXPRESSIONS

CODES = (*EXPRESSIONS, "none", "uncertain", "no face")
"""By code; the last three, of the lists only, are no expressions."""
COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
)
SETS = {"train": ("train_set", "training.csv"), "val": ("val_set", "validation.csv")}
SUFFIX = "_exp.npy"
LISTS = "Manually_Annotated_file_lists"
PICTURES = (
    "Manually_Annotated/Manually_Annotated_Images",
    "Manually_Annotated_Images/Manually_Annotated_Images",
    "Manually_Annotated_Images",
)
LAYOUT = f"""  val_set/images/0.jpg, val_set/annotations/0{SUFFIX}       (likewise train_set)
or
  {LISTS}/validation.csv             (likewise training.csv)
  {PICTURES[0]}/1/0f3a.jpg"""


def seven(request: Request) -> Dataset:
    """Open the expressions without contempt."""
    return _opened(request, EXPRESSIONS[:7])


def eight(request: Request) -> Dataset:
    """Open the eight expressions."""
    return _opened(request, EXPRESSIONS)


def _opened(request: Request, labels: tuple[str, ...]) -> Dataset:
    request.no_folds()
    folder, name = request.split_of(SETS | {"test": SETS["val"]})
    root = request.folder()
    path = first_there(root, (folder, f"{LISTS}/{name}", name), LAYOUT)
    tally = Tally()
    if path.is_dir():
        home, entries = first_there(path, ("images",), LAYOUT), _annotated(path, tally)
    else:
        home, entries = first_there(root, PICTURES, LAYOUT), _listed(path)
    kept = [entry for entry in entries if _is_asked(entry, labels, tally)]
    source = f"AffectNet, {request.split}: {path.relative_to(root)}, {home.relative_to(root)}"
    notes = ["AffectNet's validation set: it has no public test set"] if request.split == "test" else []
    return collected(request, Listing(kept, Pictures(home), labels, source=source, tally=tally, notes=notes))


def _is_asked(entry: Entry, labels: tuple[str, ...], tally: Tally) -> bool:
    """Leave out what belongs to the release and not to these expressions."""
    strange = entry.label in CODES and entry.label not in labels
    if strange:
        tally.add(f"with {entry.label}, not one of the {len(labels)} expressions", entry.key)
    return not strange


def _annotated(home: Path, tally: Tally) -> Iterator[Entry]:
    """Give an entry for each NumPy file; pictures without one are counted."""
    folder = first_there(home, ("annotations",), LAYOUT)
    try:
        # Names are numbers without leading zeros.
        names = sorted(
            (name for name in os.listdir(folder) if name.endswith(SUFFIX)), key=lambda name: (len(name), name)
        )
        pictures = sorted(os.listdir(home / "images"))
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be listed: {error.strerror}") from error
    stems = {name.removesuffix(SUFFIX) for name in names}
    for picture in pictures:
        if picture.endswith(".jpg") and picture.removesuffix(".jpg") not in stems:
            tally.add("pictures without a label", picture)
    for name in names:
        location = name.removesuffix(SUFFIX) + ".jpg"
        code = _code(folder / name)
        if code is None:
            tally.add("with a label that cannot be read", location)
        else:
            yield Entry(location, location, _label(code))


def _code(path: Path) -> str | None:
    """Return the one whole number of a NumPy file as text; files with pickled objects are not opened."""
    try:
        number = float(np.load(path, allow_pickle=False).item())
    except (OSError, ValueError, TypeError, EOFError, MemoryError):
        return None
    return str(int(number)) if number.is_integer() else None


def _label(code: str) -> str:
    return CODES[int(code)] if code in {str(number) for number in range(len(CODES))} else code


def _listed(path: Path) -> Iterator[Entry]:
    for number, (name, *box, _, code) in csv_rows(path, COLUMNS, headless=True):
        try:
            location = inside(name)
            yield Entry(location, location, _label(code), box=_box(*(float(value) for value in box)))
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}, not {', '.join((name, *box))[:80]!r}") from error


def _box(x: float, y: float, width: float, height: float) -> Box | None:
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None
