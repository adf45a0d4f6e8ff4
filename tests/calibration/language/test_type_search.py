"""The choice of types against every choice there is, at toy size."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_edge.calibration.language.type_search import Option, Options, chosen_types, total_damage, total_size
from emo_edge.errors import AccuracyGateError

OPTIONS = {
    "attention": {"q8_0": Option(8, 0.0), "q4_k": Option(4, 0.2), "q2_k": Option(2, 1.0)},
    "output": {"q8_0": Option(8, 0.0), "q4_k": Option(4, 2.0), "q2_k": Option(2, 9.0)},
}
group = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.builds(Option, st.integers(1, 40), st.floats(0, 10, allow_nan=False)),
    min_size=1,
)


def test_the_group_that_suffers_keeps_its_bits() -> None:
    assert chosen_types(OPTIONS, 12) == {"attention": "q4_k", "output": "q8_0"}
    assert chosen_types(OPTIONS, 10) == {"attention": "q2_k", "output": "q8_0"}
    assert chosen_types(OPTIONS, 16) == {"attention": "q8_0", "output": "q8_0"}
    assert chosen_types(OPTIONS, 4) == {"attention": "q2_k", "output": "q2_k"}


def test_a_size_that_nothing_fits_is_an_error() -> None:
    with pytest.raises(AccuracyGateError, match=r"no mixture .* fits 0.0 MB for the matrices: the smallest needs"):
        chosen_types(OPTIONS, 3)


@given(st.dictionaries(st.sampled_from(["x", "y", "z"]), group, min_size=1), st.integers(1, 120))
def test_it_fits_and_no_single_change_is_better(options: Options, budget: int) -> None:
    every = [dict(zip(options, choice, strict=True)) for choice in itertools.product(*options.values())]
    fitting = [types for types in every if total_size(options, types) <= budget]
    if not fitting:
        with pytest.raises(AccuracyGateError):
            chosen_types(options, budget)
        return
    found = chosen_types(options, budget)
    assert total_size(options, found) <= budget
    for name, types in options.items():
        for other in types:
            changed = {**found, name: other}
            fits = total_size(options, changed) <= budget
            assert not fits or total_damage(options, changed) >= total_damage(options, found) - 1e-9
    # Never worse than everything in the smallest type.
    least = {name: min(types, key=lambda kind, types=types: types[kind].size) for name, types in options.items()}
    assert total_damage(options, found) <= total_damage(options, least) + 1e-9 or least not in fitting
