"""JSON of strangers: bounded, and named where it is not usable."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from emo_edge.errors import CheckpointError, InputError
from emo_edge.utils.files import LARGEST_JSON, read_json
from emo_edge.utils.json_values import DEEPEST, json_values
from emo_edge.utils.partial_results import is_number, kept_values

BAD = {
    '{"a": {"b": [1, %s]}}' % (10**400): "a.b.1: a number of 401 digits",
    '{"a": NaN}': "a: NaN",
    '{"a": -Infinity}': "a: -Infinity",
    '{"a": 1e999}': "a: '1e999' is too large for a number",
    '{"a": "\\ud800"}': "a: half a surrogate pair",
    '{"\\udfff": 1}': r"\udfff': half a surrogate pair",
    "[" * 600 + "]" * 600: f"more than {DEEPEST} levels of lists and objects",
    '{"a":' * 100_000: f"more than {DEEPEST} levels",
    "[" * (DEEPEST + 2) + "]" * (DEEPEST + 2): f"more than {DEEPEST} levels",
    "": "Expecting value",
    '{"a": 1': "delimiter",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:20])
def test_what_no_reader_can_use_is_refused_by_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        json_values(text)
    assert BAD[text] in str(caught.value) and len(str(caught.value)) < 400
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match="not readable as JSON"):
        read_json(path, "")


def test_what_is_usable_is_read() -> None:
    deepest = "[" * DEEPEST + "]" * DEEPEST
    assert json_values(f'{{"a": "\\ud83d\\ude00", "b": [1.5, -2, true, null], "c": {2**63}}}') == {
        "a": "\U0001f600",
        "b": [1.5, -2, True, None],
        "c": 2**63,
    }
    assert json_values(deepest) is not None
    assert json_values("\u00e9".join('""').encode()) == "\u00e9"
    with pytest.raises(ValueError):
        json_values(b'"\xff"')


def test_a_file_that_is_none_or_too_large_is_refused_at_once(tmp_path: Path) -> None:
    large, pipe = tmp_path / "large.json", tmp_path / "pipe.json"
    with large.open("wb") as stream:
        stream.truncate(LARGEST_JSON + 1)
    os.mkfifo(pipe)
    for path in (large, pipe, tmp_path):
        with pytest.raises(CheckpointError, match="no plain file, or larger than 64 MiB"):
            read_json(path, "")
    with pytest.raises(CheckpointError, match="no such file; here it is"):
        read_json(tmp_path / "none.json", "here it is")


@pytest.mark.parametrize("text", ["[1]", '{"a": "x"}', '{"a": true}', '{"a": 1', '{"a": NaN}'])
def test_partial_results_that_are_none_are_refused_with_the_next_step(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    assert kept_values(path, is_number) == {}
    path.write_text('{"a": 1.5, "b": 2}', encoding="utf-8")
    assert math.isclose(sum(kept_values(path, is_number).values()), 3.5)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"kept.json: cannot be read as partial results .* remove it to start anew"):
        kept_values(path, is_number)
