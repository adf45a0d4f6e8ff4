"""The studies of question caches: their rows on a real bundle, and their tables on figures by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.studies import question_cache, question_calls
from emo_edge.benchmarks.studies.question_cache import CACHES, CLIP_CACHES, Row, rows_of
from emo_edge.benchmarks.studies.question_calls import CACHES as TIMED
from emo_edge.benchmarks.studies.question_calls import FACES, WHOLE, Way
from emo_edge.bundle.manifest import QuestionCache
from emo_edge.runtimes.llama_cpp import session as sessions

DOCS = Path(__file__).parents[3] / "docs" / "results"


def test_every_cache_of_drawings_and_clips_is_a_row(tiny_bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "caches.json"
    arguments = [str(tiny_bundle), "--profiles", "exact", "--held-out", "2", "--clips", "1", "--json", str(target)]
    done = CliRunner().invoke(question_cache.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    rows = json.loads(target.read_text())["rows"]
    assert [row["read"] for row in rows] == ["drawings"] * (1 + len(CACHES)) + ["clips"] * (1 + len(CLIP_CACHES))
    whole = [row for row in rows if row["head"] is None]
    assert [row["evidence"]["kl_mean"] for row in whole] == [0.0, 0.0]
    assert all(row["evidence"]["kl_mean"] > 0 for row in rows if row["tail"] == 1 and not row["head"])
    assert f"| drawings | exact | {CACHES[0].head} | {CACHES[0].tail} |" in done.output


def test_a_row_compares_with_the_whole_computation() -> None:
    reference = np.array([[0.6, 0.4], [0.3, 0.7]])
    other = np.array([[0.4, 0.6], [0.3, 0.7]])
    first, second = rows_of("drawings", "small", reference, [None, QuestionCache(tail=2)], np.stack([reference, other]))
    assert (first.head, first.tail, first.evidence["label_agreement"]) == (None, None, 1.0)
    assert (second.head, second.tail, second.evidence["label_agreement"]) == (0, 2, 0.5)
    assert second.evidence["kl_mean"] == pytest.approx((0.6 * np.log(1.5) + 0.4 * np.log(2 / 3)) / 2)
    text = question_cache.table([first, Row("clips", "small", 7, 1, second.evidence)])
    assert "| drawings | small | all | all | 1.0000 (" in text and "| clips | small | 7 | 1 | 0.5000 (" in text


def test_times_are_ratios_of_the_same_round() -> None:
    text = question_calls.table([Way(WHOLE, 65, [10.0, 20.0, 30.0]), Way("head 0, tail 1", 10, [5.0, 5.0, 10.0])])
    assert text.splitlines()[-1] == "| head 0, tail 1 | 10 | 5.0 | 3.00 (2.00 to 4.00) |"


def test_every_way_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_calls, "WIDTH", 256)
    monkeypatch.setattr(question_calls, "MLP", 512)
    monkeypatch.setattr(sessions, "FILES_FROM", 0)
    target = tmp_path / "calls.json"
    arguments = ["--layers", "1", "--rounds", "3", "--json", str(target)]
    done = CliRunner().invoke(question_calls.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    ways = json.loads(target.read_text())["ways"]
    assert len(ways) == 1 + 2 * len(TIMED)
    assert [way["positions"] for way in ways[:2]] == [65, 10]
    assert ways[-1]["way"] == f"{FACES} faces, head 0, tail 32" and len(ways[-1]["ms"]) == 3
    assert "4 faces, head 0, tail 1" in done.output
    first = json.loads(target.read_text())["first"]
    assert [(way["way"], way["positions"], len(way["ms"])) for way in first] == [
        ("first label, question computed", 108, 3),
        ("first label, question from its file", 10, 3),
    ]
    assert all(way["way"] in done.output for way in first)


def test_an_unknown_type_lists_those_there_are() -> None:
    done = CliRunner().invoke(question_calls.main, ["--type", "q9"])
    assert done.exit_code == 2 and "no q9; choose from" in done.output


def test_the_document_shows_the_figures_that_were_kept() -> None:
    kept = json.loads((DOCS / "question_cache.json").read_text(encoding="utf-8"))
    shown = (DOCS / "compression.md").read_text(encoding="utf-8")
    assert question_cache.table([Row(**row) for row in kept["rows"]]) in shown
    assert kept["machine"] in shown
    calls = json.loads((DOCS / "question_calls.json").read_text(encoding="utf-8"))
    for part in ("ways", "first"):
        assert question_calls.table([Way(**one) for one in calls[part]]) in shown
