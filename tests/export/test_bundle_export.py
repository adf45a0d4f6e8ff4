"""Export as a user runs it: what is written, what is refused, and what a missed gate does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.bundle import Bundle
from emo_edge.errors import AccuracyGateError
from emo_edge.export import bundle_export
from emo_edge.export.bundle_export import ExportPlan, Reports, bundle_from_checkpoint
from emo_edge.export.export_command import main
from emo_edge.packaged import packaged_checkpoint
from emo_edge.samples import packaged_samples


@pytest.fixture(autouse=True, scope="module")
def _traced_once() -> Any:
    """Trace the packaged model once for all tests of this file: the slowest step, and the same each time."""
    with pytest.MonkeyPatch.context() as patch:
        traced: dict[str, Any] = {}
        real = bundle_export.onnx_from_component

        def from_component(model: Any, component: str) -> Any:
            if component not in traced:
                traced[component] = real(model, component)
            return traced[component]

        patch.setattr(bundle_export, "onnx_from_component", from_component)
        yield


def export(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_bundle_holds_every_variant_with_its_evidence(tiny_bundle: Path) -> None:
    manifest = Bundle.open(tiny_bundle).manifest
    parts = manifest.components
    for component in (parts.vision, parts.connector, parts.face):
        assert component is not None
        for row in component.variants["fp32"].evidence.values():
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


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["emo-tiny", "--language", "q9_9"], 4, "--language q9_9: choose from"),
        (["emo-tiny", "--vision", "int8"], 4, "--vision int8: choose from fp32, fp16"),
        (["emo-tiny", "--labels", "none"], 4, "--labels none: choose from rafdb7"),
        (["emo-huge"], 5, "no packaged checkpoint 'emo-huge'; there are: emo-tiny"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, part: str
) -> None:
    monkeypatch.setattr(bundle_export, "reference_on", None)
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
    real = bundle_export.half_from_full

    def coarse(graph: Any) -> Any:
        """Round the weights of the float16 form to one decimal: a real graph that is really off."""
        from onnx import numpy_helper

        half = real(graph)
        for tensor in half.model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float16 and values.ndim > 1:
                rounded = numpy_helper.from_array(np.round(values, 1), tensor.name)
                tensor.CopyFrom(rounded)
        return half

    monkeypatch.setattr(bundle_export, "half_from_full", coarse)
    plan = ExportPlan(vision=("fp32", "fp16"), face=("fp32",), language=("f16",))
    lines: list[str] = []
    seen: list[tuple[int, int]] = []
    with pytest.raises(AccuracyGateError) as caught:
        bundle_from_checkpoint(
            packaged_checkpoint(),
            tmp_path / "new",
            plan,
            packaged_samples(4),
            reports=Reports(lines.append, lambda *counts: seen.append(counts)),
        )
    assert seen[-1] == (8 * 4, 8 * 4), "the reference, six variants and the profile"
    message = str(caught.value)
    assert "vision fp16: features: cosine" in message and "the gate is 0.9995" in message
    assert "vision fp16: misses its gate, left out" in lines
    manifest = Bundle.open(tmp_path / "new").manifest
    assert set(manifest.components.vision.variants) == {"fp32"}
    assert sorted(path.name for path in (tmp_path / "new").iterdir() if "fp16" in path.name) == []


def test_where_nothing_passes_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emo_edge.export.parity.FP32_RELATIVE", 0.0)
    plan = ExportPlan(vision=("fp32",), face=("fp32",), language=("f16",))
    with pytest.raises(AccuracyGateError, match="no variant of vision, connector, face holds its gate"):
        bundle_from_checkpoint(packaged_checkpoint(), tmp_path / "new", plan, packaged_samples(2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("gates", "kept"), [(("language",), "q8_0"), (("profile",), "f16")])
def test_an_exact_profile_that_is_not_exact_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gates: tuple[str, ...], kept: str
) -> None:
    calls: list[str] = []
    real = bundle_export.exact_failures

    def strict(measured: Any) -> list[str]:
        """The gate as it is, but one that no rounding passes, for the named step alone."""
        calls.append("language" if not calls else "profile")
        with monkeypatch.context() as patch:
            if calls[-1] in gates:
                patch.setattr("emo_edge.export.parity.EXACT_PROBABILITY", 0.0)
            return real(measured)

    monkeypatch.setattr(bundle_export, "exact_failures", strict)
    plan = ExportPlan(vision=("fp32",), face=("fp32",), language=("f16", "q8_0"))
    with pytest.raises(AccuracyGateError, match=f"{gates[0]} [a-z0-9]+: probability error .*, the gate is 0"):
        bundle_from_checkpoint(packaged_checkpoint(), tmp_path / "new", plan, packaged_samples(2))
    manifest = Bundle.open(tmp_path / "new").manifest
    assert set(manifest.profiles) == {"balanced"}
    assert kept in manifest.components.language.variants
