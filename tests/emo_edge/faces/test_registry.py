"""Faces found on synthetic pictures whose boxes are known, and the detectors that need no search."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from emo_edge.benchmarks.synthetic.generator import Difficulty, FaceSample, render_face
from emo_edge.errors import InputError, MissingExtraError
from emo_edge.faces.registry import DETECTORS, FixedBox, HaarDetector, WholeImage, YuNetDetector, open_detector
from emo_edge.media.crops import Box, Image
from tests.toy_yunet import toy_yunet

FRONTAL = Difficulty(max_yaw=0.12, max_pitch=0.1, max_roll=0.1, occlusion_probability=0.0)
TURNED = Difficulty(max_yaw=0.95, pose_sigma=5.0, max_pitch=0.05, max_roll=0.05, occlusion_probability=0.0)


def iou(one: Box, other: Any) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(shared / (sum(areas) - shared))


@pytest.fixture(scope="module")
def haar() -> HaarDetector:
    return HaarDetector()


@pytest.fixture(scope="module")
def sample() -> FaceSample:
    return render_face(7001, 0, difficulty=FRONTAL)


def test_haar_finds_frontal_faces_where_they_are(haar: HaarDetector) -> None:
    overlaps, offsets, false = [], [], 0
    for index in range(30):
        truth = render_face(7003, index, difficulty=FRONTAL)
        found = haar.detect(truth.image)
        best = max(found, key=lambda face: iou(face.box, truth.box), default=None)
        false += len(found) - (best is not None)
        if best is not None:
            size = truth.box[2:] - truth.box[:2]
            overlaps.append(iou(best.box, truth.box))
            offsets.append((np.array(best.box) - truth.box) / np.tile(size, 2))
    assert np.mean(np.array(overlaps) > 0.5) * len(overlaps) >= 0.9 * 30
    assert np.mean(overlaps) > 0.8
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.06  # no side of the box is off on average
    assert false <= 2


def test_boxes_of_a_shrunk_frame_are_in_frame_pixels_and_the_largest_is_first(
    haar: HaarDetector, sample: FaceSample
) -> None:
    frame = np.full((720, 1280, 3), 128, np.uint8)
    frame[100:324, 100:324] = sample.image
    frame[50:722][: 672 - 2, 500:1172] = cv2.resize(sample.image, (672, 672))[:670]
    large, small = haar.detect(frame)
    assert iou(large.box, sample.box * 3 + (500, 50, 500, 50)) > 0.7
    assert iou(small.box, sample.box + 100) > 0.7
    assert large.score is not None


def test_profile_finds_a_turned_face_and_its_mirror_image(haar: HaarDetector) -> None:
    turned = [render_face(7100, index, difficulty=TURNED) for index in range(6)]
    never, found = HaarDetector(profiles="never"), 0
    for truth in turned:
        faces = [] if never.detect(truth.image) else haar.detect(truth.image)
        if not faces:
            continue
        found += iou(faces[0].box, truth.box) > 0.4
        ((x0, _, x1, _), mirrored) = faces[0].box, haar.detect(np.ascontiguousarray(truth.image[:, ::-1]))
        assert mirrored[0].box[0] == pytest.approx(224 - x1, abs=6)
        assert mirrored[0].box[2] == pytest.approx(224 - x0, abs=6)
    assert found >= 1


def test_hits_of_several_cascades_on_one_face_are_one_face(sample: FaceSample) -> None:
    (face,) = HaarDetector(profiles="always").detect(sample.image)
    assert iou(face.box, sample.box) > 0.7


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1), (5, 3), (19, 19), (300, 300)])
@pytest.mark.parametrize("profiles", ["fallback", "always"])
def test_haar_answers_no_face_with_an_empty_list(profiles: Any, shape: tuple[int, int]) -> None:
    assert HaarDetector(profiles=profiles).detect(np.full((*shape, 3), 90, np.uint8)) == []


@pytest.mark.parametrize("frame", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), None])
@pytest.mark.parametrize("detector", [HaarDetector(), FixedBox((0, 0, 1, 1)), WholeImage()])
def test_only_uint8_rgb_is_a_frame(detector: Any, frame: Any) -> None:
    with pytest.raises(InputError, match="uint8 RGB"):
        detector.detect(frame)


def test_haar_refuses_settings_that_mean_nothing() -> None:
    with pytest.raises(InputError, match="fallback, always or never"):
        HaarDetector(profiles="sometimes")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\(0, 1\]"):
        HaarDetector(min_face=0)


def test_an_opencv_without_cascades_is_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "CascadeClassifier")  # as in OpenCV 5
    with pytest.raises(MissingExtraError, match=r"no Haar cascades.*pip install.*yunet"):
        HaarDetector()


def test_an_opencv_without_cascade_files_says_where_it_looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path / "nothing"))
    monkeypatch.setattr("emo_edge.faces.haar.SYSTEM_FOLDERS", ())
    with pytest.raises(MissingExtraError, match=r"frontalface_alt2.xml is in none of .*nothing.*opencv-data"):
        HaarDetector()


def test_fixed_box_and_whole_image(sample: FaceSample) -> None:
    assert [face.box for face in FixedBox((10, 20, 60, 90)).detect(sample.image)] == [(10.0, 20.0, 60.0, 90.0)]
    (whole,) = WholeImage().detect(np.zeros((7, 9, 3), np.uint8))
    assert (whole.box, whole.score) == ((0.0, 0.0, 9.0, 7.0), None)
    with pytest.raises(InputError, match="outside the 224x224 frame"):
        FixedBox((300, 0, 310, 10)).detect(sample.image)


NO_BOXES: list[Any] = [
    (0, 0, 0, 5),
    (5, 5, 1, 9),
    (0, 0, float("nan"), 1),
    (0, 0, float("inf"), 1),
    (1, 2, 3),
    7,
    "abcd",
]


@pytest.mark.parametrize("box", NO_BOXES)
def test_fixed_box_refuses_what_is_no_box(box: Any) -> None:
    with pytest.raises(InputError, match="x0, y0, x1, y1"):
        FixedBox(box)


def test_open_detector_knows_its_names(tmp_path: Path) -> None:
    assert open_detector("haar").name == "haar"
    assert open_detector("whole-image").name == "whole-image"
    assert open_detector("box", box=(0, 0, 1, 1)).name == "box"
    with pytest.raises(InputError, match=f"choose from {', '.join(DETECTORS)}"):
        open_detector("mtcnn")
    with pytest.raises(InputError, match="'box' needs box"):
        open_detector("box")
    with pytest.raises(InputError, match="'yunet' needs model_path"):
        open_detector("yunet")
    with pytest.raises(InputError, match="no such file"):
        open_detector("yunet", model_path=tmp_path / "none.onnx")


def test_yunet_refuses_what_is_no_yunet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import onnx

    helper = onnx.helper
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 320, 320]) for name in ("input", "out")]
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["out"])], "other", ends[:1], ends[1:])
    other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    for content in (b"", b"not a network" * 50, other):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(InputError, match=r"bad.onnx: not a YuNet model"):
            YuNetDetector(tmp_path / "bad.onnx")
    odd = tmp_path / os.fsdecode(b"caf\xe9.onnx")
    odd.write_bytes(b"not a network" * 50)
    with pytest.raises(InputError) as refused:
        YuNetDetector(odd)
    assert "emo-edge-" not in str(refused.value), "no name of the link"
    with pytest.raises(InputError, match="no such file"):
        YuNetDetector(tmp_path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"<!DOCTYPE html>", "an HTML page"), (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer")],
)
def test_what_a_download_left_in_place_of_yunet_is_named(content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(content)
    with pytest.raises(InputError, match=rf"yunet\.onnx: {kind}, not the file"):
        open_detector("yunet", model_path=tmp_path / "yunet.onnx")


def test_yunet_boxes_are_read_in_frame_pixels(tmp_path: Path) -> None:
    # A name that is not UTF-8 ended the process.
    model = tmp_path / os.fsdecode(b"caf\xe9.onnx")
    toy_yunet(model)
    frame: Image = np.zeros((320, 320, 3), np.uint8)
    frame[80:88, 160:168] = 255
    (face,) = open_detector("yunet", model_path=model).detect(frame)
    assert face.box == pytest.approx((160 - 16, 80 - 24, 160 + 16, 80 + 24), abs=1e-3)
    assert face.score == pytest.approx(1.0)
    assert np.allclose(face.points, [(160, 80)] * 5, atol=1e-3)


def test_a_yunet_of_one_size_is_refused(tmp_path: Path) -> None:
    """OpenCV would read behind the end of its outputs."""
    toy_yunet(tmp_path / "fixed.onnx", fixed=True)
    with pytest.raises(InputError, match=r"fixed\.onnx: not a YuNet model .*other sizes"):
        YuNetDetector(tmp_path / "fixed.onnx")


def test_a_frame_without_a_face_takes_the_nearest_that_has_one() -> None:
    from emo_edge.faces.detector import nearest_with_face

    assert nearest_with_face([False, True, False, False, False, True]) == [1, 1, 1, 1, 5, 5]
    assert nearest_with_face([False, True, False, True]) == [1, 1, 1, 3]
    assert nearest_with_face([False, False]) == nearest_with_face([]) == []
