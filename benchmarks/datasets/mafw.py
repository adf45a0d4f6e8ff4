"""MAFW: clips with eleven single or 43 single and compound expressions, in five folds.

Source: Liu et al., "MAFW: A Large-scale, Multi-modal, Compound Affective Database for Dynamic Facial Expression
Recognition in the Wild" (ACM MM 2022), https://github.com/MAFW-database/MAFW, whose README has a line of each kind and
the folder clips/. The files come on request; "Train & Test Set/{single,compound}/no_caption/set_N" and data/clips are
reconstructed from public loaders and descriptions of the authors' files, and the 43 names from one such loader. The
gender that the release also gives is not read: what its codes mean could not be confirmed.
"""

from __future__ import annotations

from emo_edge.benchmarks.datasets.items import Clips, Dataset
from emo_edge.benchmarks.datasets.layout import first_there, inside, list_lines
from emo_edge.benchmarks.datasets.listing import Entry, Listing, Request, collected
from emo_edge.taxonomy import LABEL_SETS

SINGLE = LABEL_SETS["mafw11"]
COMPOUND = (
    "anger_anxiety",
    "anger_disgust",
    "anger_disgust_anxiety",
    "anger_disgust_contempt",
    "anger_helplessness",
    "anger_sadness",
    "anger_surprise",
    "anxiety_helplessness",
    "anxiety_helplessness_disappointment",
    "disgust_anxiety",
    "disgust_anxiety_helplessness",
    "disgust_contempt",
    "disgust_disappointment",
    "disgust_helplessness",
    "disgust_helplessness_disappointment",
    "disgust_sadness",
    "disgust_surprise",
    "fear_anxiety",
    "fear_sadness",
    "fear_sadness_anxiety",
    "fear_surprise",
    "fear_surprise_anxiety",
    "happiness_contempt",
    "happiness_surprise",
    "helplessness_disappointment",
    "sadness_anxiety",
    "sadness_anxiety_helplessness",
    "sadness_disappointment",
    "sadness_helplessness",
    "sadness_helplessness_disappointment",
    "sadness_surprise",
    "surprise_anxiety",
)
"""By the alphabet: the release has no order of its own for them."""
FOLDS = 5
CLIPS = ("data/clips", "clips", "data/frames")


def single(request: Request) -> Dataset:
    """Open the clips with one of eleven expressions, of one fold."""
    return _part(request, "single", SINGLE)


def compound(request: Request) -> Dataset:
    """Open the clips with one of 43 expressions, the eleven and 32 compounds of them, of one fold."""
    return _part(request, "compound", (*SINGLE, *COMPOUND))


def _part(request: Request, part: str, labels: tuple[str, ...]) -> Dataset:
    split = request.split_of({"train": "train", "test": "test"})
    fold = request.official_fold(FOLDS)
    root, layout = request.folder(), _layout(part)
    path = first_there(root, (f"Train & Test Set/{part}/no_caption/set_{fold}/{split}.txt",), layout)
    home = first_there(root, CLIPS, layout)
    source = f"MAFW {part}, {split}, fold {fold}: {path.relative_to(root)}, {home.relative_to(root)}"
    return collected(request, Listing(list_lines(path, _entry), Clips(home), labels, source=source, clips=True))


def _entry(line: str) -> Entry:
    """Read a line "03747.mp4 anger"."""
    cells = line.split()
    if len(cells) != 2:
        raise ValueError("a line has a clip and a label")
    stem = inside(cells[0].removesuffix(".mp4"))
    return Entry(stem, stem, cells[1])


def _layout(part: str) -> str:
    return f"""  Train & Test Set/{part}/no_caption/set_1/test.txt     03747.mp4 anger   (likewise train.txt)
  data/clips/03747.mp4        or clips/03747.mp4, or data/frames/03747/ with frames"""
