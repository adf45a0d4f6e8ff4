"""Threads of every engine where a quota or an affinity leaves this process fewer CPUs than the machine has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from emo_edge.machine import cpus
from emo_edge.machine.cpus import CpuLimits
from emo_edge.planning.probes.graphs import GraphProbe
from emo_edge.planning.probes.language import F16, LanguageProbe
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.runtimes.openvino import OpenVinoSession

PROBE = GraphProbe("move", "fp32", (4, 8), chain=2)


@pytest.fixture(autouse=True)
def a_quota_of_one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "read_cpu_limits", lambda: CpuLimits(64, 64, 1.5, 1, 0))


@pytest.mark.parametrize(("threads", "expected"), [(None, 1), (3, 3)])
def test_onnx_runtime(tmp_path: Path, threads: int | None, expected: int) -> None:
    source, target = PROBE.spec()
    with OnnxSession(PROBE.write(tmp_path / "probe.onnx"), [source], [target], threads=threads) as session:
        assert session._session.get_session_options().intra_op_num_threads == expected


@pytest.mark.parametrize(("threads", "expected"), [(None, 1), (2, 2)])
def test_openvino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int | None, expected: int) -> None:
    from emo_edge.runtimes import openvino

    compiled: list[Any] = []
    real = openvino._compiled
    monkeypatch.setattr(openvino, "_compiled", lambda *values: compiled.append(real(*values)) or compiled[-1])
    source, target = PROBE.spec()
    with OpenVinoSession(PROBE.write(tmp_path / "probe.onnx"), [source], [target], threads=threads):
        # OpenVINO has no more threads than CPUs that the process may run on.
        assert compiled[0].get_property("INFERENCE_NUM_THREADS") == min(expected, len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("threads", "expected"), [(None, 1), (2, 2)])
def test_llama_cpp(tmp_path: Path, threads: int | None, expected: int) -> None:
    path = LanguageProbe(64, 128, 1, F16).write(tmp_path / "probe.gguf")
    with LlamaSession(path, context_size=32, threads=threads) as session:
        counts = [session._native.llama_n_threads, session._native.llama_n_threads_batch]
        assert [count(session._context) for count in counts] == [expected, expected]


def test_pytorch_and_opencv() -> None:
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        torch.set_num_threads(2)
        cv2.setNumThreads(2)
        cpus.limit_torch_threads()
        cpus.limit_opencv_threads(cv2)
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
