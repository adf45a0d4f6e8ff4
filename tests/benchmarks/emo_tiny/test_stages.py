"""What the stages minimise: the Dice loss against its definition, and which rows an example shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emo_edge.benchmarks.emo_tiny.stages import dice_loss, examples_at
from emo_edge.taxonomy import ACTION_UNITS


def test_dice_is_zero_for_a_perfect_map_and_one_for_a_wrong_one() -> None:
    classes = torch.tensor([[[0, 1], [1, 2]]])
    sure = 50 * torch.nn.functional.one_hot(classes, 4).permute(0, 3, 1, 2).float()
    assert float(dice_loss(sure, classes)) == pytest.approx(0, abs=1e-6)
    wrong = sure.roll(1, dims=1)
    assert float(dice_loss(wrong, classes)) == pytest.approx(1, abs=1e-6)


def test_dice_is_its_definition_over_the_classes_drawn() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 5, 5, generator=generator)
    classes = torch.randint(0, 3, (2, 5, 5), generator=generator)
    shares = torch.softmax(logits, 1).numpy()
    scores = []
    for label in range(3):
        drawn = classes.numpy() == label
        scores.append(2 * (shares[:, label] * drawn).sum() / (shares[:, label].sum() + drawn.sum()))
    assert float(dice_loss(logits, classes)) == pytest.approx(1 - np.mean(scores), rel=1e-5)


def test_a_small_class_weighs_as_much_as_a_large_one() -> None:
    classes = torch.zeros(1, 10, 10, dtype=torch.long)
    classes[0, 0, 0] = 1
    missed = torch.zeros(1, 2, 10, 10)
    missed[:, 0] = 50.0
    assert float(dice_loss(missed, classes)) == pytest.approx(0.5, abs=0.01)


def clips() -> dict[str, np.ndarray]:
    cues = np.zeros((16, len(ACTION_UNITS)), np.uint8)
    cues[5, 2] = 1
    units = np.linspace(0, 1, 16 * len(ACTION_UNITS), dtype=np.float32).reshape(16, -1)
    return {"expression": np.zeros(16, np.uint8), "cues": cues, "action_units": units}


def test_one_clip_in_some_shows_every_other_frame() -> None:
    halved, whole = examples_at(clips(), [0, 1], 8, halve_every=2)
    assert halved.rows.tolist() == [0, 2, 4, 6]
    assert whole.rows.tolist() == [8, 9, 10, 11, 12, 13, 14, 15]
    assert halved.clip and whole.clip
    np.testing.assert_array_equal(halved.units, clips()["action_units"][[0, 2, 4, 6]])


def test_a_clip_has_the_cues_of_the_frames_it_shows() -> None:
    assert examples_at(clips(), [0], 8)[0].cues == (ACTION_UNITS[2],)
    assert examples_at(clips(), [0], 8, halve_every=1)[0].cues == ()
