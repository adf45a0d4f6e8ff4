"""Drawings: what a panel lists, and pictures whose faces nothing covers."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from emo_edge.assets.packaged import packaged_samples
from emo_edge.inference.results import EmotionResult, FaceAttributes, Settings
from emo_edge.media.crops import Image
from emo_edge.rendering.annotate import COLOURS, annotated
from emo_edge.rendering.panels import panel_of

SETTINGS = Settings("b", "exact", {}, "cpu", "box", ("joy",), "?", True, 1.0, False, "", "0")
RESULT = EmotionResult((0, 0, 1, 1), None, 1, {"happiness": 0.75, "neutral": 0.25}, None, {}, {}, SETTINGS)
FACE = FaceAttributes(
    landmarks=np.zeros((68, 2), np.float32),
    pose_degrees={"pitch": 0.0, "yaw": 0.0, "roll": 0.0},
    attributes={"Bald": 0.1, "Wearing_Hat": 0.9},
    hidden_points=np.zeros(29, np.float32),
    demographics={"age": {"0-9": 0.2, "20-29": 0.8}},
)


def group(count: int, columns: int, side: int) -> tuple[Image, list[EmotionResult]]:
    """Packaged drawings side by side, each ``side`` pixels wide, with their exact boxes."""
    samples = packaged_samples(count)
    rows = -(-count // columns)
    picture, faces = np.full((rows * side, columns * side, 3), 90, np.uint8), []
    for number, sample in enumerate(samples):
        assert sample.box is not None
        y, x = (place * side for place in divmod(number, columns))
        picture[y : y + side, x : x + side] = cv2.resize(sample.image, (side, side), interpolation=cv2.INTER_AREA)
        x0, y0, x1, y1 = (value * side / sample.image.shape[0] for value in sample.box)
        faces.append(replace(RESULT, box=(x + x0, y + y0, x + x1, y + y1)))
    return picture, faces


def inside(box: tuple[float, ...], scale: float, margin: int) -> tuple[slice, slice]:
    x0, y0, x1, y1 = (round(value * scale) for value in box)
    return slice(y0 + margin, y1 - margin), slice(x0 + margin, x1 - margin)


@pytest.mark.parametrize(("count", "columns", "side"), [(2, 2, 224), (5, 3, 224), (12, 4, 224), (30, 6, 120)])
def test_no_panel_covers_a_face(count: int, columns: int, side: int) -> None:
    picture, faces = group(count, columns, side)
    drawn = annotated(picture, faces)
    plain = annotated(picture, [replace(face, probabilities={}) for face in faces])
    scale = plain.shape[1] / picture.shape[1]
    assert drawn.shape == plain.shape and (drawn != plain).any()
    for face in faces:
        area = inside(face.box, scale, 0)
        assert np.array_equal(drawn[area], plain[area]), "the same inside of every box, with and without labels"
    changed = cv2.connectedComponents((drawn != plain).any(axis=2).astype(np.uint8))[0] - 1
    assert changed == count, "one panel a face, apart from the others"


def test_faces_that_leave_no_room_are_listed_below_by_number() -> None:
    picture = np.full((200, 200, 3), 90, np.uint8)
    boxes = [(x, y, x + 100.0, y + 100.0) for y in (0.0, 100.0) for x in (0.0, 100.0)]
    drawn = annotated(picture, [replace(RESULT, box=box) for box in boxes])
    assert drawn.shape[1] == 720 and drawn.shape[0] > 720
    assert (drawn[720:] > 200).any(), "the list is written there"
    middle = inside((0.0, 0.0, 100.0, 100.0), 3.6, 80)
    assert (drawn[middle] == 90).all()


def test_a_face_as_large_as_the_picture_has_its_panel_at_the_right() -> None:
    picture = np.full((100, 100, 3), 90, np.uint8)
    whole = [replace(RESULT, box=(0.0, 0.0, 100.0, 100.0))]
    drawn = annotated(picture, whole)
    assert drawn.shape[0] == 720 and drawn.shape[1] > 720
    assert (drawn[200:500, 200:500] == 90).all() and (drawn[:, 720:] > 200).any()


def test_frames_of_a_video_keep_their_size() -> None:
    picture = np.full((100, 100, 3), 90, np.uint8)
    shapes = {
        annotated(picture, faces, geometry=False).shape
        for faces in (
            [],
            [replace(RESULT, box=(0.0, 0.0, 100.0, 100.0))],
            [replace(RESULT, box=(9.0, 9.0, 20.0, 20.0))],
        )
    }
    assert shapes == {(720, 720, 3)}


def test_a_label_without_room_in_a_video_covers_no_other_face_and_no_other_label() -> None:
    picture = np.full((100, 100, 3), 90, np.uint8)
    above, below = (0.0, 0.0, 100.0, 60.0), (0.0, 60.0, 100.0, 100.0)
    drawn = annotated(picture, [replace(RESULT, box=box) for box in (above, below)], geometry=False)
    stripe = drawn[-20:-4, 1]
    assert (stripe == COLOURS[1]).all(), "the label of the face that lies there"
    labelled = [replace(RESULT, box=box) for box in ((2.0, 2.0, 60.0, 96.0), (60.0, 2.0, 99.0, 99.0))]
    crowded = annotated(picture, labelled, geometry=False)
    plain = annotated(picture, [replace(face, probabilities={}) for face in labelled], geometry=False)
    area = inside(labelled[1].box, 7.2, 0)
    assert np.array_equal(crowded[area], plain[area])


@pytest.mark.parametrize("geometry", [True, False])
@pytest.mark.parametrize(
    "boxes",
    [
        [(10.0, 40.0, 60.0, 100.0)],
        [(2.0, 30.0, 48.0, 99.0), (52.0, 30.0, 98.0, 60.0)],
        [(10.0, 10.0, 40.0, 50.0)],
    ],
)
def test_the_purpose_covers_no_face(boxes: list[tuple[float, ...]], geometry: bool) -> None:
    picture = np.full((100, 100, 3), 90, np.uint8)
    faces = [replace(RESULT, box=box, probabilities={}) for box in boxes]
    stated = [replace(face, settings=replace(SETTINGS, purpose="for tests alone")) for face in faces]
    plain, drawn = (annotated(picture, one, geometry=geometry) for one in (faces, stated))
    rows, columns = plain.shape[:2]
    assert drawn.shape[0] >= rows and drawn.shape[1] == columns and (geometry or drawn.shape == plain.shape)
    assert drawn.shape != plain.shape or (drawn != plain).any(), "the purpose is there"
    for box in boxes:
        area = inside(box, 7.2, 0)
        assert np.array_equal(drawn[:rows][area], plain[area])


def test_the_purpose_covers_no_panel_at_the_right() -> None:
    picture = np.full((100, 100, 3), 90, np.uint8)
    tall = replace(RESULT, box=(0.0, 0.0, 100.0, 90.0), probabilities={f"label {n}": n / 100 for n in range(20)})
    stated = replace(tall, settings=replace(SETTINGS, purpose="for tests alone"))
    drawn, plain = annotated(picture, [stated]), annotated(picture, [tall])
    assert np.array_equal(drawn[:690, 720:], plain[:690, 720:])


def test_a_panel_lists_what_was_asked_for() -> None:
    plain = panel_of(RESULT)
    assert plain and (plain.title, plain.lines) == ("happiness 75%", ())
    assert plain.bars == (("happiness", 0.75), ("neutral", 0.25))
    asked = panel_of(replace(RESULT, face=FACE))
    assert asked and asked.lines == ("age 20-29 80%", "Wearing Hat")
    alone = panel_of(replace(RESULT, probabilities={}, face=FACE))
    assert alone and (alone.title, alone.bars[0]) == ("attributes", ("Wearing Hat", 0.9))
    assert panel_of(replace(RESULT, probabilities={}, face=replace(FACE, attributes={}, demographics={}))) is None
