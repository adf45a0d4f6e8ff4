"""The tables of what compression costs: their samples, their options and their text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks import int8_table, quantization_table
from emo_edge.benchmarks.demo import DEMO_SEED
from emo_edge.benchmarks.synthetic_samples import CALIBRATION_SEED, HELD_OUT_SEED, synthetic_samples
from emo_edge.benchmarks.tiny_data import TEST_CLIPS, TEST_IMAGES, TRAIN_CLIPS, TRAIN_IMAGES
from emo_edge.calibration.label_evidence import label_evidence
from emo_edge.calibration.speed_check import SpeedCheck

EVIDENCE = label_evidence(np.array([[0.7, 0.3], [0.2, 0.8]]), np.array([[0.6, 0.4], [0.2, 0.8]]), [0, 1])


def test_no_drawing_was_trained_on() -> None:
    others = {split.seed for split in (TRAIN_IMAGES, TRAIN_CLIPS, TEST_IMAGES, TEST_CLIPS)} | {DEMO_SEED}
    assert len({CALIBRATION_SEED, HELD_OUT_SEED}) == 2 and not {CALIBRATION_SEED, HELD_OUT_SEED} & others


def test_drawings_repeat_and_are_labelled_and_boxed() -> None:
    one, again = (synthetic_samples(3, HELD_OUT_SEED) for _ in range(2))
    other = synthetic_samples(3, CALIBRATION_SEED)
    for first, second, third in zip(one, again, other, strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        assert (first.name, first.box, first.expression) == (second.name, second.box, second.expression)
        assert first.box and first.box[2] > first.box[0] and first.expression
        assert not np.array_equal(first.image, third.image)


def test_a_row_tells_size_distance_and_what_changed() -> None:
    evidence = {**EVIDENCE, "answer_log_prob": -0.5}
    shown = quantization_table.table([quantization_table.Row("q4_k_m", "no imatrix", 1_870_000, evidence)])
    assert shown.splitlines()[-1] == (
        "| q4_k_m | no imatrix | 1.87 | 1.000 (0.342–1.000) | 1.08e-02 | 2.05e-02 | 1.000 | +0.0 (+0.0 to +0.0) "
        "| 1.00 | 1.6487 |"
    )


def test_a_graph_without_tokens_has_a_time_and_no_labels() -> None:
    speed = SpeedCheck((2.0, 2.0), (1.0, 1.5))
    shown = int8_table.table([int8_table.Row("face", "int8 max", 3_000_000, 0.9991, {}, speed)])
    assert shown.splitlines()[-1] == "| face | int8 max | 3.00 | 0.99910 | - | - | - | 0.62 (0.53–0.72) |"


@pytest.mark.parametrize(("types", "said"), [("q9", "no q9"), ("", "no type")])
def test_types_that_the_model_cannot_have_are_told_at_once(tmp_path: Path, types: str, said: str) -> None:
    done = CliRunner().invoke(quantization_table.main, ["--types", types, "--work", str(tmp_path / "work")])
    assert done.exit_code == 2 and said in done.output
    assert not (tmp_path / "work").exists()
