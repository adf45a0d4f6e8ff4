"""The tables of what compression costs: their samples, their options and their text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.emo_tiny.data import TEST_CLIPS, TEST_IMAGES, TRAIN_CLIPS, TRAIN_IMAGES
from emo_edge.benchmarks.emo_tiny.samples import CALIBRATION_SEED, HELD_OUT_SEED, synthetic_samples
from emo_edge.benchmarks.studies import gguf_types, int8
from emo_edge.calibration.int8.speed import SpeedCheck
from emo_edge.cli.demo import DEMO_SEED
from emo_edge.metrics.label_agreement import label_evidence

DOCS = Path(__file__).parents[3] / "docs" / "results"
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
    evidence = {**EVIDENCE, "perplexity": 1.6487, "cue_f1": 0.9}
    shown = gguf_types.table([gguf_types.Row("q4_k_m", "no imatrix", 1_870_000, evidence)])
    assert shown.splitlines()[-1] == (
        "| q4_k_m | no imatrix | 1.87 | 1.000 (0.342–1.000) | 1.08e-02 | 2.05e-02 | 1.000 | +0.0 (+0.0 to +0.0) "
        "| 1.00 | 1.6487 | 0.900 |"
    )


def test_a_graph_without_tokens_has_a_time_and_no_labels() -> None:
    speed = SpeedCheck((2.0, 2.0), (1.0, 1.5))
    shown = int8.table([int8.Row("face", "int8 max", 3_000_000, 0.9991, {}, speed)])
    assert shown.splitlines()[-1] == "| face | int8 max | 3.00 | 0.99910 | - | - | - | 0.62 (0.53–0.72) |"


@pytest.mark.parametrize(("types", "said"), [("q9", "no q9"), ("", "no type")])
def test_types_that_the_model_cannot_have_are_told_at_once(tmp_path: Path, types: str, said: str) -> None:
    done = CliRunner().invoke(gguf_types.main, ["--types", types, "--work", str(tmp_path / "work")])
    assert done.exit_code == 2 and said in done.output
    assert not (tmp_path / "work").exists()


def kept(name: str) -> list[dict[str, Any]]:
    return list(json.loads((DOCS / name).read_text(encoding="utf-8"))["rows"])


def test_the_document_shows_the_figures_that_were_kept() -> None:
    shown = (DOCS / "compression.md").read_text(encoding="utf-8")
    language = [gguf_types.Row(**row) for row in kept("quantization.json")]
    assert gguf_types.table(language) in shown
    graphs = []
    for row in kept("int8.json"):
        times = row.pop("speed")
        speed = times and SpeedCheck(tuple(times["baseline_ms"]), tuple(times["candidate_ms"]))
        graphs.append(int8.Row(**row, speed=speed))
    assert int8.table(graphs) in shown
    for name in ("quantization.json", "int8.json"):
        assert json.loads((DOCS / name).read_text(encoding="utf-8"))["machine"] in shown


def test_the_kept_figures_hold_what_is_promised() -> None:
    """Planned INT8 loses at most half a point of UAR; our mixtures are on the front of the stock types."""
    planned = [row for row in kept("int8.json") if row["name"].startswith("int8 planned")]
    assert {row["component"] for row in planned} == {"vision", "connector", "face"}
    assert all(row["evidence"]["uar_delta"] >= -0.005 for row in planned)
    rows = kept("quantization.json")
    stock = [row for row in rows if not row["file_type"].startswith("our mixed")]
    chosen = [row for row in rows if row["file_type"].endswith("; chosen)")]
    assert len(chosen) == len(gguf_types.MIXED_LIKE)
    for row in chosen:
        smaller = [one["evidence"]["kl_mean"] for one in stock if one["size"] <= row["size"]]
        assert row["evidence"]["kl_mean"] <= min(smaller, default=np.inf), row["file_type"]
