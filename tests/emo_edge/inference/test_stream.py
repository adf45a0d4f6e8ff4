"""The order of sources: one picture that cannot be read, or be computed, is a result, and the next one is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.errors import BundleError, EmoEdgeError
from emo_edge.inference.results import ClipSampling, Request
from emo_edge.inference.stream import read_sources
from emo_edge.media.images import write_image


class Scripted:
    """Fails on pictures of one width, as a network that computes nonsense of them does."""

    def check(self, request: Request, frames: int = 1) -> None:
        """Accept every request."""

    def read(self, image: Any, request: Request, *, faces: str) -> list[Any]:
        if image.shape[1] == 9:
            raise BundleError("the face graph computes pose nan on cpu")
        return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, width in (("a", 8), ("b", 9), ("c", 8)):
        write_image(tmp_path / f"{name}.png", np.zeros((8, width, 3), np.uint8))
    return tmp_path


def errors_of(*sources: Path) -> list[tuple[str, EmoEdgeError | None]]:
    pipeline: Any = Scripted()
    results = read_sources(pipeline, map(str, sources), Request(), ClipSampling())
    return [(Path(result.source).name, result.error) for result in results]


def test_a_picture_that_gives_nonsense_does_not_end_a_folder(folder: Path) -> None:
    (first, none), (second, error), (third, last) = errors_of(folder)
    assert (first, second, third) == ("a.png", "b.png", "c.png") and none is None and last is None
    assert isinstance(error, BundleError) and error.exit_code == 5


def test_a_picture_that_gives_nonsense_does_not_end_a_list(folder: Path) -> None:
    results = errors_of(folder / "b.png", folder / "none.png", folder / "a.png")
    assert [None if error is None else error.exit_code for _, error in results] == [5, 4, None]
