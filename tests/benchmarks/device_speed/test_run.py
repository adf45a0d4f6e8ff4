"""Engines and PyTorch in alternating rounds: their order, the timed part, calls without reuse, the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.device_speed import rounds as rounds_module
from emo_edge.benchmarks.device_speed.rounds import EAGER, Call, Contender, Row, SessionCache, measured
from emo_edge.benchmarks.device_speed.run import main
from emo_edge.benchmarks.device_speed.stages import DECODED, Question, StageInputs, language_call
from emo_edge.benchmarks.device_speed.table import as_json, ratio, table
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import DeviceError
from emo_edge.runtimes.llama_cpp.session import LlamaSession

LEAST_NEARNESS = {"fp32": 0.9999, "fp16": 0.999, "f16": 0.999, "q4_k_m": 0.999, "bf16": 0.98}
"""To float32, by precision. bfloat16 is PyTorch's alone, whose kernels of each processor round elsewhere: with AMX the
face network comes to 0.9891, without it to more than 0.99."""


def contender(name: str, calls: list[str], *, engine: str = "ONNX Runtime", **settings: Any) -> Contender:
    def compute() -> dict[str, Any]:
        calls.append(name)
        return {"features": np.array([[1.0, 2.0]])}

    prepare = lambda: calls.append(f"({name})")  # noqa: E731
    return Contender(engine, "cpu", name, lambda: Call(compute, prepare, **settings))


def test_all_compute_in_every_round_and_who_begins_changes() -> None:
    calls: list[str] = []
    rows = measured("vision", [contender(name, calls) for name in "ABC"], rounds=3, warm_up=2)
    assert "".join(calls) == "(A)A(A)A(B)B(B)B(C)C(C)C(A)A(B)B(C)C(B)B(C)C(A)A(C)C(A)A(B)B"
    assert [len(row.times_ms) for row in rows] == [3, 3, 3]
    assert all(row.first_ms is not None and row.similarity is None for row in rows)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every timed call takes as many milliseconds as were timed before it, and one."""
    timed: list[str] = []

    def timed_ms(call: Any) -> float:
        call()
        timed.append("call")
        return float(len(timed))

    monkeypatch.setattr(rounds_module, "timed_ms", timed_ms)
    yield timed


def test_what_is_prepared_is_not_timed_and_steps_divide(clock: list[str]) -> None:
    calls: list[str] = []
    (row,) = measured("decode", [contender("A", calls, steps=4, positions=9)], rounds=2, warm_up=2)
    assert (row.first_ms, row.times_ms, row.positions) == (1 / 4, (3 / 4, 4 / 4), 9)


