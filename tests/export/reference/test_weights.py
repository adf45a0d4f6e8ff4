"""Weights: what does not fit is named all at once, what is broken is an error, what is written is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from emo_edge.errors import CheckpointError
from emo_edge.export.reference import weights
from emo_edge.export.reference.weights import INDEX_NAME, WEIGHTS_NAME, all_finite, load_weights, save_weights


class Toy(nn.Module):
    """Parameters at two depths and a buffer, as the real model has."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.inner = nn.Sequential(nn.Linear(4, 2), nn.LayerNorm(2))
        self.register_buffer("table", torch.arange(6, dtype=torch.float32).view(2, 3) / 7)


def toy(seed: int = 0) -> Toy:
    torch.manual_seed(seed)
    return Toy()


def loaded(directory: Path, dtype: torch.dtype = torch.float32) -> Toy:
    with torch.device("meta"):
        model = Toy()
    load_weights(model, directory, dtype, "cpu")
    return model


def write(directory: Path, state: dict[str, Tensor], name: str = WEIGHTS_NAME) -> None:
    save_file({key: value.clone().contiguous() for key, value in state.items()}, directory / name)


def write_shards(directory: Path, state: dict[str, Tensor]) -> dict[str, str]:
    names = sorted(state)
    placed = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    for shard in set(placed.values()):
        write(directory, {name: state[name] for name in names if placed[name] == shard}, shard)
    write_index(directory, placed)
    return placed


def write_index(directory: Path, weight_map: Any) -> None:
    (directory / INDEX_NAME).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and left.dtype == right.dtype and torch.equal(left, right) for (a, left), (b, right) in pairs)


def test_what_is_saved_loads_bit_for_bit(tmp_path: Path) -> None:
    model = toy()
    model.first.weight.data[0] = torch.tensor([1e-42, -0.0, 3.4e38])
    save_weights(model, tmp_path)
    again = loaded(tmp_path)
    assert same(model, again)
    assert torch.signbit(again.first.weight[0, 1])
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS_NAME]


def test_loaded_weights_are_for_inference_and_keep_their_kind(tmp_path: Path) -> None:
    save_weights(toy(), tmp_path)
    model = loaded(tmp_path)
    assert not any(part.requires_grad for part in model.parameters())
    assert [name for name, _ in model.named_buffers()] == ["table"]


def test_precision_is_the_callers_choice(tmp_path: Path) -> None:
    save_weights(toy(), tmp_path)
    model = loaded(tmp_path, torch.bfloat16)
    assert {value.dtype for value in model.state_dict().values()} == {torch.bfloat16}
    assert torch.equal(model.first.weight, toy().first.weight.to(torch.bfloat16))


def test_all_five_kinds_of_problem_are_in_one_error(tmp_path: Path) -> None:
    state = toy().state_dict()
    del state["first.bias"]
    state["stray"] = torch.zeros(2, 2)
    state["first.weight"] = torch.zeros(3, 4)
    state["inner.0.weight"] = torch.full((2, 4), torch.nan)
    state["inner.0.bias"] = torch.tensor([0.0, torch.inf])
    state["inner.1.weight"] = torch.ones(2, dtype=torch.int32)
    write(tmp_path, state)
    with pytest.raises(CheckpointError) as caught:
        loaded(tmp_path)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}: 6 problem(s) in the weights:",
        "  misshapen: first.weight is [3, 4], the config asks for [4, 3]",
        "  missing: first.bias [4]",
        "  not finite: inner.0.bias, read as torch.float32",
        "  not finite: inner.0.weight, read as torch.float32",
        "  unexpected: stray [2, 2]",
        "  wrong dtype: inner.1.weight is torch.int32, expected a floating-point type",
    ]


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_only_floating_point_is_a_weight(tmp_path: Path, dtype: torch.dtype) -> None:
    write(tmp_path, {**toy().state_dict(), "first.bias": torch.ones(4, dtype=dtype)})
    with pytest.raises(CheckpointError, match=f"wrong dtype: first.bias is {dtype}"):
        loaded(tmp_path)


def test_a_value_too_large_for_the_precision_asked_for_is_not_finite(tmp_path: Path) -> None:
    write(tmp_path, {**toy().state_dict(), "first.bias": torch.tensor([1e6, 0, 0, 0])})
    with pytest.raises(CheckpointError, match=r"not finite: first\.bias, read as torch\.float16"):
        loaded(tmp_path, torch.float16)
    assert loaded(tmp_path).first.bias[0] == 1e6


def test_float8_is_widened(tmp_path: Path) -> None:
    state = {name: value.to(torch.float8_e4m3fn) for name, value in toy().state_dict().items()}
    write(tmp_path, state)
    assert torch.equal(loaded(tmp_path).first.weight, state["first.weight"].float())


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 40, -1])
def test_a_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    save_weights(toy(), tmp_path)
    path = tmp_path / WEIGHTS_NAME
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError) as caught:
        loaded(tmp_path)
    assert str(caught.value).startswith(f"{path}: not readable as safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 64,
        (1 << 62).to_bytes(8, "little") + b"{}",
        (20).to_bytes(8, "little") + b"not json at all     ",
        (2).to_bytes(8, "little") + b"[]",
        b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    ],
    ids=["noise", "endless header", "no json", "no object", "pickle"],
)
def test_a_garbage_header_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / WEIGHTS_NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match="not readable as safetensors"):
        loaded(tmp_path)


