"""Labelled clips of people, with the frames where an expression begins, is strongest and ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from emo_edge.benchmarks.datasets.items import Problem
from emo_edge.benchmarks.datasets.layout import whole_number
from emo_edge.benchmarks.datasets.listing import Tally
from emo_edge.errors import InputError

NO_APEX = ("/", "")
"""Cells of a clip whose apex was not found."""
THREE = ("negative", "positive", "surprise")
"""Classes of micro-expressions that data sets have in common (MEGC 2019)."""


@dataclass(frozen=True)
class LabelledClip:
    """One clip."""

    key: str
    """Its name in the data set."""
    subject: str
    label: str
    path: Path
    """Folder of frames, or a video file."""
    onset: int | None = None
    """First frame, as the data set counts; None where it has no such frames."""
    apex: int | None = None
    """None also where none was found."""
    offset: int | None = None
    """Last frame."""


@dataclass(frozen=True)
class ClipDataset:
    """Clips of one data set, or of one of its splits."""

    name: str
    labels: tuple[str, ...]
    """Every label in the data set's order, also one that no clip has."""
    clips: tuple[LabelledClip, ...]
    problems: tuple[Problem, ...]
    """Clips that were left out, by reason."""
    left_out: frozenset[str]
    """All of their keys."""
    notes: tuple[str, ...]
    """Remarks on every figure of this data set."""
    frames_per_second: float | None = None
    """Of the camera, where onset, apex and offset count its frames."""


@dataclass
class LeftOut(Tally):
    """Counts clips that are left out, by reason, and keeps the keys of all of them."""

    keys: set[str] = field(default_factory=set)

    def add(self, reason: str, example: str) -> None:
        """Count one clip."""
        super().add(reason, example)
        self.keys.add(example)


def frame_number(cell: str) -> int:
    """Return the number of a frame; raise ValueError for another cell."""
    number = whole_number(cell)
    if number < 0:
        raise ValueError(f"a frame is 0 or more, not {cell}")
    return number


def moments(onset: str, apex: str, offset: str) -> tuple[int, int | None, int]:
    """Return the frames of three cells; an apex of `NO_APEX` is None. Raises ValueError for cells of no frame."""
    return frame_number(onset), None if apex in NO_APEX else frame_number(apex), frame_number(offset)


def is_in_order(clip: LabelledClip) -> bool:
    """Return whether onset, apex and offset follow each other, as far as a clip has them."""
    if clip.onset is None or clip.offset is None:
        return True
    return clip.onset < clip.offset and (clip.apex is None or clip.onset <= clip.apex <= clip.offset)


def usable(clips: Iterable[LabelledClip], left_out: LeftOut) -> tuple[LabelledClip, ...]:
    """Return each clip once, if its files are there and its frames in order; count the others."""
    kept: dict[str, LabelledClip] = {}
    for clip in clips:
        if clip.key in kept:
            left_out.add("listed more than once, kept once", clip.key)
        elif not is_in_order(clip):
            left_out.add("whose onset, apex and offset are not in this order", clip.key)
        elif not clip.path.exists():
            left_out.add("missing files", clip.key)
        else:
            kept[clip.key] = clip
    return tuple(kept.values())


def collected(
    name: str,
    labels: tuple[str, ...],
    clips: Iterable[LabelledClip],
    left_out: LeftOut,
    notes: Iterable[str] = (),
    frames_per_second: float | None = None,
) -> ClipDataset:
    """Return the data set of what is `usable`; raise InputError that counts the problems where nothing is left."""
    kept = usable(clips, left_out)
    problems = left_out.problems()
    if not kept:
        raise InputError(f"{name}: no clip is left" + "".join(f"\n  {problem}" for problem in problems))
    keys = frozenset(left_out.keys - {clip.key for clip in kept})
    return ClipDataset(name, labels, kept, problems, keys, tuple(notes), frames_per_second)
