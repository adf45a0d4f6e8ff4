"""Crops against arrays worked out by hand, and the landmark convention in both directions."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.media.crops import Box, Crop, Resample, centred_crop, checked_frame, face_crop, padded_crop, square_crop

FILL = (0.5, 0.25, 1.0)
FILL_PIXEL = [127, 63, 255]


def numbered(height: int, width: int) -> NDArray[np.uint8]:
    """A frame whose pixel (y, x) is [y, x, 10 y + x]."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 10 * rows + columns], -1).astype(np.uint8)


def flat(height: int, width: int, colour: tuple[int, int, int] = (10, 200, 90)) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def test_a_face_crop_of_its_own_size_is_the_pixels_of_the_box() -> None:
    crop = face_crop(numbered(8, 9), (2, 1, 6, 5), margin=0, size=4)
    assert crop.region == (2, 1, 6, 5)
    assert np.array_equal(crop.pixels, numbered(8, 9)[1:5, 2:6])


def test_the_margin_is_a_share_of_each_side() -> None:
    # 4 wide and 2 high, half of it more on every side: 2 and 1.
    crop = face_crop(numbered(20, 20), (8, 8, 12, 10), margin=0.5, size=4)
    assert crop.region == (6, 7, 14, 11)


def test_the_region_is_clipped_and_cut_to_whole_pixels() -> None:
    assert face_crop(numbered(10, 12), (1, 1, 11, 9), margin=0.5, size=4).region == (0, 0, 12, 10)
    assert face_crop(numbered(10, 12), (1.9, 2.9, 6.9, 5.1), margin=0, size=4).region == (1, 2, 6, 5)
    assert face_crop(numbered(10, 12), (-50, 3, 4, 6), margin=0, size=4).region == (0, 3, 4, 6)


def test_a_box_thinner_than_a_pixel_still_gives_one() -> None:
    assert face_crop(numbered(10, 12), (3.2, 4.2, 3.4, 4.3), margin=0, size=4).region == (3, 4, 4, 5)
    crop = face_crop(numbered(10, 12), (11.9, 9.9, 30, 30), margin=0, size=2)
    assert crop.region == (11, 9, 12, 10)
    assert np.array_equal(crop.pixels, np.broadcast_to(numbered(10, 12)[9, 11], (2, 2, 3)))


def test_without_a_box_the_whole_frame_is_read() -> None:
    assert face_crop(numbered(6, 6), None, margin=0.5, size=6).region == (0, 0, 6, 6)
    assert np.array_equal(face_crop(numbered(6, 6), None, margin=0.5, size=6).pixels, numbered(6, 6))


def test_a_face_crop_is_stretched_and_shrinking_averages() -> None:
    frame = np.zeros((4, 8, 3), np.uint8)
    frame[:, 1::2] = 100
    crop = face_crop(frame, None, margin=0, size=2)
    assert np.array_equal(crop.pixels, np.full((2, 2, 3), 50))


def test_a_wide_padded_crop_gets_bars_of_the_mean_colour() -> None:
    frame = numbered(4, 8)
    crop = padded_crop(frame, None, margin=0, size=8, fill=FILL)
    assert crop.region == (0, -2, 8, 6)
    assert np.array_equal(crop.pixels[2:6], frame)
    for row in (0, 1, 6, 7):
        assert crop.pixels[row].tolist() == [FILL_PIXEL] * 8


def test_a_tall_padded_crop_puts_the_odd_column_right() -> None:
    frame = numbered(9, 9)
    crop = padded_crop(frame, (3, 1, 5, 6), margin=0, size=5, fill=FILL)
    assert crop.region == (2, 1, 7, 6)
    assert np.array_equal(crop.pixels[:, 1:3], frame[1:6, 3:5])
    assert crop.pixels[:, [0, 3, 4]].tolist() == [[FILL_PIXEL] * 3] * 5


def test_a_padded_crop_clips_before_it_pads() -> None:
    # The grown box reaches from -2 to 6 in x; only 0 to 6 is there, so the square is 8 high and 6 wide.
    crop = padded_crop(flat(20, 20), (0, 6, 4, 10), margin=0.5, size=8, fill=FILL)
    assert crop.region == (-1, 4, 7, 12)
    assert crop.pixels[:, [0, 7]].tolist() == [[FILL_PIXEL] * 2] * 8
    assert np.array_equal(crop.pixels[:, 1:7], flat(8, 6))


def test_points_follow_facexformers_convention_at_the_crops_own_scale() -> None:
    points = np.array([[-1, -1], [0, 0], [1, 1], [0.25, -0.6]], np.float32)
    size = 16
    expected = ((points.astype(np.float64) + 1) * size - 1) / 2
    assert np.allclose(Crop(flat(size, size), (0, 0, size, size)).to_frame(points), expected, atol=1e-6)
    moved = Crop(flat(size, size), (30, -7, 30 + size, -7 + size)).to_frame(points)
    assert np.allclose(moved, expected + np.array([30, -7]), atol=1e-5)
    assert moved.dtype == np.float32


