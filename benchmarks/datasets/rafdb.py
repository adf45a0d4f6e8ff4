"""RAF-DB, basic (7) and compound (11) expressions: one list of both splits, and a text file of attributes a picture.

Source: Li and Deng, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the
Wild" (CVPR 2017), http://www.whdeng.cn/RAF/model1.html, which asks for an agreement before it gives the files. Their
layout, the label codes and the three codes below the landmarks in Annotation/manual are therefore reconstructed from
public loaders of the authors' files: the list and the pictures from those of msy1412/AU-ViT and many others, which
agree; attributes and boxes (x0 y0 x1 y1 of the picture in Image/original) from fewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from emo_edge.benchmarks.datasets.items import Dataset, Pictures
from emo_edge.benchmarks.datasets.layout import first_there, inside, list_lines
from emo_edge.benchmarks.datasets.listing import NO_GROUPS, Entry, Listing, Request, collected
from emo_edge.media.crops import Box
from emo_edge.taxonomy import LABEL_SETS

LIST = "EmoLabel/list_patition_label.txt"
ATTRIBUTES = {
    "gender": ("male", "female", "unsure"),
    "race": ("Caucasian", "African-American", "Asian"),
    "age": ("0-3", "4-19", "20-39", "40-69", "70+"),
}
"""By code, in the order of their lines, which follow five lines of landmarks."""
LANDMARK_LINES = 5


def basic(request: Request) -> Dataset:
    """Open the seven basic expressions."""
    return _part(request, "basic", LABEL_SETS["rafdb7"])


def compound(request: Request) -> Dataset:
    """Open the eleven compound expressions."""
    return _part(request, "compound", LABEL_SETS["rafdb-compound11"])


def _part(request: Request, part: str, labels: tuple[str, ...]) -> Dataset:
    request.no_folds()
    prefix = request.split_of({"train": "train_", "test": "test_"})
    root, layout = request.folder(), _layout(part)
    path = first_there(root, (f"{part}/{LIST}", LIST), layout)
    home = path.parent.parent
    pictures = first_there(home, ("Image/aligned", "Image/original"), layout)
    aligned = pictures.name == "aligned"
    rows = [row for row in list_lines(path, _row) if row[0].startswith(prefix)]
    entries = [_entry(home, aligned, name, _label(code, labels)) for name, code in rows]
    bare = sum(not entry.groups for entry in entries)
    notes = [f"{bare} of {len(entries)} pictures have no attributes in Annotation/manual"] if bare else []
    source = f"RAF-DB {part}, {request.split}: {LIST}, Image/{pictures.name}"
    return collected(request, Listing(entries, Pictures(pictures), labels, source=source, cut=aligned, notes=notes))


def _row(line: str) -> tuple[str, str]:
    """Split a line "train_00001.jpg 5"."""
    cells = line.split()
    if len(cells) != 2 or not cells[0].startswith(("train_", "test_")):
        raise ValueError("a line has a name that begins with train_ or test_, and a code")
    return inside(cells[0]), cells[1]


def _entry(home: Path, aligned: bool, name: str, label: str) -> Entry:
    stem = name.removesuffix(".jpg")
    groups = _groups(home / "Annotation/manual" / f"{stem}_manu_attri.txt")
    if aligned:
        return Entry(name, f"{stem}_aligned.jpg", label, groups)
    return Entry(name, name, label, groups, _box(home / "Annotation/boundingbox" / f"{stem}_boundingbox.txt"))


def _label(code: str, labels: tuple[str, ...]) -> str:
    """Return the label of a code, which counts from 1; another code stays as it is and is listed as unknown."""
    return labels[int(code) - 1] if code in {str(number) for number in range(1, len(labels) + 1)} else code


def _groups(path: Path) -> Mapping[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return _known(*(int(line) for line in lines[LANDMARK_LINES : LANDMARK_LINES + len(ATTRIBUTES)]))
    except (OSError, ValueError, IndexError, TypeError):
        return NO_GROUPS


@cache
def _known(gender: int, race: int, age: int) -> Mapping[str, str]:
    """Name the codes; the mappings are shared, because there are far more pictures than combinations."""
    codes = dict(zip(ATTRIBUTES, (gender, race, age), strict=True))
    if min(codes.values()) < 0:
        raise ValueError
    return {name: ATTRIBUTES[name][code] for name, code in codes.items()}


def _box(path: Path) -> Box | None:
    try:
        x0, y0, x1, y1 = (float(value) for value in path.read_text(encoding="utf-8").split())
    except (OSError, ValueError):
        return None
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _layout(part: str) -> str:
    return f"""  {part}/
    {LIST}               test_0001.jpg 5
    Image/aligned/test_0001_aligned.jpg            or Image/original/test_0001.jpg
    Annotation/manual/test_0001_manu_attri.txt     may be missing
    Annotation/boundingbox/test_0001_boundingbox.txt   may be missing"""