def test_an_engine_that_cannot_be_used_is_a_row_with_the_reason_and_the_rest_is_measured() -> None:
    def refuse() -> Call:
        raise DeviceError("there is no\nCUDA device")

    def absent() -> Call:
        import no_such_engine  # type: ignore[import-not-found]  # noqa: F401

        raise AssertionError

    def broken() -> Call:
        return Call(lambda: 1 // 0)  # type: ignore[arg-type, return-value]

    contenders = [
        Contender("TensorRT", "tensorrt", "fp16", refuse),
        Contender("TensorRT", "tensorrt", "fp32", absent),
        contender("fp32", []),
    ]
    rows = measured("vision", contenders, rounds=2, warm_up=1)
    assert [row.problem for row in rows] == ["there is no CUDA device", "no_such_engine is not installed", ""]
    assert [len(row.times_ms) for row in rows] == [0, 0, 2]
    assert as_json(rows[0], rows)["not_measured"] == "there is no CUDA device"
    assert "- TensorRT on tensorrt (vision fp16): there is no CUDA device" in table(rows)
    # A mistake of ours is none of the engine's.
    with pytest.raises(ZeroDivisionError):
        measured("vision", [Contender("x", "cpu", "fp32", broken)], rounds=2, warm_up=1)


def test_the_table_sets_each_row_beside_eager_pytorch_of_the_same_processor() -> None:
    rows = [
        Row("vision", EAGER, "cpu", "fp32", (10.0, 20.0, 30.0), similarity=1.0),
        Row("vision", EAGER, "cpu", "bf16", (5.0, 5.0, 5.0), similarity=0.99),
        Row("vision", EAGER, "cuda", "fp16", (1.0, 1.0, 1.0), similarity=1.0),
        Row("vision", "ONNX Runtime", "cpu", "fp32", (5.0, 10.0, 15.0), similarity=1.0),
        Row("vision", "TensorRT", "tensorrt", "fp16", (0.5, 0.5, 0.25), similarity=1.0),
        Row("connector", "ONNX Runtime", "cpu", "fp32", (2.0, 2.0, 2.0)),
    ]
    assert (ratio(rows[3], rows[0]).value, ratio(rows[3], rows[0]).low) == (0.5, 0.5)
    lines = table(rows).splitlines()
    assert "| ONNX Runtime | cpu | fp32 | 10.000 (6.000–14.000) | 0.50 (0.50–0.50) of fp32 | 2.00 of bf16 |" in lines[5]
    assert "| TensorRT | tensorrt | fp16 | 0.500 (0.300–0.500) | 0.50 (0.30–0.50) of fp16 | 0.50 of fp16 |" in lines[6]
    assert lines[7] == "| connector | ONNX Runtime | cpu | fp32 | 2.000 (2.000–2.000) | - | - | - |"
    content = as_json(rows[4], rows)
    assert content["ms"]["raw"] == [0.5, 0.5, 0.25]
    assert content["beside_eager"].keys() == {"fp16"}


def test_engines_are_opened_once_closed_together_and_fail_once() -> None:
    class Engine:
        closed = False

        def close(self) -> None:
            self.closed = True

    tries: list[int] = []

    def fail() -> Any:
        tries.append(1)
        raise DeviceError("no")

    with SessionCache() as held:
        engine = held.get(("a",), Engine)
        assert held.get(("a",), Engine) is engine
        for _ in range(2):
            with pytest.raises(DeviceError, match="no"):
                held.get(("b",), fail)
        assert not engine.closed
    assert engine.closed and len(tries) == 1


@pytest.fixture(scope="module")
def language(tiny_bundle: Path) -> Iterator[LlamaSession]:
    bundle = Bundle.open(tiny_bundle)
    part = bundle.manifest.components.language
    path = bundle.files(part.variants["q4_k_m"])[0]
    with LlamaSession(path, context_size=part.context_size, threads=1) as session:
        yield session


@pytest.fixture(scope="module")
def question(tiny_bundle: Path) -> Question:
    return StageInputs(Bundle.open(tiny_bundle), 1, 1).question()


def test_no_call_of_the_language_model_knows_the_prompt_from_before(
    language: LlamaSession, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    prefill = language.prefill
    monkeypatch.setattr(language, "prefill", lambda prompt: computed.append(prefill(prompt)))
    calls = {stage: language_call(language, stage, question) for stage in ("prefill", "labels", "decode")}
    length = calls["prefill"].positions
    assert length > len(question.frames) + 20
    for stage in ("prefill", "labels", "labels"):
        calls[stage].prepare()
        del computed[:]
        calls[stage].compute()
        assert computed == [length]
    for _ in range(2):
        calls["decode"].prepare()
        assert language.used == length
        del computed[:]
        calls["decode"].compute()
        assert computed == [1] * DECODED
    assert calls["decode"].steps == DECODED


def test_the_prompt_is_the_pipelines(tiny_bundle: Path, question: Question) -> None:
    manifest = Bundle.open(tiny_bundle).manifest
    tokens = manifest.frames_segment.tokens_per_frame
    assert question.frames.shape == (tokens, manifest.components.language.embedding_size)
    assert question.prompt.demographics and question.labels == manifest.label_sets["rafdb7"]
    assert question.forced([[3], [4, 5]])[:4] == [3, 4, 5, 3]


@pytest.mark.slow
def test_the_command_measures_every_stage_and_computes_the_same(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_edge.benchmarks.device_speed import torch

    monkeypatch.setattr(torch, "BACKEND", "eager")
    out = tmp_path / "speed.json"
    options = ["--rounds", "2", "--warm-up", "1", "--threads", "1", "--device", "cpu", "--device", "cuda"]
    done = CliRunner().invoke(main, [str(tiny_bundle), *options, "--json", str(out)])
    assert done.exit_code == 0, done.output
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["machine"]["versions"]["torch"] and content["rounds"] == 2
    rows = content["rows"]
    assert all(("ms" in row) != ("not_measured" in row) for row in rows)
    here = [row for row in rows if row["device"] == "cpu"]
    assert all(len(row["ms"]["raw"]) == 2 for row in here)
    assert {row["stage"] for row in here} == {"vision", "connector", "face", "prefill", "labels", "decode"}
    engines = {(row["engine"], row["precision"]) for row in here if row["stage"] == "vision"}
    eager, compiled = ({(name, each) for each in ("fp32", "bf16")} for name in (EAGER, "PyTorch, torch.compile"))
    assert engines == {("ONNX Runtime", "fp32"), ("ONNX Runtime", "fp16")} | eager | compiled
    near = [row for row in here if row["stage"] not in ("prefill", "decode")]
    for precision, least in LEAST_NEARNESS.items():
        assert min(row["nearness"] for row in near if row["precision"] == precision) > least, precision
    assert {row["precision"] for row in near} == LEAST_NEARNESS.keys()
    assert all(row["beside_eager"].keys() == {"fp32", "bf16"} for row in here)
    assert "Crops at once: 1; tokens decoded a call: 16. 2 rounds" in done.output


def test_what_cannot_be_is_told_before_anything_is_timed(tiny_bundle: Path, tmp_path: Path) -> None:
    taken = tmp_path / "mine.json"
    taken.write_text("mine", encoding="utf-8")
    done = CliRunner().invoke(main, [str(tiny_bundle), "--json", str(taken)])
    assert (done.exit_code, taken.read_text(encoding="utf-8")) == (4, "mine")
    assert "already exists; name another file" in done.output
    done = CliRunner().invoke(main, [str(tiny_bundle), "--no-torch", "--variant", "int4"])
    assert done.exit_code == 4
    assert "no variant int4 in this bundle; there are: fp32, fp16, f16, q4_k_m" in done.output
