"""Results come in order, one ahead, and errors where they belong."""

from __future__ import annotations

import threading

import pytest

from emo_edge.utils.prefetch import computed_ahead


def test_results_come_in_order() -> None:
    assert list(computed_ahead(lambda item: item * item, range(5))) == [0, 1, 4, 9, 16]
    assert list(computed_ahead(str, [])) == []


def test_no_more_than_one_is_computed_ahead() -> None:
    begun: list[int] = []
    second = threading.Event()

    def compute(item: int) -> int:
        begun.append(item)
        if item == 1:
            second.set()
        return item

    results = computed_ahead(compute, range(4))
    assert next(results) == 0
    assert second.wait(10), "the next one is computed while this one is used"
    assert begun == [0, 1]
    assert list(results) == [1, 2, 3]


def test_an_error_comes_after_the_results_before_it() -> None:
    def compute(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    found = []
    with pytest.raises(ValueError, match="two"):
        for result in computed_ahead(compute, range(4)):
            found.append(result)
    assert found == [0, 1]
