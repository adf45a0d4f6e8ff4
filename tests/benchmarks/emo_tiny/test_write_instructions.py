"""Drawings and instruction pairs as files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from click.testing import CliRunner

from emo_edge.benchmarks.emo_tiny.instructions import ADJECTIVES, SYNONYMS
from emo_edge.benchmarks.emo_tiny.write_instructions import main
from emo_edge.benchmarks.synthetic.generator import render_face
from emo_edge.metrics.facial_cues import cues_in
from emo_edge.taxonomy import ACTION_UNITS


def test_it_writes_pictures_and_two_pairs_each(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--out", str(tmp_path / "set"), "--count", "3", "--seed", "4", "--size", "64"])
    assert (done.exit_code, done.output) == (0, f"3 drawings and 6 pairs in {tmp_path / 'set'}\n")
    lines = [json.loads(line) for line in (tmp_path / "set" / "instructions.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == [f"images/{index // 2:06d}.png" for index in range(6)]
    for index in range(3):
        sample = render_face(4, index, size=64)
        picture = cv2.imread(str(tmp_path / "set" / lines[2 * index]["image"]))
        assert picture is not None and np.array_equal(picture[..., ::-1], sample.image)
        category, conversation = (line["conversations"] for line in lines[2 * index : 2 * index + 2])
        label = category[1]["value"]
        assert label in (sample.expression, SYNONYMS.get(sample.expression))
        assert (
            category[0]["value"].startswith("<image>\nWhat is the facial expression") and label in category[0]["value"]
        )
        assert ADJECTIVES[sample.expression] in conversation[1]["value"]
        strong = {unit for unit, value in zip(ACTION_UNITS, sample.action_units, strict=True) if value >= 0.2}
        assert cues_in(conversation[1]["value"]) <= strong


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    done = CliRunner().invoke(main, ["--out", str(tmp_path)])
    assert done.exit_code == 4
    assert done.output == f"Error: {tmp_path}: not empty; give a new folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
