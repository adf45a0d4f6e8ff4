"""The measurement of ``emo-edge label``, small: every way reads, and a killed run ends with the same rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emo_edge.benchmarks.batch.__main__ import table
from emo_edge.benchmarks.batch.contenders import Clock


@pytest.mark.slow
def test_every_way_is_measured(label_bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "label.json"
    options = [
        "--pictures",
        "32",
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
    assert kept["figures"]["killed and finished with the same rows"] == "1 of 1"
    for name, value in kept["figures"].items():
        assert f"| {name} | {value} |" in done.stdout


def test_a_rate_is_taken_when_the_workers_run() -> None:
    clock = Clock(8)
    clock.times = [(1, 0.0), (2, 10.0), (4, 11.0), (8, 13.0)]
    assert clock.figures()["per_second"] == 2.0


def test_what_was_not_measured_is_named() -> None:
    figures = {"per_second": 4.0, "writing_s": 0.1, "seconds": 10.0, "resident_bytes": [(10, 5), (2000, 6), (3000, 8)]}
    names = ("label, one worker, one thread", "label, two workers", "multiprocessing.Pool of two")
    shown = table(dict.fromkeys(names, figures), [])
    assert shown["writing, of the whole time"] == "1.00 %" and shown["two workers, against one"] == "1.00"
    assert shown["Ray, against two workers"] == "not measured"
    assert shown["memory from row 1,000 on"] == "0.0 MB apart"
