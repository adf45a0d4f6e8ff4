"""Calibration of a network of action units alone: INT8 behind decisions about units, and every refusal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.workflow.unit_network import UnitRun
from emo_edge.cli.app import main
from emo_edge.export.bundles.face_network import bundle_from_face_network
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from tests.export.bundles.test_au_network import au_checkpoint

SIZES = ("--collect", 32, "--measure", 40, "--sensitivity", 8, "--threads", 1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return au_checkpoint(tmp_path_factory.mktemp("au"))


@pytest.fixture(scope="module")
def exported(
    checkpoint: Path,
    tracing_once: Callable[[], AbstractContextManager[None]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    with tracing_once():
        target = tmp_path_factory.mktemp("exported") / "au"
        return bundle_from_face_network(checkpoint, target, ("fp32", "fp16"), packaged_samples(4)).directory


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "au"))


@pytest.fixture
def calibrate(bundle: Path, checkpoint: Path) -> Callable[..., Any]:
    def run(*words: object) -> Any:
        given = ("calibrate", bundle, "--checkpoint", checkpoint, "--samples", "synthetic:80", *SIZES, *words)
        return CliRunner().invoke(main, [str(word) for word in given])

    return run


def test_the_graph_is_made_in_int8_and_reads(calibrate: Callable[..., Any], bundle: Path, tmp_path: Path) -> None:
    done = calibrate("--report", tmp_path / "report.json")
    assert done.exit_code == 0, done.output
    manifest = Bundle.open(bundle, use_cache=False).manifest
    assert manifest.components.au is not None and list(manifest.components.au.variants) == ["fp32", "fp16", "int8"]
    evidence = manifest.components.au.variants["int8"].evidence
    assert evidence["action units"]["au_agreement"] >= 0.99 and evidence["action units"]["samples"] == 40
    assert "labels" not in evidence and evidence["all outputs"]["centred_cosine"] > 0.9
    assert {name: profile.au for name, profile in manifest.profiles.items()}["int8"] == "int8"
    for profile in manifest.profiles.values():
        assert profile.evidence["au_agreement"] >= 0.99 and profile.evidence["samples"] == 40
    assert "au" in json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["graphs"]
    image, found = packaged_samples(1)[0].image, []
    for name in ("exact", "int8"):
        with EmotionPipeline.open(bundle, device="cpu", profile=name, detector=WholeImage()) as pipeline:
            found.append([unit.presence for unit in pipeline.read(image)[0].action_units.values()])
    assert np.abs(np.subtract(*found)).max() < 0.1 and found[0] != found[1]
    shown = CliRunner().invoke(main, ["inspect", str(bundle)]).stdout
    assert "au int8" in shown and "agreement on action units" in shown


def test_a_graph_that_decides_otherwise_is_left_out(calibrate: Callable[..., Any], bundle: Path) -> None:
    done = calibrate("--int8-gate", "au-agreement>=1.1")
    assert done.exit_code == 0, done.output
    assert "au int8: left out" in done.stderr
    manifest = Bundle.open(bundle, use_cache=False).manifest
    assert manifest.components.au is not None and "int8" not in manifest.components.au.variants
    strict = calibrate("--int8-gate", "au-agreement>=1.1", "--strict")
    assert strict.exit_code == 7


def test_a_profile_whose_decisions_differ_is_no_profile(
    calibrate: Callable[..., Any], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = UnitRun.chain_evidence

    def worse(run: UnitRun, draft: Bundle, name: str) -> dict[str, float]:
        measured = real(run, draft, name)
        return {**measured, "au_agreement": 0.9} if name == "int8" else measured

    monkeypatch.setattr(UnitRun, "chain_evidence", worse)
    done = calibrate()
    assert done.exit_code == 0, done.output
    assert "au_agreement 0.9, the gate is au-agreement>=0.99" in done.stderr and "profile int8: left out" in done.stderr
    assert list(Bundle.open(bundle, use_cache=False).manifest.profiles) == ["exact", "balanced"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--types", "q4_k_m"), 4, "quantize a language model, and this bundle has none"),
        (("--target-size", "1MB"), 4, "quantize a language model, and this bundle has none"),
        (("--int8", "none"), 4, "the network of action units is the only graph"),
        (("--int8", "face"), 4, "the network of action units is the only graph"),
        (("--gate", "agreement>=0.9"), 4, "--gate agreement: not measured there"),
        (("--int8-gate", "kl<=0.1"), 4, "--int8-gate kl: not measured there"),
        (("--profile", "small"), 4, "choose from exact, balanced"),
        (("--keep-imatrix", "imatrix.gguf"), 4, "statistics of a language model"),
        (("--collect", 4), 4, "INT8 ranges need at least"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused_before_anything_slow(
    calibrate: Callable[..., Any], words: tuple[object, ...], code: int, message: str
) -> None:
    done = calibrate(*words)
    assert done.exit_code == code, done.output
    assert message in done.stderr


def test_another_checkpoint_is_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = au_checkpoint(tmp_path / "other", expert_size=1)
    words = ["calibrate", bundle, "--checkpoint", other, "--samples", "synthetic:80"]
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 4 and "was not exported from" in done.stderr
