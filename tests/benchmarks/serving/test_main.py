"""The measurement of a server, small: every row has its figure, and every request is counted."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from emo_edge.benchmarks.serving.__main__ import main


def test_every_figure_is_measured(label_bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "serving.json"
    options = ["--readings", "4", "--rounds", "1", "--clients", "2", "--requests", "6", "--json", str(target)]
    done = CliRunner().invoke(main, [str(label_bundle), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    kept = json.loads(target.read_text(encoding="utf-8"))
    assert len(kept["direct_s"]) == len(kept["served_s"]) == len(kept["live"]) == 4
    assert len(kept["burst_status"]) == 6
    assert set(kept["burst_status"]) <= {200, 429}
    assert all(trip["trip_ms"] > trip["work_ms"] > 0 for trip in kept["live"])
    assert kept["resident_bytes"]["idle"] > 1e6
    for name, value in kept["figures"].items():
        assert f"| {name} | {value} |" in done.output
