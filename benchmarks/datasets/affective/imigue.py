"""iMiGUE: gestures of tennis players in interviews, 31 micro-gestures and illustrative body language.

Source: Liu et al., "iMiGUE: An Identity-free Video Dataset for Micro-Gesture Understanding and Emotion Analysis" (CVPR
2021), https://github.com/linuxsino/iMiGUE, which gives the files on request. The people of the test set are those of
the paper's protocol; columns and folders from public loaders of the authors' files. That class 1 is the first name of
the paper's figure, and 99 its last one, is read off their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from emo_edge.benchmarks.datasets.affective.clips import ClipDataset, LabelledClip, LeftOut, collected, frame_number
from emo_edge.benchmarks.datasets.layout import csv_rows, first_there
from emo_edge.bundle.tasks.gpt4affectivity import MICRO_GESTURES as GESTURES
from emo_edge.errors import InputError

ILLUSTRATIVE = 99
"""Class of the last one; the others are numbered from 1."""
PEOPLE = 72
TEST = frozenset(
    (1, 3, 7, 8, 11, 16, 19, 24, 26, 27, 32, 33, 34, 37, 40, 45, 49, 50, 51, *range(54, 59), 60, *range(63, 73))
)
COLUMNS = ("video_id", "subject_id", "class", "start_frame", "end_frame")
FOLDERS = {
    "train": (
        *("iMiGUE_RGB_Phase1/imigue_rgb_train", "iMiGUE_RGB_Phase1/imigue_rgb_validate"),
        *("imigue_rgb_train", "imigue_rgb_validate"),
    ),
    "test": ("iMiGUE_RGB_Phase2/imigue_rgb_test", "imigue_rgb_test"),
}
LAYOUT = """  Label/labels_20200831.csv     video_id,subject_id,class,start_frame,end_frame
  iMiGUE_RGB_Phase1/imigue_rgb_train/0001/0001.mp4     (likewise imigue_rgb_validate)
  iMiGUE_RGB_Phase2/imigue_rgb_test/0300/0300.mp4"""
NOTES = ("gestures of the body: a crop of the face cannot hold them",)


class _Row(NamedTuple):
    video: int
    person: int
    label: str
    start: int
    end: int


def imigue(root: Path, split: str = "test") -> ClipDataset:
    """Read the gestures of one split, which is decided by the person.

    Raises InputError for another layout, for a class or person that the data set has not, and where videos of one
    person lie in the folders of both splits.
    """
    table = first_there(root, ("Label/labels_20200831.csv", "labels_20200831.csv"), LAYOUT)
    rows = list(_rows(table))
    videos = {split: _videos(root, FOLDERS[split]) for split in FOLDERS}
    _exclusive(rows, videos)
    paths = videos["train"] | videos["test"]
    clips = (
        LabelledClip(
            f"{video:04d}_{start}_{end}", str(person), label, paths.get(video, root / str(video)), start, None, end
        )
        for video, person, label, start, end in rows
        if (person in TEST) == (split == "test")
    )
    return collected(f"imigue, {split}", GESTURES, clips, LeftOut(), NOTES)


def _rows(table: Path) -> Iterator[_Row]:
    people: dict[int, int] = {}
    for number, cells in csv_rows(table, COLUMNS):
        try:
            video, person, gesture, start, end = (frame_number(cell) for cell in cells)
            if not 1 <= person <= PEOPLE:
                raise ValueError(f"subject_id is 1 to {PEOPLE}, not {person}")
            if people.setdefault(video, person) != person:
                raise ValueError(f"video {video} is of subject {person} and of {people[video]}")
            label = _label(gesture)
        except ValueError as error:
            raise InputError(f"{table}, line {number}: {error}") from error
        yield _Row(video, person, label, start, end)


def _label(gesture: int) -> str:
    if gesture == ILLUSTRATIVE:
        return GESTURES[-1]
    if not 1 <= gesture <= len(GESTURES):
        raise ValueError(f"class is 1 to {len(GESTURES) - 1} or {ILLUSTRATIVE}, not {gesture}")
    return GESTURES[gesture - 1]


def _videos(root: Path, folders: tuple[str, ...]) -> dict[int, Path]:
    """Return the file of each video that is there, by its number."""
    paths = (path for folder in folders for path in sorted((root / folder).glob("[0-9]*/*.mp4")))
    return {int(path.stem): path for path in paths if path.stem.isdecimal()}


def _exclusive(rows: list[_Row], videos: dict[str, dict[int, Path]]) -> None:
    """Raise InputError that names the people who have videos in the folders of both splits."""
    people = {split: {row.person for row in rows if row.video in own} for split, own in videos.items()}
    both = sorted(people["train"] & people["test"])
    if both:
        raise InputError(
            f"subject {', '.join(map(str, both))} has videos in the folders of both splits: nobody is in train and test"
        )
