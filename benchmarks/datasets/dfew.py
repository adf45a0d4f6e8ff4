"""DFEW: clips of films with seven expressions, in five folds.

Source: Jiang et al., "DFEW: A Large-Scale Database for Recognizing Dynamic Facial Expressions in the Wild" (ACM MM
2020), https://dfew-dataset.github.io/. The release comes with a README (1.0, 2020-10-17; read in a public copy) that
names the folders and the label codes: Clip/original/XXXXX.mp4, Clip/clip_224x224 and Clip/clip_224x224_16f with folders
of aligned frames, EmoLabel_DataSplit. That the lists have the columns video_name and label, and names of five digits,
is reconstructed from public loaders (preprocess/dfew.py of sunlicai/MAE-DFER).
"""

from __future__ import annotations

from emo_edge.benchmarks.datasets.items import Clips, Dataset
from emo_edge.benchmarks.datasets.layout import csv_rows, first_there, inside
from emo_edge.benchmarks.datasets.listing import Entry, Listing, Request, collected
from emo_edge.errors import InputError
from emo_edge.taxonomy import LABEL_SETS

LABELS = LABEL_SETS["dfew7"]
FOLDS = 5
CLIPS = ("Clip/clip_224x224", "Clip/clip_224x224_16f", "Clip/original")
"""Aligned faces first: the published figures are measured on them."""
LAYOUT = """  EmoLabel_DataSplit/test(single-labeled)/set_1.csv     video_name,label   (likewise train)
  Clip/clip_224x224/00001/ with frames      or Clip/clip_224x224_16f/00001/, Clip/original/00001.mp4"""


def dfew(request: Request) -> Dataset:
    """Open the clips with a single label of one fold."""
    split = request.split_of({"train": "train", "test": "test"})
    fold = request.official_fold(FOLDS)
    root = request.folder()
    # The README writes an underscore, the archives unpack with a hyphen.
    names = [f"EmoLabel_DataSplit/{split}(single{mark}labeled)/set_{fold}.csv" for mark in "-_"]
    path, home = first_there(root, names, LAYOUT), first_there(root, CLIPS, LAYOUT)
    entries = []
    for number, (name, code) in csv_rows(path, ("video_name", "label")):
        try:
            stem = inside(name.removesuffix(".mp4")).zfill(5)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}, not {name[:80]!r}") from error
        entries.append(Entry(stem, stem, _label(code)))
    source = f"DFEW, {split}, fold {fold}: {path.relative_to(root)}, {home.relative_to(root)}"
    return collected(
        request, Listing(entries, Clips(home), LABELS, source=source, clips=True, cut=home.name != "original")
    )


def _label(code: str) -> str:
    """Return the label of a code 1 to 7; 0, which means several labels, and others stay as they are."""
    return LABELS[int(code) - 1] if code in {str(number) for number in range(1, len(LABELS) + 1)} else code
