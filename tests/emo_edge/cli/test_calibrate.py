"""``emo-edge calibrate`` on the packaged model: a bundle in, a calibrated one out, and nothing lost on the way."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from emo_edge.assets.packaged import SAMPLES
from emo_edge.bundle.imatrix_file import read_imatrix
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.int8.component import Int8Result, Int8Task
from emo_edge.calibration.language import mixed_types, mixture_search
from emo_edge.calibration.workflow import graphs
from emo_edge.cli.app import main
from emo_edge.errors import InputError
from emo_edge.media.images import write_image
from emo_edge.utils.byte_sizes import size_of


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to replace, a cache of its own, and a search of two types and a few changes: all would take minutes."""
    monkeypatch.setattr(mixed_types, "SEARCHED", ("q4_k", "q8_0"))
    monkeypatch.setattr(mixture_search, "TRIES", 4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def calibrate(bundle: Path) -> Callable[..., Result]:
    def run(*options: str, samples: str = "synthetic:32", int8: str = "none", question_cache: bool = False) -> Result:
        # Ranges of int8 need 16 pictures.
        collected = "8" if int8 == "none" else "16"
        sizes = ["--collect", collected, "--measure", "16", "--sensitivity", "2", "--int8", int8]
        words = ["calibrate", str(bundle), "--checkpoint", "emo-tiny", "--samples", samples, *sizes, *options]
        # Its search takes seconds a profile.
        return CliRunner().invoke(main, [*words, "--question-cache" if question_cache else "--no-question-cache"])

    return run


@pytest.mark.slow
def test_variants_and_profiles_carry_their_evidence(
    bundle: Path, calibrate: Callable[..., Result], tmp_path: Path
) -> None:
    kept = tmp_path / "kept.gguf"
    options = ["--types", "q4_k_m,iq2_xxs", "--gate", "agreement>=0.9,kl<=0.0001", "--keep-imatrix", str(kept)]
    done = calibrate(*options, "--target-size", "2MB", question_cache=True)
    assert (done.exit_code, done.stdout) == (0, f"{bundle}\n"), done.output
    assert "at most 2.0 MB, " in done.stderr and "with imatrix (mean KL" in done.stderr
    found = Bundle.open(bundle, use_cache=False).manifest
    assert found.components.language is not None
    variants = found.components.language.variants
    assert variants.keys() == {"f16", "q4_k_m", "mixed"}, "no profile takes iq2_xxs, which fails its gate"
    assert sum(file.size for file in variants["mixed"].files) <= 2_000_000
    for name in ("q4_k_m", "mixed"):
        evidence = variants[name].evidence["labels"]
        assert evidence["samples"] == 16 and evidence["perplexity"] > 1
        assert 0 < evidence["cue_f1"] <= 1 and evidence["cue_samples"] == 16
        assert evidence["cue_f1_truth_delta"] <= 0.1, "drawings' cues are known"
        assert evidence["uar_delta_low"] <= evidence["uar_delta"] <= evidence["uar_delta_high"]
    assert found.profiles["mixed"].vision == "fp16", "the smallest graphs go with it"
    assert all(profile.evidence["samples"] == 16 for profile in found.profiles.values())
    assert "profile iq2_xxs, iq2_xxs: " in done.stderr and "fails its gate (kl_mean" in done.stderr
    assert re.search(r"profile iq2_xxs, (q4_k_m|mixed): agreement", done.stderr), "a miss tries the next larger one"
    assert re.search("profile iq2_xxs: left out, for it would be (small|mixed) under another name", done.stderr)
    assert "language iq2_xxs: left out, for no profile takes it" in done.stderr
    assert "iq2_xxs" not in found.profiles and "language iq2_xxs" not in found.provenance
    assert not list(bundle.glob("*iq2_xxs*"))
    assert "statistics from 8 samples, measured on 16 others" in found.provenance["calibration"]
    assert read_imatrix(kept).prompts == 16, "two questions about each of 8"
    cached = {name: profile for name, profile in found.profiles.items() if profile.question_cache}
    assert cached and "exact" not in cached
    assert all(profile.evidence["uncached_kl_mean"] != profile.evidence["kl_mean"] for profile in cached.values())
    shown = CliRunner().invoke(main, ["inspect", str(bundle)])
    assert shown.stdout.count("; question cached but for ") == len(cached)
    assert "change of WAR, points (95 %)" in shown.stdout and "language mixed" in shown.stdout
    assert not list((tmp_path / "cache" / "emo-edge" / "calibration").iterdir())


@pytest.mark.slow
def test_graphs_in_int8_carry_their_plan_evidence_and_speed(
    bundle: Path, calibrate: Callable[..., Result], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    options = ["--types", "none", "--int8-gate", "agreement>=0.9,cosine>=0.98", "--gate", "agreement>=0.8"]
    done = calibrate(*options, "--report", str(report), int8="vision,connector")
    assert done.exit_code == 0, done.output
    found = Bundle.open(bundle, use_cache=False).manifest
    measured = json.loads(report.read_text(encoding="utf-8"))["graphs"]
    for name, component in (("vision", found.components.vision), ("connector", found.components.connector)):
        assert component is not None and component.variants.keys() == {"fp32", "fp16", "int8"}
        evidence = component.variants["int8"].evidence
        assert evidence["labels"]["samples"] == 16 and evidence["labels"]["label_agreement"] >= 0.9
        assert evidence["speed"]["ratio"] > 0
        assert min(row["cosine"] for row in evidence.values() if "cosine" in row) > 0.9
        sizes = {kind: sum(file.size for file in one.files) for kind, one in component.variants.items()}
        assert sizes["int8"] < sizes["fp32"]
        plan = measured[name]["plan"]
        assert plan["bytes_saved"] == sizes["fp32"] - sizes["int8"]
        assert len(plan["costs"]) > 1 and plan["quantized"] and measured[name]["methods"].keys() > {"max", "mse"}
        faster = evidence["speed"]["ratio_p90"] < 1
        assert (getattr(found.profiles["small"], name) == "int8") == faster, "what is not clearly faster is not chosen"
        assert f"{name} int8" in found.provenance
    profile = found.profiles.get("int8", found.profiles["small"])
    assert (profile.vision, profile.connector, profile.face) == ("int8", "int8", "fp16")
    assert found.profiles["exact"].vision == "fp32"
    shown = CliRunner().invoke(main, ["inspect", str(bundle)])
    assert "vision int8" in shown.stdout and "time relative to float" in shown.stdout
    read = CliRunner().invoke(main, ["infer", str(bundle), str(SAMPLES / "004-fear.jpg"), "--profile", "small"])
    assert read.exit_code == 0, read.output


@pytest.fixture
def blocks_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second calibration of the same graph go on with what its blocks cost in the first: some hundred runs."""
    real = graphs.planned_component

    def planned(task: Int8Task, target: Path, **options: Any) -> Int8Result:
        return real(task, target, **{**options, "kept": lambda method: tmp_path / f"{method}-blocks.json"})

    monkeypatch.setattr(graphs, "planned_component", planned)


@pytest.mark.slow
@pytest.mark.usefixtures("blocks_measured_once")
def test_a_face_graph_in_int8_decides_on_action_units_as_full_precision_does(
    bundle: Path, calibrate: Callable[..., Result]
) -> None:
    options = ["--types", "none", "--int8-gate", "agreement>=0.9,cosine>=0.9,au-agreement>=0.9"]
    done = calibrate(*options, "--gate", "agreement>=0.8", int8="face")
    assert done.exit_code == 0, done.output
    face = Bundle.open(bundle, use_cache=False).manifest.components.face
    assert face is not None
    evidence = face.variants["int8"].evidence["action units"]
    assert evidence["au_agreement"] >= 0.9 and evidence["samples"] == 16
    left = calibrate("--types", "none", "--int8-gate", "au-agreement>=1.1", "--gate", "agreement>=0.8", int8="face")
    assert left.exit_code == 0 and "face int8: left out. no INT8 form of face-fp32.onnx holds" in left.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("blocks_measured_once")
def test_an_int8_graph_that_misses_its_gate_is_left_out_or_ends_it(
    bundle: Path, calibrate: Callable[..., Result]
) -> None:
    options = ["--types", "none", "--int8-gate", "cosine>=1.1", "--gate", "agreement>=0.8"]
    done = calibrate(*options, int8="connector")
    assert done.exit_code == 0 and "connector int8: left out. no INT8 form of connector-fp32.onnx holds" in done.stderr
    found = Bundle.open(bundle, use_cache=False).manifest
    assert found.components.connector is not None and "int8" not in found.components.connector.variants
    before = contents(bundle)
    assert calibrate(*options, "--strict", int8="connector").exit_code == 7
    assert contents(bundle) == before


@pytest.mark.slow
def test_one_profile_alone_can_be_calibrated(bundle: Path, calibrate: Callable[..., Result]) -> None:
    before = Bundle.open(bundle).manifest
    done = calibrate("--profile", "small", "--gate", "agreement>=0.8")
    assert done.exit_code == 0, done.output
    found = Bundle.open(bundle, use_cache=False).manifest
    assert "profile small, " in done.stderr and "profile exact" not in done.stderr
    assert found.profiles["exact"] == before.profiles["exact"]
    assert found.profiles["small"].evidence["samples"] == 16


def contents(bundle: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.iterdir()}


@pytest.mark.slow
def test_a_gate_nobody_can_meet_leaves_the_old_bundle(bundle: Path, calibrate: Callable[..., Result]) -> None:
    before = contents(bundle)
    done = calibrate("--types", "q4_k_m", "--gate", "agreement>=1.1", "--strict")
    assert done.exit_code == 7 and "profile exact, f16 fails its gate" in done.stderr, done.output
    assert contents(bundle) == before
    assert [path.name for path in bundle.parent.iterdir() if "bundle" in path.name] == ["bundle"]


@pytest.mark.parametrize(
    ("options", "samples", "message"),
    [
        (["--types", "q9"], "synthetic:32", "--types q9: choose from"),
        (["--gate", "speed>=2"], "synthetic:32", "a gate reads like"),
        (["--labels", "mine"], "synthetic:32", "--labels mine: choose from"),
        (["--target-size", "big"], "synthetic:32", "a size reads like 800MB"),
        (
            ["--keep-imatrix", "nowhere/i.gguf"],
            "synthetic:32",
            "--keep-imatrix nowhere/i.gguf: there is no folder nowhere; give another name",
        ),
        (["--int8", "language"], "synthetic:32", "--int8 language: choose from vision, connector, face, au, or none"),
        (["--int8-gate", "speed<=1"], "synthetic:32", "a gate reads like"),
        (["--target-kl", "0.1", "--target-size", "9MB"], "synthetic:32", "--target-size or --target-kl"),
        (["--profile", "tiny"], "synthetic:32", "--profile tiny: choose from"),
        (["--profile", "exact"], "synthetic:32", "--profile exact takes nothing that calibration changes"),
        (["--types", "none"], "synthetic:32", "--types names none: choose from"),
        (
            ["--report", "nowhere/r.json"],
            "synthetic:32",
            "--report nowhere/r.json: there is no folder nowhere; give another name",
        ),
        ([], "nowhere", "no such file or folder"),
        ([], "synthetic:20", "leaves fewer than 16 to measure on"),
    ],
)
def test_what_cannot_be_done_is_told(
    bundle: Path, calibrate: Callable[..., Result], options: list[str], samples: str, message: str
) -> None:
    before = contents(bundle)
    done = calibrate(*options, samples=samples)
    assert done.exit_code == 4 and message in done.stderr, done.output
    assert contents(bundle) == before


def test_a_bundle_of_another_checkpoint_is_refused(bundle: Path, toy_checkpoint: Path) -> None:
    words = ["calibrate", str(bundle), "--checkpoint", str(toy_checkpoint), "--samples", "synthetic:32"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 4 and "was not exported from" in done.stderr


@pytest.mark.slow
def test_pictures_of_the_users_own_are_found_by_the_bundles_detector(
    bundle: Path, calibrate: Callable[..., Result]
) -> None:
    done = calibrate("--types", "q4_k_m", "--gate", "agreement>=0.5", samples=str(SAMPLES))
    assert done.exit_code == 0, done.output
    evidence = Bundle.open(bundle).manifest.profiles["small"].evidence
    assert evidence["samples"] == 16 and "uar_delta" not in evidence, "no labels, no accuracy"
    for option in ("--gate", "--int8-gate"):
        refused = calibrate("--types", "q4_k_m", option, "agreement>=0.5,uar>=-0.1", samples=str(SAMPLES))
        assert refused.exit_code == 4 and f"{option} uar: not known of these samples" in refused.stderr


@pytest.mark.slow
def test_pictures_that_cannot_be_used_are_skipped_counted_and_listed(
    bundle: Path, calibrate: Callable[..., Result], tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for picture in sorted(SAMPLES.glob("*.jpg"))[:26]:
        shutil.copy(picture, folder)
    (folder / "broken.jpg").write_bytes(b"no picture")
    write_image(folder / "empty.png", np.full((120, 120, 3), 200, np.uint8))
    # More are asked for than there are, so that every picture is drawn.
    sizes = ("--collect", "8", "--measure", "20")
    done = calibrate("--types", "q4_k_m", "--gate", "agreement>=0.5", *sizes, samples=str(folder))
    assert done.exit_code == 0, done.output
    assert "skipped broken.jpg: " in done.stderr and "skipped empty.png: no face found" in done.stderr
    told = Bundle.open(bundle).manifest.provenance["calibration"]
    count = int(told.split(" pictures skipped")[0].split()[-1])
    assert count >= 2 and f"{count} pictures skipped, {28 - count} used" in done.stderr
    assert done.stderr.count("\nskipped ") + done.stderr.startswith("skipped ") == count


def test_sizes_are_read() -> None:
    assert [size_of(text) for text in ("800MB", "3.9 GB", "12kb", "512")] == [800_000_000, 3_900_000_000, 12_000, 512]
    with pytest.raises(InputError, match="800MB"):
        size_of("-3MB")
