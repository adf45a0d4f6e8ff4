"""Numbers that cannot be a result: found in every output, on every device, before they reach a result."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.prompts import ValueRange
from emo_edge.errors import BundleError, DeviceError, EmoEdgeError
from emo_edge.inference.output_checks import require_sound
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.probability import tempered
from emo_edge.inference.results import Request
from tests.spoiled_bundles import spoiled

SHAPES = {
    "landmarks": (2, 68, 2),
    "pose": (2, 3),
    "attributes": (2, 40),
    "visibility": (2, 29),
    "age": (2, 8),
    "gender": (2, 2),
    "race": (2, 5),
    "face_tokens": (2, 4, 16),
}


def outputs() -> dict[str, Any]:
    return {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", SHAPES)
def test_a_value_that_is_not_finite_is_named(name: str, value: float) -> None:
    values = outputs()
    values[name].flat[-1] = value
    with pytest.raises(DeviceError, match=rf"the face graph computes {name} {value} on cuda, .*`device` cpu") as caught:
        require_sound("face", values, "cuda")
    assert caught.value.exit_code == 6
    with pytest.raises(BundleError, match=name) as caught_on_cpu:
        require_sound("face", values, "cpu")
    assert caught_on_cpu.value.exit_code == 5


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [("pose", math.pi, 3.15), ("pose", -math.pi, -1.8e5), ("landmarks", 1.2, 3.1), ("landmarks", -3.0, -1e30)],
)
def test_a_value_outside_of_its_heads_range_is_named(name: str, good: float, bad: float) -> None:
    values = outputs()
    values[name].flat[1] = good
    require_sound("face", values, "openvino")
    values[name].flat[0] = bad
    with pytest.raises(DeviceError, match=rf"{name} .* on openvino, outside of ±3"):
        require_sound("face", values, "openvino")


@pytest.mark.parametrize("name", ["attributes", "age", "race", "au_presence", "label_logits", "visual_tokens"])
def test_logits_and_embeddings_fit_into_float16(name: str) -> None:
    values = np.zeros((2, 7), np.float32)
    values[0] = [65504.0, -65504.0, *[0.0] * 5]
    require_sound("face", {name: values}, "cpu")
    for absurd in (1e7, -3e38):
        values[1, 3] = absurd
        with pytest.raises(BundleError, match=rf"{name} .* on cpu, outside of ±6\.55e\+04"):
            require_sound("face", {name: values}, "cpu")


@pytest.mark.parametrize(("value", "good"), [(0.0, True), (5.0, True), (-1e-3, False), (-4.0, False), (5.01, False)])
def test_an_intensity_is_from_0_to_5(value: float, good: bool) -> None:
    values = {"au_intensity": np.array([[2.0, value], [0.5, 4.0]], np.float32)}
    if good:
        require_sound("au", values, "cpu")
        return
    with pytest.raises(
        BundleError, match=rf"the au graph computes au_intensity {value:.4g} on cpu, outside of 0 to 5:"
    ):
        require_sound("au", values, "cpu")


def test_a_value_far_beside_its_scale_is_named() -> None:
    scales = (ValueRange(name="valence", low=-1, high=1), ValueRange(name="age", low=0, high=100))
    sound = {"values": np.array([[-1.4, 101.0], [2.9, -99.0]], np.float32)}
    require_sound("face", sound, "cpu", scales)
    for row, wrong in (([-3.1, 0.0], "valence -3.1"), ([0.0, 201.0], "age 201"), ([0.0, -101.0], "age -101")):
        with pytest.raises(DeviceError, match=rf"computes {wrong} on cuda, far outside of its scale"):
            require_sound("face", {"values": np.array([[0.0, 0.0], row], np.float32)}, "cuda", scales)
    with pytest.raises(DeviceError, match="values nan on cuda, no finite number"):
        require_sound("face", {"values": np.array([[math.nan, 0.0]], np.float32)}, "cuda", scales)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_large_finite_values_are_no_problem(dtype: Any) -> None:
    largest = np.finfo(dtype).max if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    for values in (np.full((4, 1000), largest, dtype), np.empty((0, 3), dtype)):
        require_sound("vision", {"features": values}, "cpu")


def test_opposite_infinities_are_found() -> None:
    with pytest.raises(BundleError, match="features inf on cpu, no finite number"):
        require_sound("vision", {"features": np.array([np.inf, -np.inf], np.float32)}, "cpu")


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-6, 1.0, 1e6])
def test_any_temperature_above_zero_gives_probabilities(temperature: float) -> None:
    values = tempered(np.array([-3.0, -1.0, -700.0]), temperature)
    assert np.isfinite(values).all() and abs(values.sum() - 1) < 1e-9 and values.argmax() == 1
    assert tempered(np.array([2.0, 2.0]), temperature).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("part", "output", "factor", "device", "kind"),
    [
        ("face", "pose", 1e8, "cpu", BundleError),
        ("face", "landmarks", 1e6, "openvino", DeviceError),
        ("face", "visibility", math.nan, "cpu", BundleError),
        ("vision", "features", math.nan, "cpu", BundleError),
        ("connector", "visual_tokens", math.nan, "cpu", BundleError),
    ],
)
def test_a_graph_that_computes_nonsense_gives_no_result(
    tiny_bundle: Path, tmp_path: Path, part: str, output: str, factor: float, device: str, kind: type[EmoEdgeError]
) -> None:
    bundle, (sample,) = spoiled(tiny_bundle, tmp_path / "bundle", part, output, factor), packaged_samples(1)
    with (
        EmotionPipeline.open(bundle, device=device, profile="exact", threads=1) as pipeline,
        pytest.raises(kind, match=f"the {part} graph computes {output} .* on {device}"),
    ):
        pipeline.read(sample.image, Request(), boxes=[sample.box])
