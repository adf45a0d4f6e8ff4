"""A VLM's bundle calibrated: types made of its own reference, measured, gated; the scoring fitted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from emo_edge.assets.packaged import Sample, packaged_samples
from emo_edge.bundle.imatrix_file import read_imatrix
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.vlm.calibrate import VlmChoices, calibrate_vlm
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.errors import AccuracyGateError, InputError
from emo_edge.export.vlm.bundle import bundle_from_gguf
from emo_edge.export.vlm.config import VlmConfig, VlmFiles
from emo_edge.metrics.gates import Gate
from tests.random_vlms import written_vlm

CONFIG = CalibrationConfig(collect=4, measure=16, types=("q8_0", "q4_k_m"), gate=Gate.parse("kl<=0.01"))
LOOSE = Gate.parse("kl<=9")


@pytest.fixture
def bundle(made_once: Callable[..., Path], tmp_path: Path) -> Path:
    written = written_vlm(made_once, "llava")

    def write(target: Path) -> None:
        bundle_from_gguf(VlmFiles(written.half, written.mmproj), target, VlmConfig())

    return Path(shutil.copytree(made_once("llava-bundle", write), tmp_path / "bundle"))


def samples() -> list[Sample]:
    return list(packaged_samples(60))


def test_types_that_hold_their_gate_are_kept_with_evidence(bundle: Path, tmp_path: Path) -> None:
    kept = tmp_path / "imatrix.gguf"
    found = calibrate_vlm(bundle, samples, CONFIG, VlmChoices(keep_imatrix=kept)).manifest
    language = found.components.language
    assert language is not None and set(language.variants) == {"f16", "q8_0"}
    assert found.profiles["balanced"].evidence["samples"] == 16
    assert found.default_profile == "exact" and "small" not in found.profiles
    assert read_imatrix(kept).prompts == 4
    assert Bundle.open(bundle, use_cache=False).manifest == found


def test_a_strict_run_leaves_the_old_bundle(bundle: Path) -> None:
    before = Bundle.open(bundle).manifest
    strict = CalibrationConfig(collect=4, measure=16, types=("q4_k_m",), gate=Gate.parse("kl<=1e-9"), strict=True)
    with pytest.raises(AccuracyGateError, match="small: kl_mean"):
        calibrate_vlm(bundle, samples, strict)
    assert Bundle.open(bundle, use_cache=False).manifest == before


def test_the_scoring_is_fitted_on_labelled_samples(bundle: Path) -> None:
    config = CalibrationConfig(collect=20, measure=40, types=())
    found = calibrate_vlm(bundle, samples, config, VlmChoices(fit_scoring=True)).manifest
    evidence = found.profiles["exact"].evidence
    assert evidence["fit_samples"] == 60 and evidence["nll_after"] < evidence["nll_before"]
    assert found.scoring.temperature != 1


def test_types_are_measured_with_the_scoring_that_the_bundle_is_used_with(bundle: Path) -> None:
    config = CalibrationConfig(collect=34, measure=16, types=("q8_0",), gate=LOOSE, question_cache=False)
    before = calibrate_vlm(bundle, samples, config).manifest.profiles["balanced"].evidence
    fitted = calibrate_vlm(bundle, samples, replace(config, types=()), VlmChoices(fit_scoring=True)).manifest
    again = calibrate_vlm(bundle, samples, config).manifest
    assert fitted.scoring == again.scoring and fitted.scoring.temperature != 1
    assert fitted.profiles["balanced"].evidence["kl_mean"] != before["kl_mean"]
    assert fitted.profiles["balanced"].evidence == again.profiles["balanced"].evidence


def test_a_type_that_fails_leaves_the_one_that_was_there(bundle: Path) -> None:
    loose = CalibrationConfig(collect=4, measure=16, types=("q8_0", "q4_k_m"), gate=LOOSE, question_cache=False)
    before = calibrate_vlm(bundle, samples, loose).manifest
    after = calibrate_vlm(bundle, samples, replace(loose, seed=1, collect=6, gate=Gate.parse("kl<=0.01"))).manifest
    assert Bundle.open(bundle, use_cache=False).manifest == after
    assert after.profiles["small"] == before.profiles["small"]
    assert after.profiles["balanced"] != before.profiles["balanced"]


def test_a_fit_is_kept_where_no_type_holds(bundle: Path) -> None:
    never = Gate.parse("kl<=1e-12")
    strict = CalibrationConfig(collect=4, measure=50, types=("q4_k_m",), gate=never, strict=True, question_cache=False)
    with pytest.raises(AccuracyGateError, match="small: kl"):
        calibrate_vlm(bundle, samples, strict, VlmChoices(fit_scoring=True))
    with pytest.raises(AccuracyGateError, match="small: kl"):
        calibrate_vlm(bundle, samples, replace(strict, strict=False))
    after = calibrate_vlm(bundle, samples, replace(strict, strict=False), VlmChoices(fit_scoring=True)).manifest
    assert after.scoring.temperature != 1 and "small" not in after.profiles


def test_the_scoring_is_fitted_first(bundle: Path) -> None:
    config = CalibrationConfig(types=("q4_k_m",), profile="small")
    with pytest.raises(InputError, match=r"`profile` small: the scoring is fitted first, with one .* has: exact"):
        calibrate_vlm(bundle, samples, config, VlmChoices(fit_scoring=True))


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (CalibrationConfig(types=()), "nothing to do: name `types`"),
        (CalibrationConfig(types=("q4_k",)), "no quantized GGUF type; did you mean"),
        (CalibrationConfig(types=("q8_0",), labels="rafdb"), "no such set; did you mean"),
        (CalibrationConfig(types=("q8_0",), collect=60), "leaves fewer than 16"),
    ],
)
def test_what_cannot_be_done_is_refused_first(bundle: Path, config: CalibrationConfig, match: str) -> None:
    with pytest.raises(InputError, match=match):
        calibrate_vlm(bundle, samples, config)


def test_a_bundle_without_a_reference_cannot_be_quantized(bundle: Path) -> None:
    loose = CalibrationConfig(collect=4, measure=16, types=("q8_0",), gate=LOOSE)
    manifest = calibrate_vlm(bundle, samples, loose).manifest
    language = manifest.components.language
    assert language is not None
    quantized = language.model_copy(update={"variants": {"q8_0": language.variants["q8_0"]}})
    alone = manifest.model_copy(
        update={
            "components": manifest.components.model_copy(update={"language": quantized}),
            "profiles": {"balanced": manifest.profiles["balanced"].model_copy(update={"evidence": {}})},
            "default_profile": "balanced",
        }
    )
    (bundle / "language-f16.gguf").unlink()
    (bundle / "manifest.json").write_text(alone.model_dump_json())
    with pytest.raises(InputError, match="import it again with emo-edge import gguf --reference"):
        calibrate_vlm(bundle, samples, loose)
    unnamed = CalibrationConfig(collect=34, measure=16)
    fitted = calibrate_vlm(bundle, samples, unnamed, VlmChoices(fit_scoring=True)).manifest
    assert fitted.scoring.temperature != 1 and fitted.profiles["balanced"].evidence["fit_samples"] == 50
