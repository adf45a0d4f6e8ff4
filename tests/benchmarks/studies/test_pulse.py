"""The study of heart rates: two short clips, its figures by hand, and the document that shows the kept ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.studies import pulse
from emo_edge.benchmarks.studies.pulse import (
    Candidate,
    Row,
    candidate_table,
    measured_rows,
    table,
    threshold_candidates,
    updated,
)
from emo_edge.benchmarks.studies.pulse_traces import CONDITIONS, REGIONS, FilmedFace, filmed_face
from emo_edge.errors import InputError
from emo_edge.inference.signals.heart_rate import heart_rate
from emo_edge.inference.signals.projections import METHODS
from emo_edge.inference.signals.refusals import LEAST_SNR_DB
from emo_edge.inference.signals.traces import SkinTrace

DOCS = Path(__file__).parents[3] / "docs" / "results"
NOISE = np.random.default_rng(4).standard_normal((300, 3))


def face(bpm: float | None, noise: float = 0.0) -> FilmedFace:
    times, none = np.arange(300) / 30, np.zeros(300, bool)
    beat = 0.0 if bpm is None else 0.01 * np.sin(2 * np.pi * bpm / 60 * times)[:, None]
    colours = np.array([150.0, 110.0, 90.0]) * (1 - beat * np.array([0.33, 0.77, 0.53])) + noise * NOISE
    return FilmedFace(bpm, {region: SkinTrace(colours, times, none, none) for region in REGIONS})


def test_rows_count_what_was_accepted_and_what_was_refused() -> None:
    rows = measured_rows("clean", [face(60), face(90), face(120), face(75, 9.0), face(None, 0.5), face(None, 0.4)])
    assert [(row.region, row.method) for row in rows] == [(region, method) for region in REGIONS for method in METHODS]
    row = rows[0]
    assert (row.clips, row.accepted, row.refused) == (4, 3, 2)
    assert row.mae is not None and row.mae < 0.05 and row.r is not None and row.r > 0.9999
    assert row.mae_low <= row.mae <= row.mae_high and row.mae_all > row.mae


def test_a_method_that_accepts_nothing_has_no_error() -> None:
    row = measured_rows("clean", [face(75, 9.0), face(None, 0.5)])[0]
    assert (row.mae, row.rmse, row.r, row.accepted) == (None, None, None, 0)
    assert "| clean | box | pos | - | - | - | 0 of 1 (0%–79%) | 1 of 1 (21%–100%) |" in table([row])


def test_a_threshold_keeps_what_is_above_it() -> None:
    candidates = threshold_candidates([face(60), face(None, 0.5)])
    assert [one.snr_db for one in candidates[:7]] == list(pulse.CANDIDATES_DB)
    assert all(one.accepted == 1 for one in candidates) and candidates[-1].refused == 1
    assert "| box | -1.0 dB | 0.10 | 3 of 4 (30%–95%) | 4 of 4 (51%–100%) |" in candidate_table(
        [Candidate("box", -1.0, 4, 3, 0.1, 4)]
    )


def test_a_page_without_marks_is_an_error() -> None:
    with pytest.raises(InputError, match="no marks <!-- pulse -->"):
        updated("text", {"pulse": "table"})


def test_traces_are_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = filmed_face(1, "clean", 0, folder=tmp_path, size=64)
    monkeypatch.setattr("emo_edge.benchmarks.studies.pulse_traces.draw_moving_face", None)
    for one, other in zip(first, filmed_face(1, "clean", 0, folder=tmp_path, size=64), strict=True):
        assert one.bpm == other.bpm
        np.testing.assert_array_equal(one.traces["landmarks"].colours, other.traces["landmarks"].colours)
    rates = [heart_rate(first[0].traces[region]) for region in REGIONS]
    assert all(rate.bpm == pytest.approx(first[0].bpm, abs=1) for rate in rates)
    assert not any(heart_rate(first[1].traces[region]).reliable for region in REGIONS)


def test_the_command_prints_both_tables_and_writes_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gathered(seed: int, condition: str, clips: int, *_: object) -> list[FilmedFace]:
        return [face(60.0 + 10 * row) for row in range(clips)] + [face(None, 0.5)] * clips

    monkeypatch.setattr(pulse, "gathered", gathered)
    target = tmp_path / "pulse.json"
    page = tmp_path / "pulse.md"
    marks = "\n".join(f"<!-- {name} -->\noutdated\n<!-- /{name} -->" for name in ("pulse", "conditions", "threshold"))
    page.write_text(f"before\n{marks}\nafter\n")
    words = ["--clips", "4", "--clean", "3", "--threshold", "2", "--json", str(target), "--page", str(page)]
    done = CliRunner().invoke(pulse.main, words, catch_exceptions=False)
    kept = json.loads(target.read_text())
    assert done.exit_code == 0 and kept["note"] in done.output and kept["machine"] in done.output
    assert table([Row(**row) for row in kept["rows"]]) in done.output
    text = page.read_text()
    assert "outdated" not in text and text.startswith("before\n") and text.endswith("\nafter\n")
    assert table([Row(**row) for row in kept["rows"]]) in text and kept["note"] in text
    assert [row["clips"] for row in kept["rows"]] == [4] * 6 + [3] * 6
    assert {row["condition"] for row in kept["rows"]} == set(CONDITIONS)


def test_the_document_shows_the_figures_that_were_kept() -> None:
    kept = json.loads((DOCS / "pulse.json").read_text(encoding="utf-8"))
    shown = (DOCS / "pulse.md").read_text(encoding="utf-8")
    assert table([Row(**row) for row in kept["rows"]]) in shown
    assert candidate_table([Candidate(**one) for one in kept["candidates"]]) in shown
    assert kept["note"] in shown and kept["machine"] in shown
    assert kept["least_snr_db"] == LEAST_SNR_DB


def test_the_kept_figures_hold_what_is_promised() -> None:
    rows = [Row(**row) for row in json.loads((DOCS / "pulse.json").read_text(encoding="utf-8"))["rows"]]
    for row in rows:
        if row.method == "pos":
            assert row.mae is not None and row.mae <= 0.5, row
            assert row.refused >= 0.95 * row.clips, row
