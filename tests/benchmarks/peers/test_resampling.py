"""The command prints our resizing beside PIL's, equal in every value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.peers import resampling
from emo_edge.benchmarks.peers.resampling import OURS, PIL, SIZES, main


def test_the_table_has_every_size_and_ours_is_equal_to_pil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    monkeypatch.setattr(resampling, "WARM_UP", 0)
    done = CliRunner().invoke(main, ["--rounds", "2", "--json", str(tmp_path / "rows.json")])
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["side"] for row in rows if row["way"] == OURS] == [side for *_, side in SIZES]
    assert {row["levels"] for row in rows if row["way"] in (OURS, PIL)} == {0}
    assert all(0 < row["p10"] <= row["p50"] <= row["p90"] for row in rows)
    assert {row["ratio"] for row in rows if row["way"] == PIL} == {1.0}
    lines = done.stdout.splitlines()
    assert lines[2].startswith("| 640x480 | 224 | emo-edge | ") and lines[2].endswith(" | none |")
    assert "2 rounds" in lines[-1]
