"""Trials of ONNX Runtime and OpenVINO with the small graph."""

from __future__ import annotations

import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from emo_edge.diagnostics.trials.small_graph import SMALL_GRAPH, SMALL_INPUT, wrong_result
from emo_edge.runtimes import openvino as openvino_runtime
from emo_edge.telemetry import open_onnxruntime


def try_onnxruntime() -> dict[str, str]:
    """Compute the small graph on the CPU and, if the build offers it, on CUDA."""
    ort = open_onnxruntime()
    facts = {"version": str(ort.__version__)}
    offered = list(ort.get_available_providers())
    for name, provider in (("cpu", "CPUExecutionProvider"), ("cuda", "CUDAExecutionProvider")):
        if provider in offered:
            facts[name] = _try_provider(ort, provider)
    # Azure sends images away and is in every build.
    others = [name.removesuffix("ExecutionProvider") for name in offered]
    others = [name for name in others if name.lower() not in (*facts, "azure")]
    if others:
        facts["not tried"] = ", ".join(others)
    if facts.get("cpu") != "works":
        facts["problem"] = f"CPUExecutionProvider {facts.get('cpu', 'is not offered')}"
    return facts


def try_openvino() -> dict[str, str]:
    """Compute the small graph on the CPU."""
    import numpy as np

    openvino = openvino_runtime.load_openvino()
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(SMALL_GRAPH), "CPU")
    if problem := wrong_result(compiled({"x": np.array(SMALL_INPUT, np.float32)})["y"].tolist()):
        raise RuntimeError(problem)
    return {"version": str(openvino.__version__), "precision": openvino_runtime.native_precision()}


def _try_provider(ort: Any, provider: str) -> str:
    import numpy as np

    options = ort.SessionOptions()
    if provider.startswith("CUDA") and hasattr(ort, "preload_dlls"):
        # It prints what it misses, and this child's last line is its answer.
        with redirect_stdout(sys.stderr):
            ort.preload_dlls()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(SMALL_GRAPH, options, providers=[provider])
        if session.get_providers()[0] != provider:
            return "does not start" + _missing_library(ort)
        value = session.run(["y"], {"x": np.array(SMALL_INPUT, np.float32)})[0]
    except Exception as error:
        # ONNX Runtime's errors have no common class of their own.
        return f"fails: {' '.join(str(error).split())[:300]}"
    return wrong_result(value.tolist()) or "works"


def _missing_library(ort: Any) -> str:
    """Load the CUDA provider's library, for the name of the library that it misses."""
    import ctypes

    library = Path(ort.__file__).parent / "capi/libonnxruntime_providers_cuda.so"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        match = re.search(r"[\w.+-]+\.so[\w.]*: cannot open", str(error))
        return f": {match[0].partition(':')[0]} is missing" if match else ""
    return ""
