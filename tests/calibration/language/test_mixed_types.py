"""The search for a mixture: predicted sizes against real files, groups, and a search that goes on after a stop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from emo_edge.calibration.language.mixed_types import (
    BASE,
    EXACT,
    SEARCHED,
    Matrix,
    grouped,
    matrices_of,
    measured_options,
    mixed_types,
    overhead_of,
)
from emo_edge.errors import AccuracyGateError
from emo_edge.export.gguf.quantize import quantize_gguf

REFERENCE = np.full((4, 2), 0.5)
HURTS = {"output.weight": 4.0, "blk.0.ffn_down.weight": 2.0}
"""Matrices whose bits matter to the made-up model, and how much."""
BITS = dict(zip((*SEARCHED, EXACT), (2, 3, 4.2, 4, 5, 6, 8, 16), strict=True))


@pytest.fixture(scope="module")
def source(tiny_bundle: Path) -> Path:
    return tiny_bundle / "language-f16.gguf"


class MadeUp:
    """A language model whose damage is known: what one file gets is written into it, and read off again."""

    def __init__(self, source: Path, stop_after: int = -1) -> None:
        self.source, self.stop_after, self.made = source, stop_after, list[dict[str, str]]()

    def make(
        self, target: Path, file_type: str, importance: Path | None = None, types: Mapping[str, str] | None = None
    ) -> None:
        assert file_type == BASE
        if len(self.made) == self.stop_after:
            raise KeyboardInterrupt
        self.made.append(dict(types or {}))
        target.write_text("made", encoding="utf-8")

    def probabilities(self, path: Path, file_type: str, samples: int | None = None) -> NDArray[np.float64]:
        lost = sum(HURTS.get(name, 0.1) * 2.0 ** -BITS[kind] for name, kind in self.made[-1].items())
        return np.stack([np.full(4, 0.5 - 0.1 * lost), np.full(4, 0.5 + 0.1 * lost)], 1)

    def answer_log_prob(self, path: Path, file_type: str) -> float:
        return 0.0

    def descriptions(self, path: Path, file_type: str) -> list[str]:
        return []


def test_predicted_sizes_are_those_of_the_file(source: Path, tmp_path: Path) -> None:
    matrices = matrices_of(source)
    types = {matrix.name: SEARCHED[place % len(SEARCHED)] for place, matrix in enumerate(matrices)}
    quantize_gguf(source, tmp_path / "mixed.gguf", BASE, types=types)
    found = {tensor.name: int(tensor.n_bytes) for tensor in gguf.GGUFReader(tmp_path / "mixed.gguf").tensors}
    assert {matrix.name: matrix.size(types[matrix.name]) for matrix in matrices} == {
        name: found[name] for name in types
    }
    total = sum(matrix.size(types[matrix.name]) for matrix in matrices)
    assert overhead_of(tmp_path / "mixed.gguf") + total == (tmp_path / "mixed.gguf").stat().st_size


def test_one_group_is_tried_at_a_time_the_others_unrounded(source: Path, tmp_path: Path) -> None:
    made = MadeUp(source)
    measured_options(made, REFERENCE, None, tmp_path)
    names = [matrix.name for matrix in matrices_of(source)]
    assert len(made.made) == len(names) * len(SEARCHED)
    for place, types in enumerate(made.made):
        assert {name: kind for name, kind in types.items() if kind != EXACT} == {
            names[place // len(SEARCHED)]: SEARCHED[place % len(SEARCHED)]
        }


def test_bits_go_where_they_matter(source: Path, tmp_path: Path) -> None:
    options = measured_options(MadeUp(source), REFERENCE, None, tmp_path)
    assert {matrix.name for matrix in matrices_of(source)} == options.keys()
    smallest = sum(min(option.size for option in types.values()) for types in options.values())
    types = mixed_types(options, source, int(1.15 * smallest) + 1000, 1000)
    assert sum(options[name][kind].size for name, kind in types.items()) <= 1.15 * smallest
    others = [BITS[kind] for name, kind in types.items() if name not in HURTS]
    assert all(BITS[types[name]] >= np.mean(others) + 1 for name in HURTS)
    with pytest.raises(AccuracyGateError, match="no mixture of these types fits"):
        mixed_types(options, source, 500_000, 0)


def test_a_stopped_search_goes_on_where_it_was(source: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        measured_options(MadeUp(source, stop_after=5), REFERENCE, None, tmp_path)
    resumed = MadeUp(source)
    found = measured_options(resumed, REFERENCE, None, tmp_path)
    whole = MadeUp(source)
    assert found == measured_options(whole, REFERENCE, None, tmp_path.parent / f"{tmp_path.name}-whole")
    assert len(resumed.made) == len(whole.made) - 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damages.json"]


def test_many_matrices_are_joined_by_role_and_depth() -> None:
    names = [f"blk.{layer}.{role}.weight" for layer in range(32) for role in ("attn_q", "ffn_down")]
    groups = grouped([Matrix(name, 256) for name in ("token_embd.weight", "output.weight", *names)])
    assert set(groups) == {"token_embd", "output"} | {
        f"{role}, third {third}" for role in ("attn_q", "ffn_down") for third in (1, 2, 3)
    }
    assert [matrix.name for matrix in groups["attn_q, third 3"]] == [f"blk.{n}.attn_q.weight" for n in range(22, 32)]
    assert sum(len(group) for group in groups.values()) == 66
