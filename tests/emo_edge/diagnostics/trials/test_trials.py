"""Trials of engines in child processes: they work, they crash, they hang, they are not there."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from emo_edge.diagnostics.doctor.repair_steps import FORMATS
from emo_edge.diagnostics.trials import cuda, llama
from emo_edge.diagnostics.trials.check import ENGINES, Engine, EngineReport, check_engine, check_engines
from emo_edge.diagnostics.trials.llama import NO_MODEL
from emo_edge.diagnostics.trials.small_graph import SMALL_GRAPH
from emo_edge.errors import DeviceError
from emo_edge.runtimes.llama_cpp import library
from emo_edge.runtimes.tensorrt import fingerprint


def test_the_small_graph_is_what_onnx_writes() -> None:
    weights = {"w": np.array([[1, 2], [3, 4]], "<f4"), "b": np.array([-6, 1], "<f4")}
    nodes = [(["x", "w"], "p", "MatMul"), (["p", "b"], "s", "Add"), (["s"], "y", "Relu")]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for inputs, output, kind in nodes],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor(n, TensorProto.FLOAT, v.shape, v.tobytes(), raw=True) for n, v in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="emo-edge")
    onnx.checker.check_model(model)
    assert model.SerializeToString(deterministic=True) == SMALL_GRAPH


PROBE = Engine("json", ("no-such-package",), needed=True)


def tried(code: str, seconds: float = 60) -> EngineReport:
    return check_engine(PROBE, command=[sys.executable, "-c", code], seconds=seconds)


@pytest.mark.skipif(sys.platform == "win32", reason="waits for a system with signals")
def test_an_engine_that_crashes_is_reported_with_its_signal_and_its_last_output() -> None:
    crash = "import os, signal; os.kill(os.getpid(), signal.{})"
    found = tried(crash.format("SIGSEGV"))
    assert (found.state, found.problem, found.facts) == ("broken", "ended by SIGSEGV", {})
    printed = tried('print(\'{"version": "9", "model": "q8_0"}\', flush=True); ' + crash.format("SIGILL"))
    assert (printed.state, printed.problem, printed.version) == ("broken", "ended by SIGILL", "9")
    assert printed.facts == {"model": "q8_0"}


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import time; time.sleep(60)", "gave no answer in 0.5 s"),
        ("raise SystemExit('no CUDA today')", "failed with code 1: no CUDA today"),
        ("pass", "printed no result"),
        ("print('[1, 2]')", "printed no result"),
        ('print(\'{"problem": "OSError: libfoo.so"}\')', "OSError: libfoo.so"),
    ],
)
def test_an_engine_that_does_not_answer_is_broken(code: str, problem: str) -> None:
    found = tried(code, seconds=0.5 if "sleep" in code else 60)
    assert (found.state, found.problem) == ("broken", problem)


def test_an_engine_that_is_not_there_is_not_tried() -> None:
    found = check_engine(Engine("emo_edge_no_such_engine", ("no-such-package",)))
    assert (found.state, found.seconds, found.problem) == ("missing", None, None)


def test_native_chatter_does_not_hide_the_answer() -> None:
    found = tried('print(\'[TRT] loading\\n{"version": "1.2"}\')')
    assert (found.state, found.version) == ("works", "1.2")


def test_a_folder_of_the_engines_name_is_not_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizers.py").write_text("raise SystemExit('not the engine')")
    monkeypatch.chdir(tmp_path)
    engine = next(engine for engine in ENGINES if engine.module == "tokenizers")
    if sys.version_info >= (3, 11):
        assert check_engine(engine).state == "works"


def test_the_engines_of_this_machine_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = {
        report.module: report
        for report in check_engines(engines=[e for e in ENGINES if e.needed or e.module in FORMATS])
    }
    assert {name: report.state for name, report in found.items()} == dict.fromkeys(found, "works")
    assert found["onnxruntime"].facts["cpu"] == "works"
    assert found["cv2"].facts["cascades"] == "work"
    assert found["av"].facts["H.264 decoder"] == "yes"
    assert found.keys() >= set(FORMATS)
    assert found["llama_cpp"].facts["model"] == NO_MODEL


def test_llama_computes_a_bundles_language_model(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = [engine for engine in ENGINES if engine.module == "llama_cpp"]
    found = check_engines(tiny_bundle, engines)[0]
    assert found.state == "works"
    assert found.facts["model"].startswith(f"q4_k_m of {tiny_bundle.name}")


@pytest.mark.parametrize(("safe", "amx"), [(True, "works"), (False, "avoided: its probe failed")])
def test_amx_is_proved_before_it_is_used(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, safe: bool, amx: str
) -> None:
    computed: list[Path] = []
    monkeypatch.setattr(library, "fast_path_is_safe", lambda _: safe)
    monkeypatch.setattr(library, "main", computed.append)
    assert llama.compute_prompt(tiny_bundle, True)["amx"] == amx
    assert [path.suffix for path in computed] == ([".gguf"] if safe else [])


def test_a_bundle_that_is_none_is_not_the_engines_fault(tmp_path: Path) -> None:
    found = check_engines(tmp_path, [engine for engine in ENGINES if engine.module == "llama_cpp"])[0]
    assert found.state == "works"
    assert found.facts["model"].startswith("not tried: ")


def test_tensorrt_rtx_builds_the_small_graph_without_a_gpu() -> None:
    pytest.importorskip("tensorrt_rtx", reason="waits for a system that tensorrt-rtx is made for")
    found = check_engine(next(engine for engine in ENGINES if engine.module == "tensorrt_rtx"))
    assert (found.state, found.problem) == ("works", None)


class SmallTensorRt(ModuleType):
    """Trial of the small graph: it builds, and is loaded or refused with ``complaint``."""

    __version__ = "1.7.1"
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=0)

    class ILogger:
        ERROR, INTERNAL_ERROR = 1, 0

    def __init__(self, complaint: str) -> None:
        super().__init__("tensorrt_rtx")
        self.complaint = complaint

    def Builder(self, logger: Any) -> Any:
        return SimpleNamespace(
            create_network=lambda flags: None,
            create_builder_config=lambda: None,
            build_serialized_network=lambda network, config: b"plan",
        )

    def OnnxParser(self, network: Any, logger: Any) -> Any:
        return SimpleNamespace(parse=lambda content: True)

    def Runtime(self, logger: Any) -> Any:
        def deserialize_cuda_engine(plan: bytes) -> Any:
            if self.complaint:
                logger.log(self.ILogger.ERROR, self.complaint)
            return None if self.complaint else object()

        return SimpleNamespace(deserialize_cuda_engine=deserialize_cuda_engine)


@pytest.mark.parametrize(
    ("card", "complaint", "message"),
    [
        (None, "", "parses and builds a small graph; nothing was run"),
        (ImportError("libcudart.so.13"), "", "parses and builds a small graph; nothing was run"),
        (True, "", "builds a small graph, which this card takes; nothing was run"),
        (True, "The engine cannot run on this GPU, which has 9.0", f"which {cuda.NOT_TAKEN}: The engine"),
        (True, "out of memory", "which cannot be loaded: out of memory"),
    ],
)
def test_tensorrts_small_graph_is_loaded_where_there_is_a_card(
    card: Any, complaint: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_device() -> Any:
        if card is not True:
            raise card or DeviceError("there is no CUDA device")

    monkeypatch.setitem(sys.modules, "tensorrt_rtx", SmallTensorRt(complaint))
    monkeypatch.setattr(fingerprint, "open_device", open_device)
    if complaint:
        with pytest.raises(RuntimeError, match=message):
            cuda.try_tensorrt("tensorrt_rtx")
    else:
        assert cuda.try_tensorrt("tensorrt_rtx") == {"version": "1.7.1", "builder": message}