def test_a_header_that_lies_about_its_data_is_refused(tmp_path: Path) -> None:
    header = json.dumps({"first.bias": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 40]}}).encode()
    (tmp_path / WEIGHTS_NAME).write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(CheckpointError, match="not readable as safetensors"):
        loaded(tmp_path)


def test_a_directory_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"neither {WEIGHTS_NAME} nor {INDEX_NAME} is there"):
        loaded(tmp_path)


def test_shards_load_as_the_single_file_does(tmp_path: Path) -> None:
    model = toy()
    placed = write_shards(tmp_path, model.state_dict())
    assert len(set(placed.values())) == 2
    assert same(loaded(tmp_path), model)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    placed = write_shards(tmp_path, toy().state_dict())
    gone = sorted(placed.values())[0]
    (tmp_path / gone).unlink()
    with pytest.raises(CheckpointError, match=f"names shards that are not there: {gone}"):
        loaded(tmp_path)


def test_a_shard_without_a_promised_tensor_is_named(tmp_path: Path) -> None:
    state = toy().state_dict()
    shard = write_shards(tmp_path, state)["first.bias"]
    write(tmp_path, {"first.bias": state["first.bias"]}, shard)
    with pytest.raises(CheckpointError, match=r"missing: inner\.0\.bias \[2\]"):
        loaded(tmp_path)


@pytest.mark.parametrize("place", ["../outside.safetensors", "sub/inside.safetensors", "ABSOLUTE", 7])
def test_a_shard_elsewhere_is_refused_even_if_it_is_there(tmp_path: Path, place: Any) -> None:
    directory = tmp_path / "checkpoint"
    (directory / "sub").mkdir(parents=True)
    for target in (tmp_path / "outside.safetensors", directory / "sub" / "inside.safetensors"):
        write(target.parent, toy().state_dict(), target.name)
    shard = str(tmp_path / "outside.safetensors") if place == "ABSOLUTE" else place
    write_index(directory, dict.fromkeys(toy().state_dict(), shard))
    with pytest.raises(CheckpointError) as caught:
        loaded(directory)
    assert "shards must lie beside it" in str(caught.value) and repr(shard) in str(caught.value)


@pytest.mark.parametrize("place", ["", ".", ".."])
def test_a_shard_that_is_a_folder_is_refused(tmp_path: Path, place: str) -> None:
    write_index(tmp_path, {"first.bias": place})
    with pytest.raises(CheckpointError, match=r"shards that are not there|must lie beside it"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[]", b"{}", b'{"weight_map": 3}', b'{"weight_map": {"a": []}}', b"[" * 100_000],
    ids=["empty", "binary", "list", "no map", "number", "list as shard", "deep"],
)
def test_a_broken_index_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / INDEX_NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match="not an index of shards"):
        loaded(tmp_path)


def test_a_save_that_fails_midway_leaves_the_old_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(state: dict[str, Tensor], name: str, metadata: Any = None) -> None:
        path = Path(name)
        whole = path.with_suffix(".whole")
        save_file(state, whole, metadata=metadata)
        path.write_bytes(whole.read_bytes()[:100])
        whole.unlink()
        raise OSError("no space left on device")

    old = toy(seed=1)
    save_weights(old, tmp_path)
    monkeypatch.setattr(weights, "save_file", half)
    with pytest.raises(OSError, match="no space left"):
        save_weights(toy(seed=2), tmp_path)
    assert same(loaded(tmp_path), old)

    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with pytest.raises(OSError, match="no space left"):
        save_weights(toy(seed=2), fresh)
    assert not (fresh / WEIGHTS_NAME).exists()


def test_nothing_that_is_pickled_is_opened(tmp_path: Path) -> None:
    torch.save(toy().state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="neither"):
        loaded(tmp_path)


def test_weights_are_as_readable_as_other_files(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    save_weights(toy(), tmp_path)
    assert (tmp_path / WEIGHTS_NAME).stat().st_mode == (tmp_path / "other").stat().st_mode
    assert [path.name for path in sorted(tmp_path.iterdir())] == [WEIGHTS_NAME, "other"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_one_odd_value_anywhere_is_found(dtype: torch.dtype, odd: float) -> None:
    for length in (1, 7, 64, 1000):
        values = torch.randn(length).to(dtype)
        assert all_finite(values)
        for place in {0, length // 2, length - 1}:
            spoiled = values.clone()
            spoiled[place] = odd
            assert not all_finite(spoiled)
    assert all_finite(torch.empty(0, dtype=dtype)) and all_finite(torch.randn(6, 8).to(dtype).t()[::2])
