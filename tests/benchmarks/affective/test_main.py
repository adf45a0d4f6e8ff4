"""Predictions of clips against figures by hand, and files that cannot be right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from emo_edge.benchmarks.affective.__main__ import main
from tests.benchmarks.datasets.affective.trees import csv_text, written_casme2, written_imigue, written_trial

ROWS = [
    [subject, f"EP{number:02d}", "", 10, apex, 40, "", "4", emotion]
    for subject, number, apex, emotion in (
        ("01", 1, 20, "happiness"),
        ("01", 2, 25, "disgust"),
        ("02", 1, 22, "disgust"),
        ("02", 2, "/", "surprise"),
        ("03", 1, 30, "repression"),
        ("03", 2, 30, "others"),
    )
]
ANSWERS = [
    ["sub01/EP01", "positive", 24],
    ["sub01/EP02", "negative", 25],
    ["sub02/EP01", "surprise", 20],
    ["sub02/EP02", "surprise", 3],
    ["sub03/EP02", "others", 1],
]
"""One clip has no answer; the last one is of no class."""


@pytest.fixture
def casme2(tmp_path: Path) -> Path:
    return written_casme2(tmp_path / "casme2", ROWS)


def ran(spec: str, path: Path, text: str, *options: str) -> Result:
    path.write_text(text)
    return CliRunner().invoke(main, ["--dataset", spec, "--predictions", str(path), *options])


def test_figures_of_answers_are_those_by_hand(casme2: Path, tmp_path: Path) -> None:
    text = csv_text([["clip", "label", "apex"], *ANSWERS])
    done = ran(f"casme2:{casme2}", tmp_path / "a.csv", text, "--json", str(tmp_path / "a.json"))
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "a.json").read_text())
    assert (report["clips"], report["subjects"], report["without_prediction"]) == (5, 3, 1)
    figures = {name: figure["value"] for name, figure in report["figures"].items()}
    # negative: 1 of 3 right, nothing else called so; positive: right; surprise: right, and one too many.
    assert figures["uf1"] == pytest.approx((2 / 4 + 1 + 2 / 3) / 3)
    assert figures["uar"] == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert figures["accuracy"] == pytest.approx(3 / 5)
    assert figures["apex_frames"] == pytest.approx((4 + 0 + 2) / 3)
    assert figures["apex_ms"] == pytest.approx(10)
    assert "casme2: 5 clips of 3 people; 1 have no prediction and count as wrong." in done.output
    assert "Left out: 1 with others, none of the three classes: sub03/EP02." in done.output
    assert "| apex error, ms | 10.0 (" in done.output


def test_strs_of_spotted_intervals(casme2: Path, tmp_path: Path) -> None:
    """Three of five are spotted among six intervals; two of those three have the right label."""
    rows = [
        ["sub01/EP01", "positive", 12, 40],
        ["sub01/EP01", "negative", 60, 80],
        ["sub01/EP02", "negative", 10, 38],
        ["sub02/EP01", "positive", 10, 40],
        ["sub02/EP02", "surprise", 38, 80],
        ["sub03/EP01", "negative", 1, 100],
    ]
    text = csv_text([["clip", "label", "onset", "offset"], *rows])
    done = ran(f"casme2:{casme2}", tmp_path / "a.csv", text, "--spotting", "--json", str(tmp_path / "a.json"))
    assert done.exit_code == 0, done.output
    figures = {name: one["value"] for name, one in json.loads((tmp_path / "a.json").read_text())["figures"].items()}
    spotting = 2 * 3 / (6 + 5)
    # Of spotted ones: negative 1 of 2 with precision 1, positive 1 of 1 with precision 1/2, surprise none.
    precision, recall = (1 + 1 / 2) / 3, (1 / 2 + 1) / 3
    assert figures["f1_spotting"] == pytest.approx(spotting)
    assert figures["f1_recognition"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert figures["strs"] == pytest.approx(figures["f1_spotting"] * figures["f1_recognition"])


def test_top_1_and_top_5_of_gestures(tmp_path: Path) -> None:
    from emo_edge.benchmarks.datasets.affective.imigue import GESTURES

    rows = [[video, 3 + 4 * (video % 2), 1 + video, 0, 9] for video in range(1, 9)]
    folders = dict.fromkeys(range(1, 9), "imigue_rgb_test")
    written_imigue(tmp_path / "data", rows, folders)
    rng = np.random.default_rng(0)
    scores = rng.random((8, 32))
    for own, (video, *_) in zip(scores[:5], rows, strict=False):
        own[video] = 2 if video % 2 else np.sort(own)[-4] + 1e-9
    text = csv_text(
        [["clip", *GESTURES], *([f"{row[0]:04d}_0_9", *own] for row, own in zip(rows, scores, strict=True))]
    )
    done = ran(f"imigue:{tmp_path / 'data'}", tmp_path / "a.csv", text, "--json", str(tmp_path / "a.json"))
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "a.json").read_text())["figures"]
    ranks = [int((own >= own[row[2] - 1]).sum()) for own, row in zip(scores, rows, strict=True)]
    assert figures["top_1"]["value"] == pytest.approx(np.mean([rank <= 1 for rank in ranks]))
    assert figures["top_5"]["value"] == pytest.approx(np.mean([rank <= 5 for rank in ranks]))
    assert figures["accuracy"]["value"] == figures["top_1"]["value"] < figures["top_5"]["value"]
    assert "Gestures of the body: a crop of the face cannot hold them." in done.output


def test_deception_says_that_it_proves_nothing(tmp_path: Path) -> None:
    written_trial(tmp_path / "data")
    rows = [[f"trial_{kind}_00{number}", "deceptive"] for kind in ("lie", "truth") for number in (1, 2)]
    done = ran(f"rltrial:{tmp_path / 'data'}", tmp_path / "a.csv", csv_text([["clip", "label"], *rows]))
    assert done.exit_code == 0 and "No facial sign of lying is known" in done.output
    assert "| accuracy | 50.0 % (" in done.output


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("clip,apex\n", [], "a header with clip and label, or clip and a column a label, is expected"),
        ("clip,positive\n", [], "scores of negative, surprise are missing"),
        ("clip,label\nsub01/EP01,joy\n", [], "line 2: label 'joy'; choose from negative, positive, surprise"),
        ("clip,label\nsub1/EP01,positive\n", [], "casme2 has no clip sub1/EP01; it has sub01/EP01, sub01/EP02"),
        ("clip,label,apex\nsub01/EP01,positive,x\n", [], "line 2: could not convert"),
        ("clip,label\nsub01/EP01,positive\nsub01/EP01,negative\n", [], "several are intervals: --spotting"),
        ("clip,label\nsub01/EP01,positive\n", ["--spotting"], "an interval has an onset and an offset"),
        ("clip,label\n", ["--split", "test"], "leave --split test out"),
    ],
)
def test_predictions_that_cannot_be_right(
    casme2: Path, tmp_path: Path, text: str, options: list[str], message: str
) -> None:
    done = ran(f"casme2:{casme2}", tmp_path / "a.csv", text, *options)
    assert done.exit_code == 4 and message in done.output


def test_clips_without_moments_cannot_be_spotted(tmp_path: Path) -> None:
    written_trial(tmp_path / "data")
    text = "clip,label,onset,offset\ntrial_lie_001,deceptive,1,2\n"
    done = ran(f"rltrial:{tmp_path / 'data'}", tmp_path / "a.csv", text, "--spotting")
    assert done.exit_code == 4 and "rltrial has no onset and offset: leave --spotting out" in done.output
