"""Ranges of small towers: against what the tower really computes, stopped and gone on with, in constant memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from emo_edge.calibration.int8 import ranges
from emo_edge.calibration.int8.clipping_thresholds import METHODS
from emo_edge.calibration.int8.ranges import ActivationRanges, gather_ranges
from emo_edge.errors import CheckpointError, InputError
from emo_edge.tensors import Tensor

Feeds = list[dict[str, Tensor]]


@pytest.fixture(scope="module")
def tower(write_tower: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tower(tmp_path_factory.mktemp("towers") / "tower.onnx", depth=2)


def assert_same(one: ActivationRanges, other: ActivationRanges) -> None:
    assert one.samples == other.samples
    assert list(one.histograms) == list(other.histograms)
    for name, histogram in one.histograms.items():
        assert histogram.exponent == other.histograms[name].exponent
        assert histogram.peak == other.histograms[name].peak
        assert np.array_equal(histogram.counts, other.histograms[name].counts)


def normalised(values: Tensor) -> Tensor:
    centred = values - values.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def test_the_inputs_of_products_and_the_residual_stream_are_counted(tower: Path, tower_feeds: Any) -> None:
    feeds = tower_feeds(20, size=7)
    found = gather_ranges(tower, feeds, threads=1)
    assert list(found.histograms) == ["normed_0", "gelu_0", "normed_1", "gelu_1", "stream_0", "stream_1"]
    assert found.samples == 20
    expected = np.abs(normalised(np.concatenate([feed["x"] for feed in feeds])))
    assert found.histograms["normed_0"].total == expected.size
    assert found.peaks()["normed_0"] == pytest.approx(expected.max(), rel=1e-5)
    assert set(found.thresholds("mse")) == set(found.histograms)


def test_pieces_change_nothing(tower: Path, tower_feeds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gather_ranges(tower, tower_feeds(32, size=32), threads=1)
    monkeypatch.setattr(ranges, "RUN_BYTES", 3 * 9 * (32 * 6 + 64 * 2) * 4)
    assert_same(gather_ranges(tower, tower_feeds(32, size=16), threads=1), whole)


def test_large_weights_are_read_from_beside_the_graph(tower: Path, tower_feeds: Any, tmp_path: Path) -> None:
    beside = tmp_path / "beside.onnx"
    onnx.save_model(
        onnx.load(tower), beside, save_as_external_data=True, location="beside.onnx.data", size_threshold=64
    )
    assert_same(gather_ranges(beside, tower_feeds(16), threads=1), gather_ranges(tower, tower_feeds(16), threads=1))


class Stopped(Exception):
    """Stands for a user's Ctrl-C."""


def stopping(feeds: Feeds, after: int) -> Iterator[dict[str, Tensor]]:
    yield from feeds[:after]
    raise Stopped


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_stopped_run_goes_on_to_the_same_bits(tower: Path, tower_feeds: Any, tmp_path: Path, after: int) -> None:
    feeds, state, heard = tower_feeds(32), tmp_path / "ranges.npz", []
    with pytest.raises(Stopped):
        gather_ranges(tower, stopping(feeds, after), state=state, threads=1)
    resumed = gather_ranges(tower, feeds, state=state, threads=1, progress=heard.append)
    assert heard == [8 * place for place in range(after + 1, 5)]
    assert_same(resumed, gather_ranges(tower, feeds, threads=1))
    assert_same(gather_ranges(tower, feeds, state=state, threads=1), resumed)
    assert list(tmp_path.iterdir()) == [state]


def test_a_state_of_other_samples_or_another_graph_is_refused(
    tower: Path, write_tower: Any, tower_feeds: Any, tmp_path: Path
) -> None:
    state = tmp_path / "ranges.npz"
    gather_ranges(tower, tower_feeds(16), state=state, threads=1)
    for feeds in (tower_feeds(16, seed=2), tower_feeds(16, size=4), tower_feeds(16)[:1]):
        with pytest.raises(InputError, match="counted 16 other samples: give the same ones, or another state file"):
            gather_ranges(tower, feeds, state=state, threads=1)
    other = write_tower(tmp_path / "other.onnx", depth=2, massive=1)
    with pytest.raises(InputError, match=r"ranges\.npz: holds the ranges of another graph"):
        gather_ranges(other, tower_feeds(16), state=state, threads=1)
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"ranges\.npz: cannot be read as calibration ranges .*remove it"):
        gather_ranges(tower, tower_feeds(16), state=state, threads=1)


def test_too_few_samples_are_refused(tower: Path, tower_feeds: Any) -> None:
    with pytest.raises(InputError, match="8 samples are too few to calibrate with: give at least 16"):
        gather_ranges(tower, tower_feeds(8), threads=1)
    with pytest.raises(InputError, match="0 samples are too few"):
        gather_ranges(tower, [], threads=1)
    assert gather_ranges(tower, tower_feeds(8), least=8, threads=1).samples == 8


def test_an_activation_that_is_not_finite_is_named(tower: Path, tower_feeds: Any) -> None:
    feeds = tower_feeds(16)
    feeds[1]["x"][0, 2, 5] = np.inf
    with pytest.raises(InputError, match=r"activation normed_0: 32 of \d+ values are not finite; look for broken"):
        gather_ranges(tower, feeds, threads=1)


def test_feeds_and_graphs_that_do_not_fit_are_refused(
    tower: Path, write_graph: Any, tower_feeds: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"cannot be fed y float32 \[1, 9, 32\]"):
        gather_ranges(tower, [{"y": feed["x"]} for feed in tower_feeds(16)], threads=1)
    plain = write_graph(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["features"])], {}, shape=(2,))
    with pytest.raises(CheckpointError, match="no Conv, Gemm or MatMul with a constant weight: nothing to quantize"):
        gather_ranges(plain, [], threads=1)
    for broken in (tmp_path / "missing.onnx", tmp_path / "broken.onnx"):
        if broken.name == "broken.onnx":
            broken.write_bytes(b"no graph")
        with pytest.raises(CheckpointError, match=f"{broken.name}: cannot be read as an ONNX graph"):
            gather_ranges(broken, [], threads=1)


PEAK = """
import sys
from pathlib import Path
import numpy as np
from emo_edge.calibration.int8.ranges import gather_ranges

count = int(sys.argv[2])
rng = np.random.default_rng(0)
feeds = ({"x": rng.normal(size=(8, 9, 32)).astype(np.float32)} for _ in range(count // 8))
ranges = gather_ranges(Path(sys.argv[1]), feeds, threads=1)
print(ranges.samples, *(f"{value:.9g}" for method in %r for value in ranges.thresholds(method).values()))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="waits for a system that tells a process's peak")
def test_peak_memory_does_not_grow_with_the_samples(write_tower: Any, tmp_path: Path) -> None:
    deep = write_tower(tmp_path / "deep.onnx", depth=8)
    peaks = {}
    for count in (32, 1024):
        command = [sys.executable, "-c", PEAK % (tuple(METHODS),), str(deep), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said, peak_kib = done.stdout.splitlines()
        assert said.startswith(f"{count} ")
        peaks[count] = int(peak_kib) / 1024
    # All activations of the other 992 samples would be 37 MiB.
    assert abs(peaks[1024] - peaks[32]) < 8, f"MiB: {peaks}"
