"""Importance statistics: a file round trip, merging, and every way a file can be wrong."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_edge.bundle.imatrix_file import Imatrix, read_imatrix, write_imatrix
from emo_edge.errors import InputError


def statistics(scale: float = 1.0, dataset: str = "faces") -> Imatrix:
    sums = {f"blk.{n}.attn_q.weight": np.arange(1, 9, dtype=np.float32) * scale * (n + 1) for n in range(2)}
    return Imatrix(sums, dict.fromkeys(sums, 40), 4, (dataset,))


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_imatrix(statistics(), tmp_path / "a.gguf")
    found = read_imatrix(tmp_path / "a.gguf")
    assert {name: row.tolist() for name, row in found.sums.items()} == {
        name: row.tolist() for name, row in statistics().sums.items()
    }
    assert (found.counts, found.prompts, found.datasets) == (statistics().counts, 4, ("faces",))
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]


def test_the_keys_are_llama_cpps(tmp_path: Path) -> None:
    write_imatrix(statistics(), tmp_path / "a.gguf")
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert fields == {
        "general.type": "imatrix",
        "imatrix.datasets": ["faces"],
        "imatrix.chunk_count": 4,
        "imatrix.chunk_size": 10,
    }
    shapes = {tensor.name: (tensor.shape.tolist(), tensor.tensor_type.name) for tensor in reader.tensors}
    assert shapes["blk.1.attn_q.weight.in_sum2"] == ([8, 1], "F32")
    assert shapes["blk.1.attn_q.weight.counts"] == ([1, 1], "F32")


def test_means_are_what_a_quantizer_weighs() -> None:
    np.testing.assert_allclose(statistics().means("blk.1.attn_q.weight"), np.arange(1, 9) / 20)


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_merging_adds_up_and_takes_either_order(first: float, second: float) -> None:
    one, two = statistics(first, "a"), statistics(second, "b")
    both, other = one.merged(two), two.merged(one)
    for name in both.sums:
        np.testing.assert_array_equal(both.sums[name], other.sums[name])
        np.testing.assert_allclose(both.sums[name], one.sums[name] + two.sums[name], rtol=1e-6)
    assert set(both.counts.values()) == {80}
    assert (both.prompts, both.datasets) == (8, ("a", "b"))


def test_statistics_of_two_models_are_not_merged() -> None:
    wider = {name: np.append(row, 1).astype(np.float32) for name, row in statistics().sums.items()}
    with pytest.raises(InputError, match="different models"):
        statistics().merged(Imatrix(wider, statistics().counts, 4, ()))


@pytest.mark.parametrize("size", [0, 3, 40, 300])
def test_cut_off_files_are_refused(tmp_path: Path, size: int) -> None:
    write_imatrix(statistics(), tmp_path / "a.gguf")
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "a.gguf").read_bytes()[:size])
    with pytest.raises(InputError, match="truncated or corrupt"):
        read_imatrix(tmp_path / "cut.gguf")


def test_missing_files_and_models_are_refused(tmp_path: Path, tiny_bundle: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_imatrix(tmp_path / "a.gguf")
    with pytest.raises(InputError, match="no importance statistics"):
        read_imatrix(tiny_bundle / "language-f16.gguf")


@pytest.mark.parametrize(
    ("sums", "count"),
    [([np.nan] * 8, 40), ([-1.0] * 8, 40), ([np.inf] * 8, 40), ([1.0] * 8, 0)],
)
def test_what_no_sum_of_squares_can_be_is_refused(tmp_path: Path, sums: list[float], count: int) -> None:
    name = "blk.0.attn_q.weight"
    write_imatrix(Imatrix({name: np.array(sums, np.float32)}, {name: count}, 1, ("x",)), tmp_path / "a.gguf")
    with pytest.raises(InputError, match=r"blk\.0\.attn_q\.weight: not finite, negative, or of no tokens"):
        read_imatrix(tmp_path / "a.gguf")
