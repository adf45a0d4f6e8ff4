"""A state that no run wrote is one clear error, whatever is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.calibration.int8.histogram import BINS
from emo_edge.calibration.int8.range_state import load_state, new_state
from emo_edge.errors import InputError

NAMES = ("first", "second")
Members = dict[str, Any]


@pytest.fixture
def members(tmp_path: Path) -> Members:
    state = new_state("graph", NAMES)
    for histogram in state.histograms.values():
        histogram.add(np.linspace(0, 3, 100, dtype=np.float32))
    state.counted({"x": np.ones((2, 3), np.float32)})
    state.save(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as stored:
        return dict(stored)


def header(**changes: Any) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        values = json.loads(str(members["header"])) | changes
        return {**members, "header": np.array(json.dumps(values))}

    return change


def columns(**changes: Any) -> Callable[[Members], Members]:
    return lambda members: {**members, **changes}


BAD: dict[str, tuple[Callable[[Members], Members], str]] = {
    "no header": (columns(header=np.array("[]")), "cannot be read as calibration ranges"),
    "a broken header": (columns(header=np.array("{")), "cannot be read as calibration ranges"),
    "no counts": (lambda members: {"header": members["header"]}, "cannot be read as calibration ranges"),
    "another graph": (header(graph="other"), "holds the ranges of another graph"),
    "other tensors": (header(tensors=["first"]), "holds the ranges of another graph"),
    "tensors that are none": (header(tensors=3), "cannot be read as calibration ranges"),
    "a negative count of feeds": (header(feeds=-1), "cannot be read as calibration ranges"),
    "feeds that are a word": (header(feeds="1"), "cannot be read as calibration ranges"),
    "a digest that is a number": (header(digest=1), "cannot be read as calibration ranges"),
    "an unknown key": (header(more=1), "cannot be read as calibration ranges"),
    "too many exponents": (columns(exponents=np.zeros(3, np.int64)), "another number of tensors or bins"),
    "exponents that are no numbers": (columns(exponents=np.array(["a", "b"])), "another type of numbers"),
    "an exponent beyond float32": (columns(exponents=np.array([5000, 2])), "an exponent that no float32 has"),
    "a peak that is none": (columns(peaks=np.array([np.nan, 1])), "values that no magnitude or count has"),
    "a negative peak": (columns(peaks=np.array([-1.0, 1])), "values that no magnitude or count has"),
    "a peak outside its bins": (columns(peaks=np.array([1e30, 1])), "a peak outside its bins"),
    "negative counts": (columns(counts=np.full((2, BINS), -1)), "values that no magnitude or count has"),
    "counts that overflow": (columns(counts=np.full((2, BINS), 2**62)), "values that no magnitude or count has"),
    "fractions of counts": (columns(counts=np.full((2, BINS), 0.5)), "another type of numbers"),
    "fewer bins": (columns(counts=np.zeros((2, 4), np.int64)), "another number of tensors or bins"),
    "a file that unpacks to gigabytes": (columns(counts=np.zeros((1 << 12, BINS), np.int64)), "bytes unpacked"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_state_that_no_run_wrote_is_refused(name: str, members: Members, tmp_path: Path) -> None:
    change, reason = BAD[name]
    path = tmp_path / "ranges.npz"
    np.savez_compressed(path, **change(members))
    with pytest.raises(InputError) as caught:
        load_state(path, "graph", NAMES)
    assert reason in str(caught.value) and "remove it" in str(caught.value)


def test_a_whole_state_is_read(members: Members, tmp_path: Path) -> None:
    np.savez(tmp_path / "again.npz", **members)
    state = load_state(tmp_path / "again.npz", "graph", NAMES)
    assert (state.feeds, state.samples, list(state.histograms)) == (1, 2, list(NAMES))
