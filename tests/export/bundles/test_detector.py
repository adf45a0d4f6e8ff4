"""A detector inside a bundle: by export, by calibrate, verified and used without its source."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.app import main
from emo_edge.errors import BundleError
from emo_edge.faces.limits import FaceLimits
from emo_edge.inference.detectors import bundle_detector, chosen_detector
from tests.toy_yunet import toy_yunet

REAL = os.environ.get("EMO_EDGE_YUNET", "")
SAMPLE = packaged_samples(2)[1]


def run(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "my net.onnx"
    toy_yunet(path)
    return path


@pytest.fixture(scope="module")
def bundle(label_checkpoint: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bundle") / "labels"
    done = run("export", label_checkpoint, "--out", target, "--face", "fp32", "--limit", 7, "--detector", weights)
    assert done.exit_code == 0, done.output
    return target


def test_export_puts_the_detector_into_the_bundle(bundle: Path, weights: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    assert (manifest.detector, [file.path for file in manifest.detector_files]) == ("yunet", ["detector-yunet.onnx"])
    assert (bundle / "detector-yunet.onnx").read_bytes() == weights.read_bytes()
    assert "detector yunet" in run("inspect", bundle).stdout
    shown = run("infer", bundle, SAMPLE.source, "--json")
    assert shown.exit_code == 0, shown.output
    assert '"detector": "yunet"' in shown.stdout


def test_a_damaged_detector_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    content = (copy / "detector-yunet.onnx").read_bytes()
    (copy / "detector-yunet.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"detector-yunet\.onnx: its content"):
        Bundle.open(copy)


def test_what_is_no_yunet_is_refused_before_anything_is_computed(label_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"no network")
    for choice, message in ((tmp_path / "other.onnx", "not a YuNet model"), ("retina", "--detector retina: choose")):
        done = run("export", label_checkpoint, "--out", tmp_path / "new", "--detector", choice)
        assert (done.exit_code, message in done.stderr) == (4, True), done.output
    assert not (tmp_path / "new").exists()


def test_calibrate_replaces_the_detector(label_bundle: Path, label_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(label_bundle, copy)
    amounts = ("--collect", 32, "--measure", 16, "--sensitivity", 8)
    words = ("--checkpoint", label_checkpoint, "--samples", "synthetic:48", *amounts, "--detector", "mtcnn")
    done = run("calibrate", copy, *words)
    assert done.exit_code == 0, done.output
    manifest = Bundle.open(copy).manifest
    assert manifest.detector == "mtcnn" and len(manifest.detector_files) == 3


def test_limits_hold_for_the_bundles_own_detector(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert bundle_detector(opened).detect(SAMPLE.image)
    assert chosen_detector(opened, limits=FaceLimits(min_face=0.9)).detect(SAMPLE.image) == []
    done = run("infer", bundle, SAMPLE.source, "--min-face", 0.9)
    assert "no face found" in done.stdout, done.output


@pytest.mark.skipif(not REAL, reason="waits for YuNet's file: EMO_EDGE_YUNET=FILE")
def test_the_real_weights_find_the_drawings_and_a_photograph(label_checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    done = run("export", label_checkpoint, "--out", target, "--face", "fp32", "--limit", 7, "--detector", REAL)
    assert done.exit_code == 0, done.output
    detector = bundle_detector(Bundle.open(target))
    assert all(detector.detect(sample.image) for sample in packaged_samples(14))
    (face,) = detector.detect(pytest.importorskip("skimage.data").astronaut())
    assert face.box == pytest.approx((178, 65, 269, 176), abs=6)
