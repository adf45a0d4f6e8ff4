"""Which engine a graph ends up in: built, compared, refused, smaller, or none. A fake stands in for TensorRT."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emo_edge.bundle.engine_settings import AxisRange, RowRange, axis_ranges, shape_ranges
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import (
    AccuracyGateError,
    BundleError,
    DeviceError,
    DeviceMemoryError,
    EngineError,
    MissingExtraError,
    UnsupportedCardError,
)
from emo_edge.metrics.gates import engine_failure
from emo_edge.metrics.tensor_parity import similarity
from emo_edge.runtimes.loading import device_choice, engine_builds, tensorrt_graphs
from emo_edge.runtimes.loading.engine_builds import build_engines, profile_graphs
from emo_edge.runtimes.loading.engines import open_engines
from emo_edge.runtimes.loading.reference_feeds import ReferenceFeeds
from emo_edge.runtimes.loading.tensorrt_graphs import GraphCompiler
from emo_edge.runtimes.tensorrt import api as tensorrt_api
from emo_edge.runtimes.tensorrt import engine_cache, fingerprint
from emo_edge.runtimes.tensorrt.build_config import EngineConfig
from emo_edge.runtimes.tensorrt.builder import Built
from emo_edge.runtimes.tensorrt.cuda import CudaDevice
from emo_edge.tensors import TensorSpec


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.open(tiny_bundle)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, fake_tensorrt: Any, tmp_path: Path) -> list[EngineConfig]:
    """Put the fake in TensorRT's place and list the recipes it was asked to build."""
    asked: list[EngineConfig] = []

    def engine_from_onnx(recipe: EngineConfig, target: Path, **_: Any) -> Built:
        asked.append(recipe)
        target.write_text(recipe.graph, encoding="utf-8")
        return Built("tensorrt 10.3.0", target.stat().st_size, 2.0, timing_cache=False)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(engine_cache, "engine_from_onnx", engine_from_onnx)
    monkeypatch.setattr(tensorrt_api, "tensorrt_module", lambda names=(): fake_tensorrt)
    monkeypatch.setattr(fingerprint, "open_device", lambda: CudaDevice(module=fake_tensorrt.cuda))
    return asked


