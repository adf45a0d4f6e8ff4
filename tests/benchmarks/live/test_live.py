"""The measurement of live results: the scene, the rows, the table, on a moment of each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.hostile.small_bundle import write_small_bundle
from emo_edge.benchmarks.live.__main__ import main
from emo_edge.benchmarks.live.measure import Row, percentiles
from emo_edge.benchmarks.live.scene import FPS, HEIGHT, WIDTH, frames
from emo_edge.benchmarks.live.soak import main as soak


def test_the_scene_moves_and_holds_its_faces() -> None:
    first, second = frames(2, 2 / FPS)
    assert first.shape == (HEIGHT, WIDTH, 3) and (first != second).any()
    assert (first[:, :10] == first[0, 0]).all() and (first[200:280, 120:240].std() > 5)


def test_percentiles_are_those_of_numpy() -> None:
    assert percentiles([]) is None
    values = percentiles(list(range(101)))
    assert values == {"p50": 50.0, "p90": 90.0, "p99": 99.0}
    assert Row("a", 1, 2.5, age_ms=[1.0] * 11, span_s=2.0).fps == 5.0


def test_the_command_measures_both_ways_and_every_number(tmp_path: Path) -> None:
    bundle, target = write_small_bundle(tmp_path / "bundle"), tmp_path / "live.json"
    words = ["--faces", "1", "--seconds", "0.4", "--slow-seconds", "0.4", "--slow-ms", "50", "--detector", "whole"]
    words += ["--burners", "1", "--scenes", "1", "--scene-seconds", "0.3", "--clips", "1", "--soak-frames", "100"]
    page = tmp_path / "live.md"
    page.write_text("".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in ("numbers", "rows")), encoding="utf-8")
    done = CliRunner().invoke(main, [str(bundle), *words, "--json", str(target), "--page", str(page)])
    assert done.exit_code == 0, done.output
    document = json.loads(target.read_text(encoding="utf-8"))
    rows = document["rows"]
    assert [row["way"] for row in rows] == [
        f"{way}{more}" for more in ("", ", busy CPUs", ", reading + 50 ms") for way in ("emo_edge.live", "plain loop")
    ]
    assert all(row["fps"] > 0 and len(row["raw"]["age_ms"]) >= 1 for row in rows)
    assert rows[0]["age_ms"]["p50"] == pytest.approx(np.median(rows[0]["raw"]["age_ms"]), abs=0.01)
    assert "| way | faces | fps |" in done.stdout and "Python 3" in document["machine"]
    names = " ".join(one["name"] for one in document["numbers"])
    assert all(
        word in names for word in ("rate", "age p99", "overlap", "IDF1", "reuse", "burners", "memory", "threads")
    )
    assert document["soak"]["frames"] == 100 and len(document["scenes"]) == 4
    assert page.read_text(encoding="utf-8").count("| IDF1, 4 scenes |") == 1


def test_the_soak_prints_what_grew(tmp_path: Path) -> None:
    bundle, target = write_small_bundle(tmp_path / "bundle"), tmp_path / "soak.json"
    words = [str(bundle), "--frames", "100", "--detector", "whole", "--json", str(target)]
    done = CliRunner().invoke(soak, words)
    assert done.exit_code == 0, done.output
    document = json.loads(target.read_text(encoding="utf-8"))
    assert document["frames"] == 100 and len(document["raw"]) == 20
    assert done.stdout.startswith("100 frames: memory ") and f"threads {document['threads']:+d}" in done.stdout
