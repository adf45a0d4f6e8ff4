"""Each method against brute force on the raw values that the histogram counted."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.calibration.int8.clipping_thresholds import (
    ENTROPY_BINS,
    ENTROPY_LEVELS,
    LEVELS,
    METHODS,
    PERCENTILE,
    entropy_threshold,
    mse_threshold,
    percentile_threshold,
    threshold,
)
from emo_edge.calibration.int8.histogram import MagnitudeHistogram
from emo_edge.errors import InputError
from emo_edge.tensors import Tensor

RNG = np.random.default_rng(0)
SPREADS = {
    "normal": RNG.normal(size=60_000),
    "laplace": RNG.laplace(size=60_000) * 40,
    "gelu": np.maximum(RNG.normal(size=60_000), 0) ** 2,
    "uniform": RNG.uniform(-3, 3, 60_000),
    "outlier": np.append(RNG.normal(size=60_000), 60.0),
    "tiny": RNG.normal(size=5_000) * 1e-9,
}


@pytest.fixture(params=SPREADS)
def values(request: pytest.FixtureRequest) -> Tensor:
    return SPREADS[request.param].astype(np.float32)


@pytest.fixture
def histogram(values: Tensor) -> MagnitudeHistogram:
    counted = MagnitudeHistogram()
    counted.add(values)
    return counted


def test_max_is_the_largest_magnitude(values: Tensor, histogram: MagnitudeHistogram) -> None:
    assert threshold(histogram, "max") == np.abs(values).max()


@pytest.mark.parametrize("percentile", [50, 99, PERCENTILE, 100])
def test_a_percentile_is_that_of_the_values_to_a_bin(
    values: Tensor, histogram: MagnitudeHistogram, percentile: float
) -> None:
    exact = np.quantile(np.abs(values), percentile / 100, method="inverted_cdf")
    assert 0 <= percentile_threshold(histogram, percentile) - exact <= histogram.width


def squared_error(values: Tensor, limit: float) -> float:
    step = limit / LEVELS
    quantized = np.clip(np.round(values / step), -LEVELS, LEVELS) * step
    return float(((values - quantized) ** 2).mean())


def test_mse_is_nearly_the_least_error_of_any_threshold(values: Tensor, histogram: MagnitudeHistogram) -> None:
    peak, exact = float(np.abs(values).max()), values.astype(np.float64)
    least = min(squared_error(exact, peak * share) for share in np.linspace(0.005, 1, 600))
    assert squared_error(exact, mse_threshold(histogram)) <= 1.02 * least


def divergence(counts: list[int], end: int) -> float:
    """KL of one candidate, by the words of the method."""
    kept = [float(count) for count in counts[:end]]
    reference = [*kept[:-1], kept[-1] + sum(counts[end:])]
    candidate = [0.0] * end
    for level in range(ENTROPY_LEVELS):
        places = range(level * end // ENTROPY_LEVELS, (level + 1) * end // ENTROPY_LEVELS)
        filled = [place for place in places if reference[place]]
        for place in filled:
            candidate[place] = sum(kept[other] for other in places) / len(filled)
    total, given = sum(reference), max(sum(candidate), 1e-12)
    pairs = [(p / total, max(q / given, 1e-12)) for p, q in zip(reference, candidate, strict=True) if p]
    return sum(p * np.log(p / q) for p, q in pairs)


def test_entropy_is_the_candidate_that_brute_force_finds(values: Tensor, histogram: MagnitudeHistogram) -> None:
    limit = histogram.width * len(histogram.counts)
    counts = np.histogram(np.abs(values).astype(np.float64), ENTROPY_BINS, (0, limit))[0].tolist()
    while not counts[-1]:
        counts.pop()
    ends = sorted({int(end) for end in np.linspace(min(ENTROPY_LEVELS, len(counts)), len(counts), 256)})
    best = min(ends, key=lambda end: divergence(counts, end))
    expected = min(best * limit / ENTROPY_BINS, histogram.peak)
    assert entropy_threshold(histogram) == pytest.approx(expected, rel=1e-12)


def test_methods_differ_where_there_is_an_outlier() -> None:
    counted = MagnitudeHistogram()
    counted.add(SPREADS["outlier"])
    found = {method: threshold(counted, method) for method in METHODS}
    assert found["max"] == 60
    assert max(found[method] for method in ("percentile", "entropy")) < 8


@pytest.mark.parametrize("method", METHODS)
def test_zeros_have_the_threshold_zero_and_one_value_its_own(method: str) -> None:
    zeros, one = MagnitudeHistogram(), MagnitudeHistogram()
    zeros.add(np.zeros(9))
    one.add(np.full(9, 0.7, np.float32))
    assert threshold(zeros, method) == 0
    assert threshold(one, method) == pytest.approx(0.7, rel=1 / 256)


def test_bad_input_names_what_to_do() -> None:
    with pytest.raises(InputError, match="'median' is not a calibration method; choose one of max, percentile, ent"):
        threshold(MagnitudeHistogram(), "median")
    with pytest.raises(InputError, match="no activation was counted"):
        threshold(MagnitudeHistogram(), "max")
