"""Drawn micro-expressions as a data set: clips with one, and faces at rest, each drawn when it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emo_edge.benchmarks.datasets.affective.clips import THREE, ClipDataset, LabelledClip
from emo_edge.benchmarks.synthetic.micro.clips import (
    FRAMES_PER_SECOND,
    SECONDS,
    MicroClip,
    MicroExpression,
    render_micro_clip,
)
from emo_edge.media.videos import TimedFrame

NAME = "synthetic-micro"
SEED = 9600
"""Unlike that of the clips which the spotting's constants were chosen on."""
AT_REST = 3
"""Clips that move for each one at rest."""
CLASSES = {"happiness": "positive", "surprise": "surprise"}
"""Of expressions (MEGC 2019); any other is negative."""


@dataclass(frozen=True)
class DrawnClip:
    """One clip; each is another face."""

    index: int
    moves: bool

    @property
    def key(self) -> str:
        """Return its name, and that of its subject."""
        return f"{NAME}-{self.index:05d}{'' if self.moves else '-rest'}"

    def movement(self) -> MicroExpression | None:
        """Return what moves; None of a face at rest."""
        return self._clip(()).movement if self.moves else None

    def frames(self) -> Iterator[TimedFrame]:
        """Draw the frames one after the other."""
        for number in range(round(SECONDS * FRAMES_PER_SECOND)):
            seconds = number / FRAMES_PER_SECOND
            (frame,) = self._clip((number,)).frames
            yield TimedFrame(frame.image, number, seconds, 0, seconds)

    def _clip(self, numbers: tuple[int, ...]) -> MicroClip:
        return render_micro_clip(SEED, self.index, moves=self.moves, frame_indices=numbers)


def class_of(expression: str) -> str:
    """Return the class of an expression."""
    return CLASSES.get(expression, "negative")


def drawn_clips(count: int) -> list[DrawnClip]:
    """Return ``count`` clips that move, and a third as many of other faces at rest."""
    at_rest = -(-count // AT_REST)
    return [DrawnClip(index, index < count) for index in range(count + at_rest)]


def synthetic_micro(clips: list[DrawnClip]) -> ClipDataset:
    """Return the labels of the clips that move, as a data set of micro-expressions has them."""
    labelled = []
    for clip in clips:
        one = clip.movement()
        if one is not None:
            label = class_of(one.expression)
            labelled.append(LabelledClip(clip.key, clip.key, label, Path(clip.key), one.onset, one.apex, one.offset))
    notes = ("drawings, no people",)
    return ClipDataset(NAME, THREE, tuple(labelled), (), frozenset(), notes, FRAMES_PER_SECOND)