def test_an_engine_that_holds_its_gate_is_used_and_compared_once(
    bundle: Bundle, built: list[EngineConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    with GraphCompiler(bundle).open("vision", "fp16").session as session:
        image = np.zeros((3, 112, 112, 3), np.uint8)
        assert session.run({"image": image})["features"].shape[0] == 3
    monkeypatch.setattr(ReferenceFeeds, "expected", lambda *_: pytest.fail("computed again on the CPU"))
    opened = GraphCompiler(bundle).open("vision", "fp16")
    opened.session.close()
    assert len(built) == 1
    assert (opened.variant, opened.note, opened.seconds) == ("fp16", "", 2.0)
    assert opened.similarity["features"] > 0.99999
    assert built[0].shapes["image"] == ([1, 112, 112, 3], [1, 112, 112, 3], [16, 112, 112, 3])


@pytest.mark.parametrize("part", ["vision", "connector", "face"])
def test_every_graph_is_compared_on_what_it_sees(part: str, bundle: Bundle, built: list[EngineConfig]) -> None:
    opened = GraphCompiler(bundle).open(part, "fp32")
    opened.session.close()
    outputs = {contract.name for contract in bundle.manifest.components.graph(part).outputs}
    assert opened.similarity.keys() == outputs


def test_one_that_strays_gives_way_to_float32(
    bundle: Bundle, built: list[EngineConfig], fake_tensorrt: Any, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    judge = tensorrt_graphs.engine_failure
    monkeypatch.setattr(
        tensorrt_graphs,
        "engine_failure",
        lambda variant, found: "cosine 0.1" if variant == "fp16" else judge(variant, found),
    )
    opened = GraphCompiler(bundle).open("vision", "fp16")
    opened.session.close()
    assert (opened.variant, opened.note) == ("fp32", "fp16 was refused: fp16: cosine 0.1")
    assert "vision fp16 is not used in TensorRT: cosine 0.1" in caplog.text


def test_where_every_engine_strays_the_gate_is_told(
    bundle: Bundle, built: list[EngineConfig], fake_tensorrt: Any
) -> None:
    fake_tensorrt.noise = 0.3
    for _ in range(2):  # the second time from the cache
        with pytest.raises(
            AccuracyGateError, match=r"vision: no engine is to be used \(fp16: similarity to ONNX Runtime"
        ):
            GraphCompiler(bundle).open("vision", "fp16")
    assert [recipe.name for recipe in built] == ["vision fp16", "vision fp32"]


def test_a_build_without_memory_is_tried_with_fewer_rows(
    bundle: Bundle, built: list[EngineConfig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = engine_cache.engine_from_onnx

    def tight(recipe: EngineConfig, target: Path, **build: Any) -> Built:
        if recipe.shapes["image"][2][0] > 4:
            raise DeviceMemoryError("vision fp16: out of memory")
        return whole(recipe, target, **build)

    monkeypatch.setattr(engine_cache, "engine_from_onnx", tight)
    with GraphCompiler(bundle).open("vision", "fp16").session as session:
        assert session.run({"image": np.zeros((6, 112, 112, 3), np.uint8)})["features"].shape[0] == 6
    assert [recipe.shapes["image"][2][0] for recipe in built] == [4]
    assert "trying 8 at once" in caplog.text
    caplog.clear()
    GraphCompiler(bundle).open("vision", "fp16").session.close()
    assert "at once" not in caplog.text, "the size that fits is remembered"


def test_a_build_without_memory_for_one_row_is_told(
    bundle: Bundle, built: list[EngineConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(recipe: EngineConfig, target: Path, **_: Any) -> Built:
        raise DeviceMemoryError("vision fp16: out of memory")

    monkeypatch.setattr(engine_cache, "engine_from_onnx", full)
    with pytest.raises(DeviceMemoryError, match="out of memory"):
        GraphCompiler(bundle).open("vision", "fp16")


def test_a_graph_tensorrt_does_not_take_gives_way_too(
    bundle: Bundle, built: list[EngineConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = engine_cache.engine_from_onnx

    def picky(recipe: EngineConfig, target: Path, **build: Any) -> Built:
        if recipe.name == "vision fp16":
            raise EngineError("vision fp16: no implementation of a node")
        return whole(recipe, target, **build)

    monkeypatch.setattr(engine_cache, "engine_from_onnx", picky)
    opened = GraphCompiler(bundle).open("vision", "fp16")
    opened.session.close()
    assert opened.variant == "fp32"
    assert opened.note == "fp16 was refused: fp16: vision fp16: no implementation of a node"


def test_an_engine_tensorrt_no_longer_takes_is_built_once_more(
    bundle: Bundle, built: list[EngineConfig], fake_tensorrt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    GraphCompiler(bundle).open("vision", "fp16").session.close()
    whole, refused = fake_tensorrt.Runtime, []

    def once(logger: Any) -> Any:
        if not refused:
            refused.append(True)
            return SimpleNamespace(deserialize_cuda_engine=lambda plan: None)
        return whole(logger)

    monkeypatch.setattr(fake_tensorrt, "Runtime", once)
    opened = GraphCompiler(bundle).open("vision", "fp16")
    opened.session.close()
    assert [recipe.name for recipe in built] == ["vision fp16", "vision fp16"]


def test_a_card_tensorrt_was_not_made_for_is_found_out_once(
    bundle: Bundle,
    built: list[EngineConfig],
    fake_tensorrt: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake_tensorrt.refuses.add("card")
    for _ in range(2):
        with pytest.raises(UnsupportedCardError, match=r"does not run on this card .*9\.0"):
            GraphCompiler(bundle).open("vision", "fp16")
        with monkeypatch.context() as patch, pytest.raises(UnsupportedCardError):
            patch.setattr(ReferenceFeeds, "expected", lambda *_: pytest.fail("computed again on the CPU"))
            GraphCompiler(bundle).open("connector", "fp32")
    assert [recipe.name for recipe in built] == ["vision fp16"]
    assert "building it again" not in caplog.text
    assert fake_tensorrt.cuda.memory == {}
    cache = engine_cache.EngineCache()
    assert cache.entries() == []
    fake_tensorrt.refuses.clear()
    cache.clear()
    GraphCompiler(bundle).open("connector", "fp32").session.close()


def test_engines_build_stops_where_the_card_is_to_blame(
    bundle: Bundle, built: list[EngineConfig], fake_tensorrt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_builds, "usable_devices", lambda *_, **__: [])
    fake_tensorrt.refuses.add("card")
    with pytest.raises(UnsupportedCardError):
        list(build_engines(bundle, profile_graphs(bundle)))
    assert len(built) == 1


def test_no_memory_for_the_comparison_is_told_and_not_halved(
    bundle: Bundle, built: list[EngineConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise DeviceMemoryError("out of memory")

    monkeypatch.setattr(ReferenceFeeds, "expected", full)
    with pytest.raises(DeviceError, match="no memory to compute vision fp16 on the CPU, to compare with") as caught:
        GraphCompiler(bundle).open("vision", "fp16")
    assert not isinstance(caught.value, DeviceMemoryError)
    assert len(built) == 1


def test_what_gives_way_is_only_ever_more_precise() -> None:
    there = ["fp16", "fp32", "int8"]
    assert tensorrt_graphs._candidates("int8", there) == ["int8", "fp16", "fp32"]
    assert tensorrt_graphs._candidates("fp16", there) == ["fp16", "fp32"]
    assert tensorrt_graphs._candidates("fp32", there) == ["fp32"]


def usable(monkeypatch: pytest.MonkeyPatch, **problems: str | None) -> None:
    """Say what keeps each device from being used, and let llama.cpp compute on the CPU."""
    told = {"tensorrt": "no TensorRT", "cuda": "no CUDA"} | problems
    monkeypatch.setattr(device_choice, "PROBLEMS", {name: (lambda text=text: text) for name, text in told.items()})
    monkeypatch.setattr(device_choice, "_language_problem", lambda: None)
    whole = device_choice.runtime("emo_edge.runtimes.llama_cpp.session:LlamaSession")

    def on_the_cpu(path: Path, **options: Any) -> Any:
        return whole(path, **options | {"gpu_layers": 0})

    monkeypatch.setattr("emo_edge.runtimes.llama_cpp.session.LlamaSession", on_the_cpu)


def test_a_whole_pipeline_runs_on_it(
    bundle: Bundle, built: list[EngineConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    usable(monkeypatch, tensorrt=None)
    with open_engines(bundle, profile="exact", device="tensorrt", threads=1) as engines:
        assert (engines.device, engines.variants()["vision"]) == ("tensorrt", "fp32")
    assert sorted(recipe.name for recipe in built) == ["connector fp32", "face fp32", "vision fp32"]


def test_auto_tries_tensorrt_then_cuda_then_the_cpu_and_says_why(
    bundle: Bundle, built: list[EngineConfig], fake_tensorrt: Any, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    usable(monkeypatch, tensorrt=None, cuda=None)
    caplog.set_level(logging.INFO)
    fake_tensorrt.refuses.add("execute")
    with open_engines(bundle, profile=None, device="auto", threads=1) as engines:
        assert engines.device == "cpu"
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("device ")]
    assert said[0] == "device tensorrt: every engine can use it"
    assert said[1].startswith("device tensorrt could not be started (TensorRT could not run the engine")
    assert said[2] == "device cuda: tensorrt did not start; every engine can use it"
    assert said[3].startswith("device cuda could not be started (this ONNX Runtime has no CUDAExecutionProvider")
    assert said[4] == "device cpu: tensorrt did not start; cuda did not start"


def test_auto_without_a_gpu_says_what_is_missing(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    usable(monkeypatch)
    assert device_choice.usable_devices("auto") == [("cpu", "not tensorrt: no TensorRT; not cuda: no CUDA")]


@pytest.mark.parametrize("device", ["tensorrt", "cuda"])
def test_a_named_device_never_falls_back(
    device: str, bundle: Bundle, built: list[EngineConfig], fake_tensorrt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usable(monkeypatch)
    with pytest.raises(DeviceError, match=f"^{device} cannot be used: no (TensorRT|CUDA); use `device` cpu"):
        open_engines(bundle, profile="exact", device=device, threads=1)
    usable(monkeypatch, tensorrt=None, cuda=None)
    fake_tensorrt.refuses.add("execute")
    with pytest.raises(DeviceError):
        open_engines(bundle, profile="exact", device=device, threads=1)


def test_this_machine_says_what_keeps_it_from_tensorrt(monkeypatch: pytest.MonkeyPatch, fake_cuda: Any) -> None:
    monkeypatch.setattr(fingerprint, "_installed", lambda name: False)
    with pytest.raises(MissingExtraError, match=r"^TensorRT is not installed\. A Jetson has it with JetPack"):
        device_choice.usable_devices("tensorrt")
    assert device_choice.usable_devices("auto")[-1][1].startswith("not tensorrt: TensorRT is not installed; ")
    monkeypatch.setattr(fingerprint, "_installed", lambda name: True)
    fake_cuda.failing["cudaGetDeviceCount"] = "cudaErrorInsufficientDriver"
    monkeypatch.setattr(fingerprint, "cuda_module", lambda: fake_cuda)
    assert fingerprint.tensorrt_problem() == "there is no CUDA device (cudaErrorInsufficientDriver)"


def test_an_engine_knows_its_machine(fake_cuda: Any, fake_tensorrt: Any, tmp_path: Path) -> None:
    def put(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")

    put("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic")
    put("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release")
    put("etc/machine-id", "0123")
    found = fingerprint.engine_machine(fake_tensorrt, CudaDevice(module=fake_cuda).facts, tmp_path)
    assert found.pop("host") != ""
    assert found == {
        "library": "tensorrt 10.3.0",
        "gpu": "Fake Orin",
        "compute_capability": "8.7",
        "driver": "540.4.0, CUDA 12.6",
        "system": "L4T 36.4.3",
    }


def test_gates_are_by_precision_and_tell_what_is_not_finite() -> None:
    assert engine_failure("fp32", {"a": 0.99995}) == ""
    assert (
        engine_failure("fp32", {"a": 0.9998, "b": 1.0}) == "similarity to ONNX Runtime: a 0.99980, the gate is 0.9999"
    )
    assert engine_failure("fp16", {"a": 0.9996}) == ""
    assert engine_failure("int8-fp16", {"a": 0.9899}).endswith("the gate is 0.99")
    assert engine_failure("fp32", {"a": float("nan")}) != ""
    rows = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert similarity({"a": rows}, {"a": rows[::-1]}) == {"a": 0.0}
    assert similarity({"a": rows}, {"a": rows * np.nan}) == {"a": 0.0}
    assert similarity({"a": rows * 0}, {"a": rows * 0}) == {"a": 1.0}
    assert similarity({"a": rows}, {"a": rows * 0}) == {"a": 0.0}
    assert similarity({"a": rows}, {"a": rows * 2}) == {"a": 0.5}
    assert similarity({"a": rows}, {"a": rows * -1}) == {"a": -1.0}


def test_ranges_come_from_the_manifest() -> None:
    axes = axis_ranges(RowRange(likely=2, most=4), 48)
    assert axes == {"N": AxisRange(1, 2, 4), "L": AxisRange(1, 16, 48)}
    shapes = shape_ranges([TensorSpec("ids", "int64", ("N", "L"))], axes)
    assert shapes == {"ids": ([1, 1], [2, 16], [4, 48])}
    with pytest.raises(BundleError, match="no range is known for the axes Q"):
        shape_ranges([TensorSpec("x", "float32", ("N", "Q"))], axes)
    with pytest.raises(ValueError, match="likely 3 is more than most 2"):
        RowRange(likely=3, most=2)


def test_old_bundles_without_these_settings_open(bundle: Bundle, tmp_path: Path) -> None:
    from emo_edge.bundle.manifest import manifest_from_json

    values = json.loads((bundle.directory / "manifest.json").read_text(encoding="utf-8"))
    del values["engines"]
    assert manifest_from_json(json.dumps(values)).engines == bundle.manifest.engines
