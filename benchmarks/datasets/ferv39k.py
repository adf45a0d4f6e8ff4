"""FERV39k: clips of 22 scenes with seven expressions, with one official split.

Source: Wang et al., "FERV39k: A Large-Scale Multi-Scene Dataset for Facial Expression Recognition in Videos" (CVPR
2022), https://github.com/wangyanckxx/FERV39k, which gives the files on request. Layout and lists are reconstructed
from public loaders of the authors' files, such as preprocess/ferv39k.py of sunlicai/MAE-DFER, which agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from emo_edge.benchmarks.datasets.items import Clips, Dataset
from emo_edge.benchmarks.datasets.layout import first_there, inside, list_lines
from emo_edge.benchmarks.datasets.listing import Entry, Listing, Request, collected
from emo_edge.taxonomy import LABEL_SETS

LABELS = LABEL_SETS["ferv39k7"]
LISTS = ("4_setups/All_scenes", "All_scenes")
CLIPS = ("2_ClipsforFaceCrop/2_ClipsforFaceCrop", "2_ClipsforFaceCrop", "3_ClipsforScenImages", "Action")
LAYOUT = """  4_setups/All_scenes/test_All.csv      Action/Happy/0267 Happy     (likewise train_All.csv)
  2_ClipsforFaceCrop/Action/Happy/0267/ with frames     or the scenes' folders here"""


def ferv39k(request: Request) -> Dataset:
    """Open the clips of all scenes; the scene is a group."""
    request.no_folds()
    split = request.split_of({"train": "train", "test": "test"})
    root = request.folder()
    path = first_there(root, [f"{folder}/{split}_All.csv" for folder in LISTS], LAYOUT)
    home = first_there(root, CLIPS, LAYOUT)
    home = root if home.name == "Action" else home
    entries = list_lines(path, _entry)
    source = f"FERV39k, {split}: {path.relative_to(root)}, {home.relative_to(root)}"
    return collected(
        request, Listing(entries, Clips(home), LABELS, source=source, clips=True, cut=home.name == CLIPS[1])
    )


def _entry(line: str) -> Entry:
    """Read a line "Action/Happy/0267 Happy"."""
    cells = line.rsplit(maxsplit=1)
    if len(cells) != 2 or "/" not in cells[0]:
        raise ValueError("a line has scene/label/clip and a label")
    location = inside(cells[0])
    return Entry(location, location, cells[1], _scene(location.partition("/")[0]))


@cache
def _scene(name: str) -> Mapping[str, str]:
    return {"scene": name}
