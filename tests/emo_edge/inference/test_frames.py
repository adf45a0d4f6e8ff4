"""Images as users have them become the same frame: paths, PIL images, arrays in either channel order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from emo_edge.errors import InputError
from emo_edge.inference.frames import boxes_by_frame, rgb_frame, rgb_frames
from emo_edge.media.images import read_image

PICTURE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def saved(folder: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


def test_arrays_say_their_channel_order() -> None:
    assert rgb_frame(PICTURE) is PICTURE
    np.testing.assert_array_equal(rgb_frame(PICTURE[..., ::-1], "bgr"), PICTURE)
    assert rgb_frame(PICTURE[..., ::-1], "bgr").flags.c_contiguous


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_path_is_read_as_read_image_does(tmp_path: Path, as_path: Any) -> None:
    path = saved(tmp_path, Image.fromarray(PICTURE), "picture.png")
    for channels in ("rgb", "bgr"):
        np.testing.assert_array_equal(rgb_frame(as_path(path), channels), PICTURE)
    with pytest.raises(InputError, match="no such file"):
        rgb_frame(as_path(tmp_path / "none.png"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_a_pil_image_is_what_its_file_is(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (5, 7)).astype(np.uint16))
    else:
        alpha = np.random.default_rng(2).integers(0, 256, (5, 7, 1), dtype=np.uint8)
        image = Image.fromarray(np.concatenate([PICTURE, alpha], axis=2)).convert(mode)
    path = saved(tmp_path, image, "picture.png")
    np.testing.assert_array_equal(rgb_frame(image), read_image(path))
    np.testing.assert_array_equal(rgb_frame(Image.open(path)), read_image(path))


def test_a_transparent_palette_is_laid_over_white(tmp_path: Path) -> None:
    image = Image.fromarray(PICTURE).convert("P")
    path = saved(tmp_path, image, "picture.png", transparency=int(np.asarray(image)[0, 0]))
    frame = rgb_frame(Image.open(path))
    np.testing.assert_array_equal(frame, read_image(path))
    assert frame[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pil_image_is_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(PICTURE), "picture.png", exif=exif)
    np.testing.assert_array_equal(rgb_frame(Image.open(path)), read_image(path))


def test_a_damaged_pil_image_is_an_error(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.tile(PICTURE, (20, 20, 1))), "picture.jpg")
    path.write_bytes(path.read_bytes()[:-2000])
    with Image.open(path) as image, pytest.raises(InputError, match="cannot be decoded"):
        rgb_frame(image)
    with pytest.raises(InputError, match="mode F"):
        rgb_frame(Image.fromarray(np.zeros((2, 3), np.float32)))
    with pytest.raises(InputError, match="not 16 bits"):
        rgb_frame(Image.fromarray(np.full((2, 3), 70000, np.int32)))


@pytest.mark.parametrize(
    "image",
    [
        PICTURE.astype(np.float32),
        PICTURE[..., 0],
        np.concatenate([PICTURE, PICTURE[..., :1]], axis=2),
        PICTURE[:0],
        PICTURE.tolist(),
        None,
        b"bytes",
    ],
)
def test_anything_else_is_an_error_that_names_the_choices(image: Any) -> None:
    with pytest.raises(InputError, match=r"a path, a PIL.Image.Image or a uint8 array \[height, width, 3\], not"):
        rgb_frame(image)


def test_unknown_channels_are_an_error_that_names_the_choices(tmp_path: Path) -> None:
    for image in (PICTURE, Image.fromarray(PICTURE), tmp_path):
        with pytest.raises(InputError, match='`channels` is "rgb" or "bgr", not \'RGB\''):
            rgb_frame(image, "RGB")


def test_frames_of_a_clip_are_a_sequence() -> None:
    frames = rgb_frames(iter([PICTURE[..., ::-1], Image.fromarray(PICTURE)]), "bgr")
    assert len(frames) == 2
    for frame in frames:
        np.testing.assert_array_equal(frame, PICTURE)
    for single in ("clip.mp4", Path("clip.mp4"), 7):
        with pytest.raises(InputError, match=r"emo_edge\.stream reads a video file"):
            rgb_frames(single)  # type: ignore[arg-type]


def test_boxes_are_one_a_frame_or_one_for_all() -> None:
    one, other = (0, 0, 1, 1), (1, 1, 2, 2)
    assert boxes_by_frame(None, 2) == [None, None]
    assert boxes_by_frame([one], 3) == [[one]] * 3
    assert boxes_by_frame([one, None, other], 3) == [[one], [], [other]]
    for boxes in ([], [one, other]):
        with pytest.raises(InputError, match=f"`boxes` holds {len(boxes)} boxes for 3 frames"):
            boxes_by_frame(boxes, 3)


def test_a_box_must_lie_in_the_frame(tiny_bundle: Path) -> None:
    from emo_edge import EmotionPipeline

    with EmotionPipeline.open(tiny_bundle, device="cpu", profile="small") as pipeline:
        for boxes in ([(300, 0, 310, 10)], [(0, 0, float("nan"), 5)], [(3, 3, 1, 1)], (0, 0, 4, 4)):
            with pytest.raises(InputError, match="face box"):
                pipeline.read(PICTURE, boxes=boxes)  # type: ignore[arg-type]
        assert pipeline.read(PICTURE, boxes=[(0, 0, 4, 4)])[0].settings.detector == "box"