def test_points_land_on_the_pixel_that_they_name() -> None:
    # One bright pixel of a frame, found again in a crop of twice its scale and mapped back.
    frame = np.zeros((20, 20, 3), np.uint8)
    frame[7, 11] = 255
    crop = face_crop(frame, (8, 4, 16, 12), margin=0, size=16)
    weights = crop.pixels[..., 0].astype(np.float64)
    centre = np.array([(weights.sum(axis) * np.arange(16)).sum() / weights.sum() for axis in (0, 1)])
    point = (2 * centre + 1) / 16 - 1
    assert np.allclose(crop.to_frame(point), [11, 7], atol=0.05)
    assert np.allclose(crop.from_frame(np.array([11.0, 7.0])), point, atol=0.02)


def test_stretching_scales_each_axis_by_itself() -> None:
    crop = face_crop(numbered(20, 40), (10, 5, 30, 15), margin=0, size=8)
    assert np.allclose(crop.to_frame(np.array([[-1.0, -1.0], [1.0, 1.0]])), [[9.5, 4.5], [29.5, 14.5]])


frames_and_boxes = st.integers(1, 40).flatmap(
    lambda height: st.integers(1, 40).flatmap(
        lambda width: st.tuples(
            st.just((height, width)),
            st.tuples(
                st.floats(-1e3, width, exclude_max=True),
                st.floats(-1e3, height, exclude_max=True),
                st.floats(0, 1e3, exclude_min=True),
                st.floats(0, 1e3, exclude_min=True),
            ),
        )
    )
)


@given(case=frames_and_boxes, margin=st.floats(0, 4), size=st.integers(1, 24))
def test_every_box_that_overlaps_its_frame_gives_a_square(
    case: tuple[tuple[int, int], Box], margin: float, size: int
) -> None:
    (height, width), (x0, y0, x1, y1) = case
    box = (x0, y0, x1, y1)
    if x1 <= x0 or y1 <= y0:
        with pytest.raises(InputError):
            face_crop(numbered(height, width), box, margin=margin, size=size)
        return
    for crop in (
        face_crop(numbered(height, width), box, margin=margin, size=size),
        padded_crop(numbered(height, width), box, margin=margin, size=size, fill=FILL),
    ):
        assert (crop.pixels.shape, crop.pixels.dtype) == ((size, size, 3), np.uint8)
    left, top, right, bottom = face_crop(numbered(height, width), box, margin=margin, size=size).region
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    left, top, right, bottom = padded_crop(numbered(height, width), box, margin=margin, size=size, fill=FILL).region
    assert right - left == bottom - top


@given(
    region=st.tuples(st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 300), st.integers(1, 300)),
    points=st.lists(st.tuples(st.floats(-3, 3, width=32), st.floats(-3, 3, width=32)), min_size=1, max_size=9),
)
def test_from_frame_undoes_to_frame(region: tuple[int, int, int, int], points: list[tuple[float, float]]) -> None:
    x, y, width, height = region
    crop = Crop(flat(1, 1), (x, y, x + width, y + height))
    there = np.array(points, np.float32)
    assert np.allclose(crop.from_frame(crop.to_frame(there)), there, atol=2e-4)


def test_points_keep_their_shape() -> None:
    crop = Crop(flat(4, 4), (0, 0, 4, 4))
    assert crop.to_frame(np.zeros((2, 68, 2))).shape == (2, 68, 2)
    assert crop.from_frame(np.zeros(2)).shape == (2,)


@pytest.mark.parametrize(
    "box",
    [
        (5, 0, 5, 9),
        (9, 0, 5, 9),
        (float("nan"), 0, 5, 9),
        (0, 0, float("inf"), 9),
        (-1e308, -1e308, 1e308, 1e308),
        (12, 0, 14, 9),
        (0, -9, 5, 0),
        (1, 2, 3),
        (1, 2, 3, 4, 5),
        (None, 0, 5, 9),
        "box!",
        3,
    ],
)
def test_a_box_that_cannot_be_is_an_input_error(box: Any) -> None:
    with pytest.raises(InputError, match="face box"):
        face_crop(numbered(10, 12), box, margin=0.25, size=4)
    with pytest.raises(InputError, match="face box"):
        padded_crop(numbered(10, 12), box, margin=0.25, size=4, fill=FILL)


