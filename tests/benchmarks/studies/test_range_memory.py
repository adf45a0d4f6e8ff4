"""The benchmark of range gathering: its pictures, and a run of it on a small net."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_edge.benchmarks.studies.range_memory import memory_rows, noise, table
from emo_edge.benchmarks.studies.subprocess_step import PROCESSES


def test_every_picture_is_drawn_once() -> None:
    assert [len(feed["image"]) for feed in noise(40, 8)] == [16, 16, 8]


@pytest.mark.skipif(not PROCESSES.is_dir(), reason="waits for a system that tells a process's memory")
def test_rows_are_measured_and_told(tiny_bundle: Path) -> None:
    rows = memory_rows(tiny_bundle / "vision-fp32.onnx", 112, (16,))
    assert rows[0].peak_anonymous_gb > 0.01
    assert table(rows).splitlines()[-1].startswith("| 16 pictures | ")
