"""Resizing against PIL, every value equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from emo_edge.assets.packaged import packaged_samples
from emo_edge.media import resampling
from emo_edge.media.resampling import Kernel, pil_resized

SIDES = st.integers(1, 300)


def of_pil(image: NDArray[np.uint8], width: int, height: int, kernel: Kernel) -> NDArray[np.uint8]:
    """Let PIL resize the width, then the height: the order of every Pillow before 13."""
    pil = pytest.importorskip("PIL.Image")
    resample = {"bicubic": pil.Resampling.BICUBIC, "bilinear": pil.Resampling.BILINEAR}[kernel]
    narrow = pil.fromarray(image).resize((width, image.shape[0]), resample)
    return np.asarray(narrow.resize((width, height), resample))


def noise(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Half of it black or white, where the cubic kernel overshoots."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3))
    return np.where(rng.random((height, width, 1)) < 0.5, image // 128 * 255, image).astype(np.uint8)


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["bicubic", "bilinear"]), st.integers(0, 9))
def test_every_size_up_and_down_gives_pils_values(
    height: int, width: int, new_height: int, new_width: int, kernel: Kernel, seed: int
) -> None:
    image = noise(height, width, seed)
    resized = pil_resized(image, new_width, new_height, kernel)
    assert np.array_equal(resized, of_pil(image, new_width, new_height, kernel))


@pytest.mark.parametrize(("height", "width", "side"), [(480, 640, 224), (1080, 1920, 336), (50, 40, 224)])
def test_sizes_of_cameras_give_the_values_of_one_call(height: int, width: int, side: int) -> None:
    """None of them is so tall that Pillow 13 takes another order."""
    pil = pytest.importorskip("PIL.Image")
    image = noise(height, width, seed=1)
    once = np.asarray(pil.fromarray(image).resize((side, side), pil.Resampling.BICUBIC))
    assert np.array_equal(pil_resized(image, side, side, "bicubic"), once)


def test_halves_are_rounded_up_as_pil_does() -> None:
    """Weights of a picture that becomes half as large are eighths: many sums end in a half."""
    for seed, side in enumerate((64, 62, 30)):
        image = noise(side, side, seed)
        half = pil_resized(image, side // 2, side // 2, "bilinear")
        assert np.array_equal(half, of_pil(image, side // 2, side // 2, "bilinear"))


def test_drawings_give_pils_values() -> None:
    for sample in packaged_samples(3):
        assert np.array_equal(pil_resized(sample.image, 112, 112, "bicubic"), of_pil(sample.image, 112, 112, "bicubic"))


def test_a_photograph_gives_pils_values() -> None:
    photograph = pytest.importorskip("skimage.data").astronaut()
    assert np.array_equal(pil_resized(photograph, 224, 224, "bicubic"), of_pil(photograph, 224, 224, "bicubic"))


def test_parts_of_a_large_picture_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(90, 70, seed=2)
    whole = pil_resized(image, 30, 40, "bicubic")
    monkeypatch.setattr(resampling, "BAND_VALUES", 500)
    assert np.array_equal(pil_resized(image, 30, 40, "bicubic"), whole)


def test_an_own_size_is_the_picture_itself() -> None:
    image = noise(5, 7, seed=3)
    assert np.array_equal(pil_resized(image, 7, 5, "bicubic"), image)
