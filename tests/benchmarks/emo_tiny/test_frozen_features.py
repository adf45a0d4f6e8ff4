"""Kept features against the networks' own, row by row and whatever was read before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from emo_edge.benchmarks.emo_tiny.frozen_features import FrozenFeatures, encode_rows


@pytest.fixture(scope="module")
def arrays(toy_model: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    sides = {"vision": toy_model.config.vision.image_size, "face": toy_model.config.face.image_size}
    return {name: rng.integers(0, 256, (6, side, side, 3), np.uint8) for name, side in sides.items()}


def fields(features: Any) -> dict[str, torch.Tensor]:
    found = {"vision": features.vision, **features.face._asdict()}
    assert found.pop("segmentation") is None
    return found


def test_kept_features_are_the_networks_own_to_half_precision(toy_model: Any, arrays: dict[str, np.ndarray]) -> None:
    rows = np.array([4, 0, 4, 1])
    own, kept = fields(encode_rows(toy_model, arrays, rows)), fields(FrozenFeatures(toy_model, arrays).read(rows))
    for name, values in own.items():
        bound = 2**-10 if name in ("vision", "face_map") else 1e-5
        assert kept[name].dtype == torch.float32
        assert ((kept[name] - values).abs() <= bound * values.abs().clamp(min=1)).all(), name


def test_a_row_is_encoded_once_and_reads_the_same_again(
    toy_model: Any, arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def counted(model: Any, given: Any, rows: np.ndarray) -> Any:
        asked.append(rows.tolist())
        return encode_rows(model, given, rows)

    monkeypatch.setattr("emo_edge.benchmarks.emo_tiny.frozen_features.encode_rows", counted)
    features = FrozenFeatures(toy_model, arrays)
    first = fields(features.read(np.array([2, 3])))
    mixed = fields(features.read(np.array([5, 3, 2])))
    features.read(np.array([5, 2]))
    assert asked == [[2, 3], [5]]
    for name, values in first.items():
        assert torch.equal(values, mixed[name][[2, 1]]), name
