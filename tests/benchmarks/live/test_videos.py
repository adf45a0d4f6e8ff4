"""The rates of `emo-edge track`: every way takes every frame, and the table names each."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.live import videos
from tests.unit_bundles import write_unit_bundle


def test_the_table_has_a_rate_of_each_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, frames = write_unit_bundle(tmp_path / "units"), list[int]()
    rows = videos.FaceNetwork.rows
    monkeypatch.setattr(
        videos.FaceNetwork, "rows", lambda network, crops: frames.append(len(crops)) or rows(network, crops)
    )
    done = CliRunner().invoke(videos.main, [str(bundle), "--seconds", "1", "--rounds", "2"])
    assert done.exit_code == 0, done.output
    assert "units, fp32 on cpu: 3 units; 1 face, 30 frames, 16 at once, 2 rounds" in done.stdout
    cells = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[0] for row in cells] == [
        "| way",
        "| face network",
        "| decode, find, follow, cut",
        "| both, as the command",
    ]
    for _, middle, least, most, _ in cells[1:]:
        assert 0 < float(least) <= float(middle) <= float(most)
    assert sum(frames) == 30 * 2 * 2, "the network alone and the command, both rounds"
