"""Crops as data of the manifest."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from emo_edge.bundle.face_crops import CropSettings, Preprocessing, crop_face
from emo_edge.media.crops import centred_crop, face_crop, padded_crop, square_crop

FRAME = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
FILL = (0.1, 0.2, 0.3)
WHOLE = {"size": 16, "margin": 0.25, "resample": "pil_bicubic", "fill": FILL}


def test_a_manifest_without_resampling_is_of_the_default() -> None:
    crop = CropSettings.model_validate({"method": "padded", "size": 8, "margin": 0.25})
    assert crop.resample == "opencv_area_cubic"
    with pytest.raises(ValidationError, match="resample"):
        CropSettings.model_validate({"method": "padded", "size": 8, "margin": 0.25, "resample": "nearest"})


def test_each_method_cuts_with_its_resampling() -> None:
    box, plain = (10, 5, 30, 20), {"margin": 0.25, "size": 16, "resample": "pil_bicubic"}
    crops = {
        "centred": centred_crop(FRAME, box, **plain),  # type: ignore[arg-type]
        "stretched": face_crop(FRAME, box, **plain),  # type: ignore[arg-type]
        "padded": padded_crop(FRAME, box, fill=FILL, **plain),  # type: ignore[arg-type]
        "square": square_crop(FRAME, box, fill=FILL, **plain),  # type: ignore[arg-type]
    }
    for method, expected in crops.items():
        crop = crop_face(FRAME, box, CropSettings.model_validate({"method": method, **WHOLE}))
        assert crop.region == expected.region and np.array_equal(crop.pixels, expected.pixels), method


def test_a_clip_has_a_crop_of_its_own_or_that_of_a_picture() -> None:
    picture, frame = (CropSettings.model_validate({"method": method, **WHOLE}) for method in ("padded", "centred"))
    plain = Preprocessing(vision=picture, face=None)
    assert plain.of_clip().vision == picture
    assert Preprocessing(vision=picture, face=None, clip=frame).of_clip().vision == frame
    with pytest.raises(ValidationError, match=r"preprocessing\.clip\.size must be preprocessing\.vision\.size"):
        Preprocessing(vision=picture, face=None, clip=frame.model_copy(update={"size": 8}))
