"""A second look: tight crops and turned pictures, and places back in the picture as given."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

import emo_edge
from emo_edge.cli.app import main
from emo_edge.faces.detector import DetectedFace
from emo_edge.faces.mtcnn import MtcnnDetector
from emo_edge.faces.registry import HaarDetector, YuNetDetector
from emo_edge.faces.second_look import SecondLook, look_at_clip, second_look
from emo_edge.inference.detectors import mtcnn_detector, packaged_graphs
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult, FaceAttributes, Settings
from emo_edge.media.crops import Image
from emo_edge.media.images import write_image

PACKAGE = Path(emo_edge.__file__).parent
YUNET = os.environ.get("EMO_EDGE_YUNET", "")


@pytest.fixture(scope="module")
def mtcnn() -> MtcnnDetector:
    return mtcnn_detector(packaged_graphs())


@pytest.fixture(scope="module")
def astronaut() -> Image:
    photograph: Image = pytest.importorskip("skimage.data").astronaut()
    return photograph


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_pixel_goes_back_to_where_it_was(quarters: int) -> None:
    frame = np.zeros((5, 9, 3), np.uint8)
    frame[1, 6] = 255
    look = SecondLook(np.rot90(frame, quarters), [], 90 * quarters)
    y, x = np.argwhere(look.picture[..., 0])[0].tolist()
    assert look.given_points(np.array([[x, y]])).tolist() == [[6, 1]]
    assert look.given_box((x, y, x + 1, y + 1)) == (6, 1, 7, 2)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_photograph_is_turned_upright(quarters: int, mtcnn: MtcnnDetector, astronaut: Image) -> None:
    """Turned by 270 degrees its face is found as it lies, with a score of 0.98 and points of an upright face."""
    turned = np.ascontiguousarray(np.rot90(astronaut, quarters))
    faces = mtcnn.detect(turned)
    assert len(faces) == (quarters == 3)
    look = second_look(turned, mtcnn, faces)
    assert look.rotation == 360 - 90 * quarters
    assert np.array_equal(look.picture, astronaut)
    assert look.faces[0].box == pytest.approx((180, 60, 268, 174), abs=3)


@pytest.mark.skipif(not YUNET, reason="waits for YuNet's file: EMO_EDGE_YUNET=FILE")
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_yunet_finds_a_turned_face_as_it_lies_and_it_is_read_upright(quarters: int, astronaut: Image) -> None:
    detector = YuNetDetector(YUNET)
    turned = np.ascontiguousarray(np.rot90(astronaut, quarters))
    (face,) = detector.detect(turned)
    assert face.points is not None and face.points[0][1] < face.points[3][1], "eyes above the mouth, whatever it shows"
    look = second_look(turned, detector, [face])
    assert look.rotation == (360 - 90 * quarters) % 360 and np.array_equal(look.picture, astronaut)


class Scripted:
    """A detector whose score depends on which corner of the picture is white."""

    name = "yunet"

    def __init__(self, *scores: float) -> None:
        self.scores, self.searches = scores, 0

    def detect(self, frame: Image) -> list[DetectedFace]:
        self.searches += 1
        corners = (frame[0, 0, 0], frame[-1, 0, 0], frame[-1, -1, 0], frame[0, -1, 0])
        score = self.scores[int(np.argmax(corners))]
        return [DetectedFace((1, 1, 9, 9), score)] if score else []


@pytest.mark.parametrize(
    ("scores", "rotation", "searches"),
    [
        ((0.92, 0.99, 0.99, 0.99), 0, 1),  # sure: no second look
        ((0.8, 0.7, 0.94, 0.0), 180, 4),
        ((0.8, 0.0, 0.89, 0.0), 0, 4),  # surer, and not sure
        ((0.89, 0.0, 0.91, 0.0), 0, 4),  # sure, and hardly surer
        ((0.8, 0.93, 0.91, 0.0), 90, 4),
    ],
)
def test_an_unsure_face_is_turned_where_it_is_surer(scores: tuple[float, ...], rotation: int, searches: int) -> None:
    frame = np.zeros((40, 30, 3), np.uint8)
    frame[0, 0] = 255
    detector = Scripted(*scores)
    faces = detector.detect(frame)
    look = second_look(frame, detector, faces)
    assert (look.rotation, detector.searches) == (rotation, searches)
    assert look.faces if rotation else look.faces == faces
    clip_detector = Scripted(*scores)
    clip = look_at_clip([frame, frame], clip_detector)
    assert clip.rotation == rotation and clip_detector.searches == searches + 1 + (2 if rotation else 0)


def test_a_face_that_fills_the_picture_is_found_with_a_border(mtcnn: MtcnnDetector, astronaut: Image) -> None:
    crop = np.ascontiguousarray(astronaut[78:160, 190:258])
    assert mtcnn.detect(crop) == []
    (face,) = second_look(crop, mtcnn).faces
    assert face.box[0] >= 0 and face.box[3] <= 82 and face.side > 60
    assert face.points is not None and all(0 <= x <= 68 for x, _ in face.points)


def test_a_large_picture_is_searched_small_and_its_places_are_its_own(mtcnn: MtcnnDetector, astronaut: Image) -> None:
    large = np.repeat(np.repeat(astronaut, 3, 0), 3, 1)
    look = second_look(np.ascontiguousarray(np.rot90(large)), mtcnn)
    assert look.rotation == 270 and np.array_equal(look.picture, large)
    assert look.faces[0].box == pytest.approx((540, 180, 804, 522), abs=40)
    crop = np.ascontiguousarray(np.repeat(np.repeat(astronaut[78:160, 190:258], 10, 0), 10, 1))
    (face,) = second_look(crop, mtcnn).faces
    assert face.side > 600 and face.box[3] <= 820


def test_what_has_no_face_has_none_at_the_second_look(mtcnn: MtcnnDetector) -> None:
    from skimage import data

    for picture in (data.coffee(), data.rocket(), np.full((80, 80, 3), 127, np.uint8)):
        assert second_look(picture, mtcnn).faces == []


def test_a_cascade_looks_once(astronaut: Image) -> None:
    look = second_look(np.ascontiguousarray(np.rot90(astronaut)), HaarDetector())
    assert (look.faces, look.rotation) == ([], 0)


def test_landmarks_of_a_turned_picture_lie_in_the_given_one() -> None:
    look = SecondLook(np.zeros((4, 10, 3), np.uint8), [], 90)
    face = FaceAttributes(np.array([[9, 0], [0, 3]], np.float32), {"roll": 1.0}, {}, np.zeros(29, np.float32), {})
    settings = Settings("b", "p", {}, "cpu", "mtcnn", (), "", False, 1.0, False, "", "0")
    result = EmotionResult((8, 0, 10, 2), 0.9, 1, {}, face, {}, {}, settings, points=((9, 0),) * 5).turned_back(look)
    assert result.face is not None and result.face.landmarks.tolist() == [[3, 9], [0, 0]]
    assert (result.box, result.points, result.rotation) == ((2, 8, 4, 10), ((3, 9),) * 5, 90)
    assert result.to_dict()["rotation"] == 90
    assert result.face.pose_degrees == {"roll": 1.0}


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_clip_whose_frames_are_all_turned_is_read_upright(
    quarters: int, label_bundle: Path, mtcnn: MtcnnDetector, astronaut: Image
) -> None:
    """The same face, probabilities and places as in the upright clip, turned with the frames."""
    frames = [astronaut, astronaut[:, 8:], astronaut[:, 16:]]
    turned = [np.ascontiguousarray(np.rot90(frame, quarters)) for frame in frames]
    with EmotionPipeline.open(label_bundle, device="cpu", detector=mtcnn) as pipeline:
        upright, read = pipeline.read_clip(frames), pipeline.read_clip(turned)
    assert upright is not None and read is not None
    assert (upright.rotation, read.rotation, read.frames) == (0, 360 - 90 * quarters, 3)
    assert read.probabilities == pytest.approx(upright.probabilities, abs=1e-6)
    height, width = frames[upright.frame].shape[:2]
    x0, y0, x1, y1 = upright.box
    places = {
        1: (y0, width - x1, y1, width - x0),
        2: (width - x1, height - y1, width - x0, height - y0),
        3: (height - y1, x0, height - y0, x1),
    }
    assert read.frame == upright.frame and read.box == pytest.approx(places[quarters], abs=1e-3)


def test_a_clip_is_turned_only_where_nothing_is_found(mtcnn: MtcnnDetector, astronaut: Image) -> None:
    upside_down = np.ascontiguousarray(np.rot90(astronaut, 2))
    mixed = look_at_clip([upside_down, astronaut, upside_down], mtcnn)
    assert (mixed.rotation, [len(faces) for faces in mixed.by_frame]) == (0, [0, 1, 0])
    assert look_at_clip([], mtcnn).by_frame == []
    empty = look_at_clip([np.zeros((64, 64, 3), np.uint8)] * 2, mtcnn)
    assert (empty.rotation, empty.by_frame) == (0, [[], []])
    assert look_at_clip([upside_down], HaarDetector()).rotation == 0


def test_infer_says_that_it_turned_a_picture(label_bundle: Path, astronaut: Image, tmp_path: Path) -> None:
    height, width = astronaut.shape[:2]
    write_image(tmp_path / "turned.png", np.ascontiguousarray(np.rot90(astronaut, 2)))
    command = ["infer", str(label_bundle), str(tmp_path / "turned.png"), "--detector", "mtcnn"]
    shown, printed = (CliRunner().invoke(main, [*command, *more]) for more in ([], ["--json"]))
    assert shown.exit_code == printed.exit_code == 0, shown.output
    assert "picture turned by 180°" in shown.stdout
    (result,) = json.loads(printed.stdout)
    jsonschema.validate(result, json.loads((PACKAGE / "schemas" / "result-1.json").read_text(encoding="utf-8")))
    (reading,) = result["readings"]
    assert reading["rotation"] == 180
    assert len(reading["points"]) == 5
    assert reading["box"] == pytest.approx([width - 268, height - 174, width - 180, height - 60], abs=3)
    with EmotionPipeline.open(label_bundle, device="cpu", detector=mtcnn_detector(packaged_graphs())) as pipeline:
        upright, turned = pipeline.read(astronaut)[0], pipeline.read(tmp_path / "turned.png")[0]
    assert turned.probabilities == pytest.approx(upright.probabilities, abs=1e-6)
    assert (upright.rotation, turned.rotation) == (0, 180)
    assert upright.points is not None and turned.points is not None
    mirrored = [(width - 1 - x, height - 1 - y) for x, y in upright.points]
    assert np.allclose(turned.points, mirrored, atol=1e-3)
    assert np.allclose(reading["points"], mirrored, atol=0.06), "rounded to a tenth"
