"""The measurement of a server, small: every row has its figure, and every request is counted."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from emo_edge.benchmarks.serving.__main__ import main
from emo_edge.benchmarks.serving.fuzz import main as fuzz_main


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


def test_wild_requests_are_counted(label_bundle: Path) -> None:
    done = CliRunner().invoke(fuzz_main, [str(label_bundle), "--count", "20", "--seed", "3"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "20 requests, seed 3." in done.output
    assert "Ready after them: 200." in done.output
