"""Onset, apex and offset of one movement: three frames of a video, by their number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emo_edge.errors import InputError, TaskError
from emo_edge.media.sources import without_password
from emo_edge.media.videos import TimedFrame, sampled_frames

NO_APEX = "/"
"""CASME II's mark of a movement whose apex nobody annotated."""


@dataclass(frozen=True)
class Moments:
    """Numbers of three frames, counted from 0. Raises TaskError for frames that are not in this order."""

    onset: int
    apex: int
    offset: int

    def __post_init__(self) -> None:
        if not 0 <= self.onset <= self.apex <= self.offset or self.onset == self.offset:
            raise TaskError(
                f"`onset` {self.onset}, `apex` {self.apex} and `offset` {self.offset} are no movement: they are frames "
                "from 0 on in this order, and the last is not the first"
            )


def moments(onset: str | None, apex: str | None, offset: str | None) -> Moments | None:
    """Return the frames that texts name; None where none is named. Raises TaskError for others."""
    texts = {"onset": onset, "apex": apex, "offset": offset}
    missing = [name for name, text in texts.items() if text is None]
    if len(missing) == len(texts):
        return None
    if missing:
        raise TaskError(f"{_listed(texts)} go together: {_listed(missing)} is missing")
    return Moments(**{name: _number(name, text or "") for name, text in texts.items()})


def moment_frames(source: str | Path, chosen: Moments) -> list[TimedFrame]:
    """Return the three frames of a video; raise InputError for a video that ends before the offset."""
    numbers = (chosen.onset, chosen.apex, chosen.offset)
    kept: dict[int, TimedFrame] = {}
    last = -1
    for frame in sampled_frames(source):
        last = frame.index
        if last in numbers:
            kept[last] = frame
        if last == chosen.offset:
            return [kept[number] for number in numbers]
    name = without_password(str(source))
    raise InputError(f"{name}: the video has {last + 1} frames, and `offset` is {chosen.offset}, counted from 0")


def _number(name: str, text: str) -> int:
    if text.strip() == NO_APEX:
        raise TaskError(f"`{name}` {NO_APEX} means that nobody annotated it: give the number of its frame")
    try:
        return int(text)
    except ValueError as error:
        raise TaskError(f"`{name}` is the number of a frame, not {text!r}") from error


def _listed(names: object) -> str:
    return ", ".join(f"`{name}`" for name in names)  # type: ignore[attr-defined]
