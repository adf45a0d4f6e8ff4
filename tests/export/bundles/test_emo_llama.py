"""Export as a user runs it: what is written, what is refused, and what a missed gate does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.assets.packaged import packaged_checkpoint, packaged_samples
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.export import main
from emo_edge.console.progress import Reports
from emo_edge.errors import AccuracyGateError, CheckpointError, InputError
from emo_edge.export.bundles import emo_llama, run, size_estimate
from emo_edge.export.bundles.config import ExportConfig
from emo_edge.export.bundles.emo_llama import bundle_from_checkpoint
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.metrics.unit_agreement import AU_AGREEMENT, UNIT_EVIDENCE

pytestmark = pytest.mark.usefixtures("traced_once")


def export(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_bundle_holds_every_variant_with_its_evidence(tiny_bundle: Path) -> None:
    manifest = Bundle.open(tiny_bundle).manifest
    parts = manifest.components
    for component in (parts.vision, parts.connector, parts.face):
        assert component is not None
        evidence = dict(component.variants["fp32"].evidence)
        labels = evidence.pop("labels")
        assert labels["samples"] == 14
        assert labels["label_agreement"] == 1
        if component is parts.face:
            assert evidence.pop(UNIT_EVIDENCE)[AU_AGREEMENT] == 1
        for row in evidence.values():
            assert row["relative_error"] <= 1e-4
    assert set(parts.language.variants) == {"f16", "q4_k_m"}
    for variant in parts.language.variants.values():
        assert variant.evidence["labels"]["samples"] == 14
    exact = manifest.profiles["exact"].evidence
    assert exact["label_agreement"] >= 0.995
    assert exact["max_probability_error"] <= 0.01
    assert manifest.profiles["small"].evidence["kl_mean"] >= exact["kl_mean"]
    assert manifest.default_profile == "exact", "there is no balanced one here"


def test_the_manifest_knows_the_token_layout(tiny_bundle: Path) -> None:
    manifest = Bundle.open(tiny_bundle).manifest
    assert [segment.kind for segment in manifest.layout] == ["begin", "text", "frames", "text"]
    groups = [(group.name, group.count) for group in manifest.frames_segment.groups]
    assert groups == [("context", 1), ("content", 4), ("face", 4)]
    assert manifest.provenance["name"] == "emo-tiny"
    assert manifest.provenance["compared_on"] == "14 pictures, labels rafdb7"


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["emo-tiny", "--language", "q9_9"], 4, "--language q9_9: choose from"),
        (["emo-tiny", "--face", ","], 4, "--face: name at least one of fp32, fp16"),
        (["emo-tiny", "--vision", "int8"], 4, "--vision int8: choose from fp32, fp16"),
        (["emo-tiny", "--labels", "none"], 4, "--labels none: choose from rafdb7"),
        (["emo-huge"], 5, "no packaged checkpoint 'emo-huge'; there are: au-tiny, emo-tiny"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, part: str
) -> None:
    monkeypatch.setattr(emo_llama, "reference_on", None)
    done = export(*arguments, "--out", tmp_path / "new")
    assert done.exit_code == code, done.output
    assert part in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_not_overwritten_silently(tiny_bundle: Path) -> None:
    before = (tiny_bundle / "manifest.json").read_bytes()
    done = export("emo-tiny", "--out", tiny_bundle)
    assert done.exit_code == 5
    assert "--overwrite" in done.stderr
    assert (tiny_bundle / "manifest.json").read_bytes() == before


def test_an_empty_sample_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    done = export("emo-tiny", "--out", tmp_path / "new", "--samples", tmp_path / "none")
    assert done.exit_code == 4
    assert not (tmp_path / "new").exists()


def test_a_variant_that_misses_its_gate_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = run.in_precision

    def coarse(graph: Any, precision: str) -> Any:
        """Round the weights of the float16 form to one decimal: a real graph that is really off."""
        made = real(graph, precision)
        if precision == "fp32":
            return made
        rounded = {
            name: replace(weight, values=np.round(weight.values, 1))
            for name, weight in made.weights.items()
            if weight.values.ndim > 1
        }
        return replace(made, weights={**made.weights, **rounded})

    monkeypatch.setattr(run, "in_precision", coarse)
    plan = ExportConfig(vision=("fp32", "fp16"), face=("fp32",), language=("f16",))
    lines: list[str] = []
    seen: list[tuple[str, int, int]] = []
    with pytest.raises(AccuracyGateError) as caught:
        bundle_from_checkpoint(
            packaged_checkpoint(),
            tmp_path / "new",
            plan,
            packaged_samples(4),
            reports=Reports(lines.append, lambda *step: seen.append(step)),
        )
    assert {("reference", 4, 4), ("vision fp16", 4, 4), ("language f16", 4, 4), ("profile exact", 4, 4)} <= set(seen)
    message = str(caught.value)
    assert "vision fp16: features: cosine" in message and "the gate is 0.9995" in message
    assert "vision fp16: fails its gate, left out" in lines
    manifest = Bundle.open(tmp_path / "new").manifest
    assert set(manifest.components.vision.variants) == {"fp32"}
    assert sorted(path.name for path in (tmp_path / "new").iterdir() if "fp16" in path.name) == []


def test_where_nothing_passes_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emo_edge.metrics.gates.FP32_RELATIVE", 0.0)
    plan = ExportConfig(vision=("fp32",), face=("fp32",), language=("f16",))
    with pytest.raises(AccuracyGateError, match="no variant of vision, connector, face holds its gate"):
        bundle_from_checkpoint(packaged_checkpoint(), tmp_path / "new", plan, packaged_samples(2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("gates", "kept"), [(("language",), "q8_0"), (("profile",), "f16")])
def test_an_exact_profile_that_is_not_exact_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gates: tuple[str, ...], kept: str
) -> None:
    calls: list[str] = []
    real = emo_llama.exact_failures

    def strict(measured: Any) -> list[str]:
        """The gate as it is, but one that no rounding passes, for the named step alone."""
        calls.append("language" if not calls else "profile")
        with monkeypatch.context() as patch:
            if calls[-1] in gates:
                patch.setattr("emo_edge.metrics.gates.EXACT_PROBABILITY", 0.0)
            return real(measured)

    monkeypatch.setattr(emo_llama, "exact_failures", strict)
    plan = ExportConfig(vision=("fp32",), face=("fp32",), language=("f16", "q8_0"))
    with pytest.raises(AccuracyGateError, match=f"{gates[0]} [a-z0-9]+: probability error .*, the gate is 0"):
        bundle_from_checkpoint(packaged_checkpoint(), tmp_path / "new", plan, packaged_samples(2))
    manifest = Bundle.open(tmp_path / "new").manifest
    assert set(manifest.profiles) == {"balanced"}
    assert kept in manifest.components.language.variants


def test_every_variant_is_in_a_profile(tmp_path: Path) -> None:
    plan = ExportConfig(language=("f32", "f16", "bf16", "q8_0"))
    manifest = bundle_from_checkpoint(packaged_checkpoint(), tmp_path / "new", plan, packaged_samples(2)).manifest
    chosen = {name: (profile.vision, profile.language) for name, profile in manifest.profiles.items()}
    assert chosen == {
        "exact": ("fp32", "f32"),
        "f16": ("fp32", "f16"),
        "bf16": ("fp16", "bf16"),
        "balanced": ("fp16", "q8_0"),
    }
    plan = ExportConfig(language=("f16",))
    manifest = bundle_from_checkpoint(packaged_checkpoint(), tmp_path / "two", plan, packaged_samples(2)).manifest
    chosen = {name: (profile.vision, profile.language) for name, profile in manifest.profiles.items()}
    assert chosen == {"exact": ("fp32", "f16"), "half": ("fp16", "f16")}


def test_the_command_writes_a_bundle_and_tells_a_missed_gate_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--vision", "fp32", "--face", "fp32", "--language", "f16,q8_0", "--limit", "2", "--threads", "1"]
    done = export("emo-tiny", "--out", tmp_path / "one", *options)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'one'}\n"
    assert "language q8_0: 3.2 MB, label agreement" in done.stderr
    monkeypatch.setattr("emo_edge.metrics.gates.EXACT_PROBABILITY", 0.0)
    done = export("emo-tiny", "--out", tmp_path / "two", *options)
    assert done.exit_code == 7, done.output
    assert "language f16: probability error" in done.stderr
    assert set(Bundle.open(tmp_path / "two").manifest.profiles) == {"balanced"}


def test_a_killed_export_leaves_no_bundle_and_the_next_one_finishes(tmp_path: Path) -> None:
    code = "from emo_edge.cli.app import main; main()"
    options = ["--vision", "fp32", "--face", "fp32", "--language", "f16", "--limit", "2"]
    command = [sys.executable, "-c", code, "export", "emo-tiny", "--out", str(tmp_path / "new"), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("vision fp32: "):
                break
        again = export("emo-tiny", "--out", tmp_path / "new", *options)
        assert again.exit_code == 5 and "another export is writing it" in again.stderr
        process.kill()
    partial = tmp_path / ".new.partial"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new.lock", ".new.partial"]
    first = (partial / "vision-fp32.onnx").stat().st_ino
    (partial / "half-written.onnx").write_bytes(b"half")
    done = export("emo-tiny", "--out", tmp_path / "new", *options)
    assert done.exit_code == 0, done.output
    assert "vision fp32: finished by the run that was stopped" in done.stderr
    assert "connector fp32: finished" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert (tmp_path / "new" / "vision-fp32.onnx").stat().st_ino == first
    assert sorted(path.suffix for path in (tmp_path / "new").iterdir()) == [".gguf", ".json", ".json", *[".onnx"] * 3]
    vision = Bundle.open(tmp_path / "new").manifest.components.vision
    assert vision is not None and vision.variants["fp32"].evidence["labels"]["samples"] == 2


def stopped_export(target: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    """Export one graph, then stop as ``error`` would."""

    def stop(*_: object, **__: object) -> None:
        raise error("stopped here")

    with monkeypatch.context() as patch:
        patch.setattr(emo_llama, "gguf_from_checkpoint", stop)
        with pytest.raises(error):
            bundle_from_checkpoint(packaged_checkpoint(), target, RESUMED, packaged_samples(2))


RESUMED = ExportConfig(vision=("fp32",), face=("fp32",), language=("f16",))


@pytest.mark.parametrize(("error", "kept"), [(KeyboardInterrupt, True), (InputError, True), (CheckpointError, False)])
def test_what_a_stopped_export_had_finished_is_kept_unless_the_checkpoint_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], kept: bool
) -> None:
    stopped_export(tmp_path / "new", monkeypatch, error)
    assert (tmp_path / ".new.partial").exists() is kept
    lines: list[str] = []
    bundle_from_checkpoint(
        packaged_checkpoint(), tmp_path / "new", RESUMED, packaged_samples(2), reports=Reports(lines.append)
    )
    finished = [line.split(":")[0] for line in lines if line.endswith("finished by the run that was stopped")]
    assert finished == (["vision fp32", "connector fp32", "face fp32"] if kept else [])


@pytest.mark.parametrize("change", ["other pictures", "a cut file", "a broken record", "another plan"])
def test_what_belongs_to_another_export_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    stopped_export(tmp_path / "new", monkeypatch, KeyboardInterrupt)
    partial, samples = tmp_path / ".new.partial", packaged_samples(3 if change == "other pictures" else 2)
    if change == "a cut file":
        (partial / "face-fp32.onnx").write_bytes(b"cut")
    elif change == "a broken record":
        (partial / "face-fp32.finished.json").write_text("{}")
    elif change == "another plan":
        (partial / "plan.sha256").write_text("another")
    lines: list[str] = []
    bundle_from_checkpoint(packaged_checkpoint(), tmp_path / "new", RESUMED, samples, reports=Reports(lines.append))
    assert "face fp32: finished by the run that was stopped" not in lines
    assert Bundle.open(tmp_path / "new", use_cache=False).manifest.profiles["exact"].evidence["label_agreement"] == 1


def test_no_room_is_told_before_anything_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=20_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(emo_llama, "reference_on", lambda *_: pytest.fail("was computed"))
    done = export("emo-tiny", "--out", tmp_path / "new")
    assert done.exit_code == 4
    assert "GB are needed and 0.0 GB free; make room or choose another place" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_room_asked_for_is_what_is_written(tiny_bundle: Path) -> None:
    config, plan = EmoLlamaConfig.from_pretrained(packaged_checkpoint()), ExportConfig(language=("f16", "q4_k_m"))
    manifest = Bundle.open(tiny_bundle).manifest
    written = sum(file.size for file in manifest.files())
    assert written <= size_estimate.export_bytes(config, plan.graphs(config), plan.language, "f16") <= 1.25 * written
    more = size_estimate.export_bytes(config, plan.graphs(config), plan.language, "f32")
    assert more > size_estimate.export_bytes(config, plan.graphs(config), plan.language, "f16")


@pytest.mark.parametrize("kind", ["folder", "checkpoint", "file", "link"])
def test_overwriting_replaces_bundles_alone(tmp_path: Path, tiny_bundle: Path, kind: str) -> None:
    target = tmp_path / "mine"
    if kind == "link":
        target.symlink_to(tiny_bundle)
    elif kind == "file":
        target.write_text("precious")
    else:
        target.mkdir()
        (target / ("config.json" if kind == "checkpoint" else "letter.txt")).write_text("precious")
    done = export("emo-tiny", "--out", target, "--overwrite")
    assert done.exit_code == 5, done.output
    assert "already there, and no bundle" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert export("emo-tiny", "--out", "/").exit_code == 4


@pytest.mark.skipif(sys.platform != "linux", reason="waits for a system that limits file sizes this way")
@pytest.mark.usefixtures("tiny_bundle")
def test_a_place_that_is_full_is_one_error(tmp_path: Path) -> None:
    import resource

    options = ["--vision", "fp16", "--face", "fp16", "--language", "f16", "--limit", "2"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, limits[1]))
    try:
        done = export("emo-tiny", "--out", tmp_path / "new", *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.exit_code in (4, 5), done.output
    assert "cannot be written" in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == [".new.partial"]
    again = export("emo-tiny", "--out", tmp_path / "new", *options)
    assert again.exit_code == 0, again.output
    assert "vision fp16: finished by the run that was stopped" in again.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