@pytest.mark.parametrize(
    ("frame", "seen"),
    [
        (np.zeros((4, 4, 3)), "not float64 [4, 4, 3]"),
        (np.zeros((4, 4), np.uint8), "not uint8 [4, 4]"),
        (np.zeros((3, 4, 4), np.uint8), "not uint8 [3, 4, 4]"),
        ([[1, 2, 3]], "not list"),
        (None, "not NoneType"),
        (np.zeros((0, 4, 3), np.uint8), "this one is [0, 4, 3]"),
    ],
)
def test_a_frame_of_another_kind_is_named(frame: Any, seen: str) -> None:
    with pytest.raises(InputError) as caught:
        checked_frame(frame)
    assert str(caught.value).endswith(seen)


def test_a_frame_is_not_changed_and_a_crop_is_no_view() -> None:
    frame = numbered(6, 6)
    crop = face_crop(frame, None, margin=0, size=6)
    crop.pixels[:] = 0
    assert np.array_equal(frame, numbered(6, 6))


def test_a_square_crop_takes_what_lies_beside_a_narrow_box() -> None:
    # 2 wide and 4 high around x = 5: a column more on each side.
    crop = square_crop(numbered(10, 12), (4, 3, 6, 7), margin=0, size=4, fill=FILL)
    assert crop.region == (3, 3, 7, 7)
    assert np.array_equal(crop.pixels, numbered(10, 12)[3:7, 3:7])


def test_a_square_crop_grows_by_its_margin_and_is_filled_outside_the_frame() -> None:
    crop = square_crop(flat(10, 10), (0, 0, 4, 8), margin=0, size=8, fill=FILL)
    assert crop.region == (-2, 0, 6, 8)
    assert np.array_equal(crop.pixels[:, :2], np.broadcast_to(FILL_PIXEL, (8, 2, 3)))
    assert np.array_equal(crop.pixels[:, 2:], flat(8, 6))
    assert square_crop(flat(20, 20), (8, 8, 12, 12), margin=0.25, size=6, fill=FILL).region == (7, 7, 13, 13)


def test_a_square_crop_of_a_whole_picture_keeps_its_proportions() -> None:
    crop = square_crop(flat(4, 8), None, margin=0.5, size=8, fill=FILL)
    assert crop.region == (0, -2, 8, 6)
    assert np.array_equal(crop.pixels[2:6], flat(4, 8))


def test_a_square_of_a_huge_panorama_is_refused() -> None:
    frame = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (1, 20_000, 3))
    with pytest.raises(InputError, match="too long for a square"):
        square_crop(frame, None, margin=0, size=8, fill=FILL)


def test_a_centred_crop_is_the_middle_square_of_clips_processor() -> None:
    pil = pytest.importorskip("PIL.Image")
    transformers = pytest.importorskip("transformers")
    frame = np.random.default_rng(0).integers(0, 256, (61, 90, 3), np.uint8)
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, do_normalize=False, do_rescale=False
    )
    crop = centred_crop(frame, (3, 2, 81, 60), margin=0, size=28, resample="pil_bicubic")
    truth = processor(pil.fromarray(frame[2:60, 3:81]), return_tensors="np")["pixel_values"][0]
    assert np.array_equal(crop.pixels, truth.transpose(1, 2, 0))


def test_a_centred_crop_keeps_the_place_of_its_middle() -> None:
    assert centred_crop(flat(10, 20), None, margin=0, size=10).region == (5, 0, 15, 10)
    assert centred_crop(flat(30, 10), None, margin=0, size=20).region == (0, 10, 10, 20)
    assert centred_crop(flat(8, 8), (2, 2, 4, 4), margin=0.5, size=6).region == (1, 1, 5, 5)
    with pytest.raises(InputError, match="too long to be resized"):
        centred_crop(np.broadcast_to(flat(1, 1), (1, 60_000, 3)), None, margin=0, size=112)


@pytest.mark.parametrize("resample", get_args(Resample))
def test_every_resampling_leaves_one_colour_alone(resample: Resample) -> None:
    for size in (5, 40):
        crop = face_crop(flat(20, 20), None, margin=0, size=size, resample=resample)
        assert np.array_equal(crop.pixels, flat(size, size))


def test_the_resamplings_are_those_of_opencv_and_pil() -> None:
    import cv2

    pil = pytest.importorskip("PIL.Image")
    frame = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    sizes = {"opencv_linear": cv2.resize(frame, (9, 9)), "opencv_area_cubic": cv2.resize(frame, (9, 9), None, 0, 0, 3)}
    for name in ("bicubic", "bilinear"):
        sizes[f"pil_{name}"] = np.asarray(pil.fromarray(frame).resize((9, 9), pil.Resampling[name.upper()]))
    for resample in get_args(Resample):
        crop = padded_crop(frame, None, margin=0, size=9, fill=FILL, resample=resample)
        assert np.array_equal(crop.pixels, sizes[resample]), resample
        squared = square_crop(frame, None, margin=0, size=9, fill=FILL, resample=resample)
        assert np.array_equal(squared.pixels, crop.pixels)
