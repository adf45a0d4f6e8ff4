"""Names of drawings: unique, and never a source's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.media.images import write_image
from emo_edge.rendering.drawing_names import DrawingNames, check_target, refuse_sources


def pictures(folder: Path, names: Sequence[str]) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name in names:
        write_image(folder / name, np.zeros((4, 4, 3), np.uint8))
    return [str(folder / name) for name in names]


@pytest.mark.parametrize("as_folder", [True, False])
def test_every_source_has_a_name_of_its_own(tmp_path: Path, as_folder: bool) -> None:
    sources = pictures(tmp_path / "in", ["A.bmp", "a-2.jpg", "a.jpg", "a.png"])
    names = DrawingNames(tmp_path / "out", [str(tmp_path / "in")] if as_folder else sources)
    names.check(overwrite=False)
    drawn = [names.path(source).name for source in sources]
    assert drawn == ["A.jpg", "a-2.jpg", "a-3.jpg", "a-4.jpg"]
    assert len({name.casefold() for name in drawn}) == 4


def test_sources_of_one_name_and_clips_of_one_video_are_numbered(tmp_path: Path) -> None:
    one, other = *pictures(tmp_path / "x", ["a.jpg"]), *pictures(tmp_path / "y", ["a.jpg"])
    names = DrawingNames(tmp_path / "out", [one, other, "0"])
    assert [names.path(source).name for source in (one, other)] == ["a.jpg", "a-2.jpg"]
    assert [names.path("0").name for _ in range(3)] == ["0.jpg", "0-2.jpg", "0-3.jpg"]


def test_an_existing_drawing_is_refused_before_reading(tmp_path: Path) -> None:
    sources = pictures(tmp_path / "in", ["a.png", "b.png"])
    pictures(tmp_path / "out", ["b.jpg"])
    names = DrawingNames(tmp_path / "out", sources)
    with pytest.raises(InputError, match=r"out/b\.jpg: there already"):
        names.check(overwrite=False)
    names.check(overwrite=True)


def test_no_source_is_replaced(tmp_path: Path) -> None:
    sources = pictures(tmp_path / "in", ["a.png", "a.jpg"])
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for folder in ("in", "link"):
        with pytest.raises(InputError, match="would replace the source"):
            DrawingNames(tmp_path / folder, sources).check(overwrite=True)
    (tmp_path / "linked.jpg").symlink_to(sources[1])
    os.link(sources[1], tmp_path / "hard.jpg")
    for drawing in ("linked.jpg", "hard.jpg", "in/A.JPG", "in/../in/a.jpg"):
        with pytest.raises(InputError, match="would replace the source"):
            refuse_sources([tmp_path / drawing], sources)
    refuse_sources([tmp_path / "in" / "b.jpg"], sources)


def test_several_sources_are_drawn_into_a_folder(tmp_path: Path) -> None:
    sources = pictures(tmp_path / "in", ["a.jpg", "b.jpg"])
    for several in (sources, [str(tmp_path / "in")]):
        for name in ("x.jpg", "x.MP4"):
            with pytest.raises(click.UsageError, match="drawn into a folder"):
                check_target(tmp_path / name, several)
        check_target(tmp_path / "x", several)
    check_target(tmp_path / "x.jpg", sources[:1])


def test_a_long_name_and_one_of_no_file_are_names(tmp_path: Path) -> None:
    (source,) = pictures(tmp_path / "in", ["é" * 110 + ".png"])
    names = DrawingNames(tmp_path / "out", [source, "-"])
    assert names.path(source).name == "é" * 100 + ".jpg"
    assert names.path("-").name == "standard-input.jpg"
