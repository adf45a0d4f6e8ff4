"""``emo-edge detector measure``: the counts of pictures whose boxes are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.assets.packaged import Sample, packaged_samples
from emo_edge.benchmarks.measure.detectors import measured_detectors
from emo_edge.cli.app import main
from emo_edge.errors import InputError
from emo_edge.faces.registry import WholeImage


def run(*words: object) -> Any:
    return CliRunner().invoke(main, ["detector", "measure", *map(str, words)])


def test_the_table_and_the_file_have_the_same_figures(tmp_path: Path) -> None:
    lines = ["image,label,x0,y0,x1,y1"]
    for sample in packaged_samples(3):
        assert sample.box is not None
        lines.append(f"{sample.source},,{','.join(map(str, sample.box))}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    done = run("--samples", tmp_path / "list.csv", "--detector", "mtcnn", "--json", tmp_path / "rows.json")
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["detector"], row["rotation"]) for row in rows] == [
        ("mtcnn", rotation) for rotation in (0, 90, 180, 270)
    ]
    assert (rows[0]["faces"], rows[0]["found"], rows[0]["false_boxes"]) == (3, 3, 0)
    table = done.stdout.splitlines()
    assert len(table) == 6 and table[2].startswith("| mtcnn | 0° | 3 | 3 (100%) | 3 | - | 0 | 0.")
    assert rows[0]["upright"] == 3 and all(2 <= row["upright"] <= row["found"] for row in rows)


def test_faces_of_one_picture_are_counted_together_and_only_once(tmp_path: Path) -> None:
    """The whole picture as the one face: it overlaps the large box, and leaves the small one."""
    import cv2

    path = tmp_path / "two.png"
    cv2.imwrite(str(path), np.zeros((100, 200, 3), np.uint8))
    samples = [Sample("a", path, (0, 0, 200, 80), None), Sample("b", path, (0, 0, 10, 10), None)]
    upright, left, *_ = measured_detectors(samples, {"whole": WholeImage()})
    counted = {name: upright[name] for name in ("faces", "found", "small_faces", "small_found", "false_boxes")}
    assert counted == {"faces": 2, "found": 1, "small_faces": 1, "small_found": 0, "false_boxes": 0}
    assert (upright["overlap"], upright["width_ratio"], upright["height_ratio"]) == pytest.approx((0.8, 1, 1.25))
    assert left["found"] == 1 and left["height_ratio"] == pytest.approx(1.25), "boxes are those of the given picture"


def test_pictures_without_a_box_and_detectors_without_a_search_are_refused(tmp_path: Path) -> None:
    sample = packaged_samples(1)[0]
    with pytest.raises(InputError, match="no sample has a box"):
        measured_detectors([Sample("a", sample.source, None, None)], {"whole": WholeImage()})
    refused = run("--samples", "synthetic:1", "--detector", "whole")
    assert refused.exit_code == 4 and "--detector whole: name one that searches" in refused.stderr
