"""The order of sources: one picture that cannot be read, or be computed, is a result, and the next one is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from emo_edge.errors import BundleError, EmoEdgeError
from emo_edge.inference.results import ClipSampling, Request
from emo_edge.inference.stream import read_sources
from emo_edge.inference.tasks.requests import TaskReader
from emo_edge.media.images import write_image
from tests.made_videos import write


class Scripted:
    """Fails on pictures of one width, as a network that computes nonsense of them does."""

    tasks = TaskReader(cast(Any, None), "")

    def check(self, request: Request, frames: int = 1) -> None:
        """Accept every request."""

    def read(self, image: Any, request: Request, *, faces: str) -> list[Any]:
        if image.shape[1] == 9:
            raise BundleError("the face graph computes pose nan on cpu")
        return []

    def read_clip_faces(self, frames: Any, request: Request, *, faces: str, indices: Sequence[int]) -> list[Any]:
        """Find no face."""
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


def test_a_whole_video_has_one_result_a_segment(tmp_path: Path) -> None:
    one = write(tmp_path / "one.ts", [index / 10 for index in range(20)]).read_bytes()
    (tmp_path / "joined.ts").write_bytes(one + one)
    pipeline: Any = Scripted()
    for name, segments in (("one.ts", [0]), ("joined.ts", [0, 1])):
        results = list(read_sources(pipeline, [str(tmp_path / name)], Request(), ClipSampling(frames=2)))
        assert [result.segment for result in results] == segments
        assert all(result.seconds == pytest.approx((0.5, 1.5), abs=0.02) for result in results)


def test_an_address_with_a_mistake_keeps_its_password_out_of_the_result() -> None:
    pipeline: Any = Scripted()
    results = read_sources(pipeline, ["http:/us:secret@host/x", "us:secret@host/x.mp4"], Request(), ClipSampling())
    assert [(result.source, "secret" in str(result.error)) for result in results] == [
        ("***@host/x", False),
        ("***@host/x.mp4", False),
    ]
