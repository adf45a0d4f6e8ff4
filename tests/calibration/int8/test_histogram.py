"""The histogram against numpy's on the same values, and that no order or cut changes a bit of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_edge.calibration.int8.histogram import BINS, MagnitudeHistogram
from emo_edge.errors import InputError
from emo_edge.tensors import Tensor


def counted(*parts: Tensor) -> MagnitudeHistogram:
    histogram = MagnitudeHistogram()
    for part in parts:
        histogram.add(part)
    return histogram


def same(one: MagnitudeHistogram, other: MagnitudeHistogram) -> bool:
    return (one.exponent, one.peak) == (other.exponent, other.peak) and np.array_equal(one.counts, other.counts)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 65504.0, 1e30])
def test_it_counts_what_numpy_does(scale: float) -> None:
    values = (np.random.default_rng(0).normal(size=(50, 40)) * scale).astype(np.float32)
    histogram = counted(values)
    limit = histogram.width * BINS
    assert histogram.peak == np.abs(values).max()
    assert limit / 2 <= histogram.peak < limit
    expected, _ = np.histogram(np.abs(values).astype(np.float64), BINS, (0, limit))
    assert np.array_equal(histogram.counts, expected)
    assert histogram.total == values.size


@given(
    st.lists(st.floats(-(2.0**60), 2.0**60, width=32), min_size=1, max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
    st.randoms(),
)
def test_cuts_and_order_change_nothing(values: list[float], cuts: list[int], shuffle: object) -> None:
    whole = np.array(values, np.float32)
    parts = np.split(whole, sorted(cuts))
    shuffle.shuffle(parts)  # type: ignore[attr-defined]
    merged = MagnitudeHistogram()
    for part in parts:
        merged.merge(counted(part))
    assert same(counted(*parts), counted(whole))
    assert same(merged, counted(whole))


def test_a_power_of_two_opens_the_next_range_and_zeros_fit_any() -> None:
    assert counted(np.array([1.0])).width * BINS == 2
    assert counted(np.array([np.nextafter(np.float32(1), np.float32(0))])).width * BINS == 1
    zeros = counted(np.zeros(7))
    assert (zeros.peak, zeros.total, zeros.counts[0]) == (0, 7, 7)
    zeros.add(np.array([-3.0]))
    assert (zeros.peak, zeros.counts[0], zeros.total) == (3, 7, 8)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_and_nothing_counted(bad: float) -> None:
    histogram = counted(np.ones(3))
    with pytest.raises(InputError, match="1 of 2 values are not finite"):
        histogram.add(np.array([1.0, bad]))
    assert same(histogram, counted(np.ones(3)))


def test_nothing_to_count_is_fine() -> None:
    assert same(counted(np.zeros((0, 4))), MagnitudeHistogram())
