"""Data sets as lists of labelled pictures or clips, each decoded only when its frames are read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.media.crops import Box, Image
from emo_edge.media.folders import image_paths
from emo_edge.media.images import read_image
from emo_edge.media.sources import VIDEO_EXTENSIONS
from emo_edge.media.videos import clip_frames, even_indices

SHOWN = 5
"""Examples that a problem lists; its count covers all."""


class Frame(NamedTuple):
    """One picture, or one frame of a clip."""

    image: Image
    """uint8 RGB [H, W, 3]."""
    box: Box | None
    """x0, y0, x1, y1 of the face in pixels, where the data set gives it."""


class Media(Protocol):
    """A source of pictures or clips; one object serves all items of a data set."""

    def exists(self, location: str) -> bool:
        """Return True if ``location`` can be opened; nothing is read."""

    def frames(self, location: str, count: int) -> list[Frame]:
        """Read ``count`` frames spread over a clip, or the one picture there is; raise InputError if it is broken."""


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled picture or clip."""

    key: str
    """Its name in the data set: the same on every machine, and nobody else's."""
    label: int
    """Index into the labels of the data set."""
    media: Media
    location: str
    """Location that ``media`` opens: a path, a byte offset, the number of a drawing."""
    groups: Mapping[str, str]
    """Attributes of the person or the scene that the data set gives, such as age, gender, race; often none."""
    box: Box | None
    """x0, y0, x1, y1 of the face in pixels, if the data set's lists give it."""

    def frames(self, count: int = 8) -> list[Frame]:
        """Read the middle frames of ``count`` equal parts of a clip, or the one picture, as `Media.frames`."""
        if count < 1:
            raise InputError(f"count is at least 1, not {count}")
        return [Frame(image, box or self.box) for image, box in self.media.frames(self.location, count)]

    @property
    def image(self) -> Image:
        """Pixels of the picture, of a clip its middle frame: uint8 RGB [H, W, 3], read each time."""
        return self.frames(1)[0].image


@dataclass(frozen=True)
class Problem:
    """Samples that were left out for one reason."""

    reason: str
    count: int
    examples: tuple[str, ...]
    """The first few by name."""

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count} {self.reason}: {', '.join(self.examples)}{more}"


@dataclass(frozen=True)
class Dataset:
    """A split of a data set, in the order of its list."""

    name: str
    labels: tuple[str, ...]
    """Every label of the set in its own order, also one that no item has."""
    items: Sequence[Item]
    clips: bool
    """True where the items are clips, False where they are pictures."""
    cut: bool
    """True for faces already cut out, in which a detector may find none: the whole picture is read."""
    problems: tuple[Problem, ...]
    """Samples that were left out, by reason."""
    notes: tuple[str, ...]
    """Remarks on the figures for which nothing was left out."""
    source: str
    """Lists and folders of the data set that were read."""

    @property
    def truth(self) -> NDArray[np.int64]:
        """Label index of every item, int64 [items]."""
        return np.array([item.label for item in self.items], np.int64)


@dataclass(frozen=True)
class Pictures:
    """Picture files below a folder."""

    root: Path

    def exists(self, location: str) -> bool:
        """Return True if the file exists."""
        return (self.root / location).is_file()

    def frames(self, location: str, count: int) -> list[Frame]:
        """Read the picture."""
        return [Frame(read_image(self.root / location), None)]


@dataclass(frozen=True)
class Clips:
    """Clips below a folder: a video file or a folder of frames each; a location may lack the video's extension."""

    root: Path

    def exists(self, location: str) -> bool:
        """Return True if the folder or the file exists."""
        return self._path(location) is not None

    def frames(self, location: str, count: int) -> list[Frame]:
        """Read the middle frames of ``count`` equal parts."""
        path = self._path(location)
        if path is None:
            raise InputError(f"{self.root / location}: no such clip")
        if path.is_dir():
            paths = sorted(image_paths(path), key=natural_order)
            return [Frame(read_image(paths[index]), None) for index in even_indices(len(paths), count)]
        return [Frame(frame.image, None) for frame in clip_frames(path, count=count)]

    def _path(self, location: str) -> Path | None:
        path = self.root / location
        if path.exists():
            return path
        videos = (path.with_name(path.name + extension) for extension in VIDEO_EXTENSIONS)
        return next((video for video in videos if video.is_file()), None)


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key by which 2.jpg comes before 10.jpg: releases number frames with and without leading zeros."""
    parts = re.findall(r"(\d+)|(\D+)", path.name)
    return [(int(number), "") if number else (-1, text) for number, text in parts]
