"""Rows of a prompt: their places, what two prompts have in common, and what is computed together."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.runtimes.base.sessions import Chunk, PictureRows
from emo_edge.runtimes.llama_cpp.prompt_positions import PromptPositions, prompt_batches

GRID = np.array([[0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0]], np.int32)


def rows(seed: int = 0, count: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3), np.float32)


def prompt(*chunks: Chunk) -> PromptPositions:
    positions = PromptPositions()
    for chunk in chunks:
        positions.append(chunk, lambda _: None)
    return positions


def test_a_picture_on_a_grid_takes_its_span_and_text_counts_on_behind_it() -> None:
    found = prompt([1, 2], PictureRows(rows(), GRID, span=2), [3])
    assert found.places == [
        (0, 0, 0, 0),
        (1, 1, 1, 0),
        (2, 2, 2, 0),
        (2, 2, 3, 0),
        (2, 3, 2, 0),
        (2, 3, 3, 0),
        (4, 4, 4, 0),
    ]
    assert found.next == 5


def test_a_picture_that_differs_in_one_row_is_computed_as_a_whole() -> None:
    changed = rows().copy()
    changed[3] = 9
    before = prompt([1, 2], PictureRows(rows(), GRID, span=2), [3])
    assert before.common(prompt([1, 2], PictureRows(changed, GRID, span=2), [3])) == 2
    assert before.common(prompt([1, 2], PictureRows(rows(), GRID, span=2), [4])) == 6
    plain = prompt([1, 2], PictureRows(rows()), [3])
    assert plain.common(prompt([1, 2], PictureRows(changed), [3])) == 5


def test_rows_that_attend_to_each_other_are_a_batch_of_their_own() -> None:
    found = prompt([1, 2], PictureRows(rows(), causal=False), [3, 4, 5])
    batches = [(start, len(inputs), causal) for start, inputs, causal in prompt_batches(found, 0, len(found), 4, None)]
    assert batches == [(0, 2, True), (2, 4, False), (6, 3, True)]
    with pytest.raises(InputError, match="a picture takes 4 positions at once, the context computes 3"):
        list(prompt_batches(found, 0, len(found), 3, None))


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        prompt(PictureRows(np.full((1, 3), np.nan, np.float32)))
