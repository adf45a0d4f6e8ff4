"""The measurement of ``emo-edge label``, small: every way reads, and a killed run ends with the same rows."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from emo_edge.benchmarks.batch.__main__ import compared, memory_rows
from emo_edge.benchmarks.batch.contenders import Clock
from emo_edge.benchmarks.batch.cost_model import per_picture, seconds
from emo_edge.benchmarks.batch.costs import ReaderCosts, StageCosts
from emo_edge.benchmarks.batch.kills import difference


@pytest.mark.slow
def test_every_way_is_measured(label_bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "label.json"
    options = [
        "--pictures",
        "32",
        "--rows",
        "32",
        "--stage-pictures",
        "8",
        "--kills",
        "1",
        "--rows-per-part",
        "10",
        "--detector",
        "whole",
        "--json",
        str(target),
    ]
    command = [sys.executable, "-m", "emo_edge.benchmarks.batch", str(label_bundle), *options, "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = json.loads(target.read_text(encoding="utf-8"))
    assert all(figures["per_second"] for figures in kept["ways"].values()) and len(kept["kills"]) == 1
    assert [one["run"] for one in kept["cost"]["checks"]][:2] == ["local, 1 workers", "local, 2 workers"]
    assert kept["cost"]["costs"]["alone"]["networks"] > 0 and len(kept["memory"]["resident_bytes"][0]) == 3
    assert kept["figures"]["killed and finished with the same rows"] == "1 of 1"
    for name, value in kept["figures"].items():
        assert f"| {name} | {value} |" in done.stdout


def test_a_rate_is_taken_when_the_workers_run() -> None:
    clock = Clock(8)
    clock.times = [(1, 0.0), (2, 10.0), (4, 11.0), (8, 13.0)]
    assert clock.figures()["per_second"] == 2.0


def test_what_was_not_measured_is_named() -> None:
    figures = {"per_second": 4.0, "writing_s": 0.1, "seconds": 10.0}
    names = ("label, one worker, one thread", "label, two workers", "multiprocessing.Pool of two")
    shown = compared(dict.fromkeys(names, figures))
    assert shown["writing, of the whole time"] == "1.00 %" and shown["two workers, against one"] == "1.00"
    assert shown["Ray, against two workers"] == "not measured"


def test_memory_is_that_from_row_1000_on() -> None:
    sizes = [(10, 5_000_000, 0), (2000, 6_000_000, 9_000_000), (3000, 8_000_000, 9_000_000)]
    assert memory_rows({"resident_bytes": sizes}) == {
        "memory from row 1,000 to 3,000, process of the command": "6 to 8 MB",
        "memory from row 1,000 to 3,000, two workers together": "9 to 9 MB",
    }
    assert set(memory_rows({"resident_bytes": sizes[:1]}).values()) == {"not measured"}


ALONE = ReaderCosts(open=2.0, decode=0.001, networks=0.02, language=0.008, picture=0.03, cpu=0.03)
COSTS = StageCosts(ALONE, replace(ALONE, open=3.0, picture=0.04), hand_out=0.0005, writing=0.0005, cpus=2)


def test_the_time_of_a_picture() -> None:
    assert per_picture(COSTS, 1) == 0.03, "the command has the other CPU"
    assert per_picture(COSTS, 2) == pytest.approx((0.04 + 0.001) / 2)
    assert per_picture(COSTS, 4) == per_picture(COSTS, 2), "no more than the CPUs"
    assert per_picture(COSTS, 2, machines=10) == pytest.approx(0.002)
    assert per_picture(COSTS, 2, machines=1000) == COSTS.command


def test_the_time_of_a_run() -> None:
    assert seconds(COSTS, 100, 1) == pytest.approx(2 + 100 * 0.03)
    assert seconds(COSTS, 1100, 2) == pytest.approx(2 + 3 + (1100 - 3 / 0.03) * 0.0205)
    assert seconds(COSTS, 50, 2, start=7.0) == pytest.approx(7 + 3), "all are read before the second is open"


def test_rows_that_differ_are_named() -> None:
    expected = [{"source": "a.jpg", "p_fear": 0.5}, {"source": "b.jpg", "p_fear": 0.00092}]
    other = [expected[0], {**expected[1], "p_fear": 0.00091}]
    assert difference(other, expected) == "b.jpg: p_fear 0.00091 instead of 0.00092"
    assert difference(expected[:1], expected) == "1 instead of 2"
