"""Reading report.json: what is none, what is torn, what does not fit, each one error that names the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emo_edge.benchmarks.report.reader import checked_report, report_from_json
from emo_edge.errors import InputError


def least(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "command": "emo-edge bench b",
        "synthetic": True,
        "bundle": {"name": "b"},
        "machine": {"description": "m"},
        "dataset": {"name": "d", "labels": ["joy", "fear"], "samples": 4},
        "rows": [{"name": "reference", "kind": "reference"}, {"name": "small", "kind": "profile"}],
        **changes,
    }


def rows(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "reference", "kind": "reference", **changes}]


def test_a_report_is_read_from_its_file_or_folder(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(least()))
    assert report_from_json(tmp_path) == report_from_json(tmp_path / "report.json")
    assert [row.name for row in report_from_json(tmp_path).rows] == ["reference", "small"]


def test_null_is_absent_and_more_keys_are_left_alone() -> None:
    found = checked_report(least(notes=None, new=1, rows=rows(variants=None, latency={"stages": None, "total": None})))
    assert found.notes == () and found.rows[0].variants == {} and found.rows[0].latency is not None


def test_a_bare_number_is_a_figure_without_an_interval() -> None:
    found = checked_report(
        least(rows=rows(accuracy={"text": {"war": 0.5}}, latency={"prompt_sweep": [{"tokens": 8, "prefill_ms": 2}]}))
    )
    assert found.rows[0].accuracy and found.rows[0].accuracy.text and found.rows[0].accuracy.text.war
    assert found.rows[0].accuracy.text.war.value == 0.5 and found.rows[0].accuracy.text.war.low is None
    assert found.rows[0].latency and found.rows[0].latency.prompt_sweep
    times = found.rows[0].latency.prompt_sweep[0].prefill_ms
    assert times and times.p50 == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bundle": {}}, "bundle.name: Field required"),
        ({"synthetic": None}, "synthetic: Field required"),
        ({"rows": []}, "rows: the first is not full precision"),
        ({"rows": [{"name": "small", "kind": "profile"}]}, "the first is not full precision"),
        ({"rows": [*rows(), {"name": "again", "kind": "reference"}]}, "full precision is there twice"),
        ({"rows": [*rows(), {"name": "reference", "kind": "profile"}]}, "a name is there twice: reference, reference"),
        ({"rows": rows(accuracy={"confusion": [[1, 2]]})}, "confusion of reference is not 2 x 2"),
        (
            {"rows": rows(accuracy={"war": {"value": 0.5, "low": 0.6, "high": 0.4}})},
            "rows.0.accuracy.war: the interval ends",
        ),
        ({"rows": rows(latency={"total": {"p50": float("nan")}})}, "rows.0.latency.total.p50: "),
        ({"rows": rows(latency={"total": {"p50": -1}})}, "rows.0.latency.total.p50: "),
        ({"rows": rows(size_bytes="large")}, "rows.0.size_bytes: "),
        ({"dataset": {"name": "d", "labels": ["joy", "joy"], "samples": 1}}, "dataset.labels: a label is there twice"),
    ],
)
def test_the_place_of_a_problem_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        checked_report(least(**changes), "a.json")
    assert str(caught.value).startswith("a.json has 1 problem(s)") and message in str(caught.value)


def test_of_many_problems_some_are_told() -> None:
    with pytest.raises(InputError) as caught:
        checked_report(least(notes=[1] * 40))
    assert len(str(caught.value).splitlines()) == 7 and str(caught.value).endswith("and 35 more")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut off or not JSON"),
        (json.dumps(least())[:90].encode(), "cut off or not JSON (Unterminated string"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 200_000, "cannot be read"),
        (b"3", "not a report of emo-edge bench"),
        (b'{"schema": 1}', "not a report of emo-edge bench"),
        (json.dumps(least(schema=2)).encode(), "schema version 2, and this emo-edge reads 1"),
        (json.dumps(least(schema="1")).encode(), "schema version 1, and"),
    ],
)
def test_what_is_no_report_is_one_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        report_from_json(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_a_folder_without_a_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"report\.json: no such file; emo-edge bench --out FOLDER writes one"):
        report_from_json(tmp_path)
