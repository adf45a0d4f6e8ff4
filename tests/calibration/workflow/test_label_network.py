"""A network of labels is calibrated as a whole model's graphs are: INT8, gates, profiles, report."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from emo_edge.assets.packaged import Sample, packaged_samples
from emo_edge.bundle.reader import read_manifest
from emo_edge.calibration.workflow.calibrate import ExtraFiles, calibrate
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.errors import InputError
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.metrics.gates import Gate

SAMPLES = packaged_samples(70)
CONFIG = CalibrationConfig(collect=40, measure=30, sensitivity=8, int8_gate=Gate.parse("agreement>=0.5,kl<=1"))


@pytest.fixture
def bundle(label_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(label_bundle, tmp_path / "labels"))


def test_int8_is_a_variant_and_a_profile_with_evidence(bundle: Path, label_checkpoint: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    calibrate(bundle, label_checkpoint, lambda: SAMPLES, CONFIG, extra=ExtraFiles(report=report))
    manifest = read_manifest(bundle)
    assert manifest.components.face is not None
    assert list(manifest.components.face.variants) == ["fp32", "fp16", "int8"]
    assert {name: profile.face for name, profile in manifest.profiles.items()} == {
        "exact": "fp32",
        "balanced": "fp16",
        "int8": "int8",
    }
    evidence = manifest.components.face.variants["int8"].evidence
    assert {"label_logits", "labels", "all outputs", "speed"} == set(evidence)
    assert evidence["labels"]["samples"] == 30 and "uar_delta" in evidence["labels"]
    assert all(profile.evidence["samples"] == 30 for profile in manifest.profiles.values())
    assert set(json.loads(report.read_text())["graphs"]) == {"face"}
    with EmotionPipeline.open(bundle, device="cpu", profile="int8") as pipeline:
        result = pipeline.read(SAMPLES[0].image, boxes=[SAMPLES[0].box])[0]
    assert sum(result.probabilities.values()) == pytest.approx(1) and result.settings.variants == {"face": "int8"}


def test_a_users_graph_is_calibrated_as_ours_are(
    label_graph_bundle: Path, label_graph_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copy = Path(shutil.copytree(label_graph_bundle, tmp_path / "labels"))
    calibrate(copy, label_graph_checkpoint, lambda: SAMPLES, replace(CONFIG, int8_base="fp16"))
    manifest = read_manifest(copy)
    assert manifest.components.face is not None and manifest.profiles["int8"].face == "int8"
    evidence = manifest.components.face.variants["int8"].evidence
    assert evidence["labels"]["samples"] == 30 and 0 < evidence["label_logits"]["relative_error"] < 0.1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CalibrationConfig(types=("q4_k_m",)), "this bundle has none"),
        (CalibrationConfig(target_kl=0.1), "this bundle has none"),
        (CalibrationConfig(int8=()), "`int8` names none"),
        (CalibrationConfig(labels="affectnet8"), "`labels` affectnet8: choose from rafdb7"),
        (CalibrationConfig(collect=2), "INT8 ranges need at least"),
        (CalibrationConfig(int8_gate=Gate.parse("au-agreement>=0.9")), "au-agreement: this bundle gives no action"),
    ],
)
def test_what_needs_a_language_model_is_refused_first(
    bundle: Path, label_checkpoint: Path, config: CalibrationConfig, message: str
) -> None:
    def listed() -> list[Sample]:
        raise AssertionError("samples were drawn before the configuration was checked")

    with pytest.raises(InputError, match=message):
        calibrate(bundle, label_checkpoint, listed, config)
    with pytest.raises(InputError, match="`keep_imatrix` are statistics of a language model"):
        calibrate(
            bundle, label_checkpoint, listed, CONFIG, extra=ExtraFiles(keep_imatrix=bundle.parent / "imatrix.gguf")
        )
