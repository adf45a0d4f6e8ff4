"""The largest picture of each format: written, read in a process of its own, and what that took."""

from __future__ import annotations

import math

import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.endurance.__main__ import main
from emo_edge.benchmarks.endurance.largest_pictures import FORMATS, largest_readings

SIDE = 96


@pytest.mark.slow
def test_every_format_is_written_and_read() -> None:
    pytest.importorskip("pillow_heif", reason="waits for the extra photos")
    lines: list[str] = []
    found = list(largest_readings(tuple(FORMATS), SIDE * SIDE, lines.append))
    assert [one.name for one in found] == list(FORMATS) and len(lines) == len(FORMATS)
    for one in found:
        assert not one.error and one.pixels <= SIDE * SIDE * FORMATS[one.name][1]
        assert math.isqrt(one.pixels) ** 2 == one.pixels and one.file_bytes > 0
        assert 0 <= one.cpu_s < 2 and 0 <= one.added_bytes < 1 << 26


def test_more_time_than_allowed_is_an_error() -> None:
    done = CliRunner().invoke(main, ["largest", "jpeg", "--pixels", "9216", "--seconds", "0"])
    assert done.exit_code == 1 and "more than 0 s or 1 GiB, or not read: jpeg" in done.output
