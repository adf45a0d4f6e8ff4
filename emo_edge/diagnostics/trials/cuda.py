"""Trials of TensorRT, of its RTX edition and of cuda-python."""

from __future__ import annotations

import importlib
from typing import Any

from emo_edge.diagnostics.trials.small_graph import SMALL_GRAPH
from emo_edge.errors import EmoEdgeError
from emo_edge.runtimes.tensorrt import api as tensorrt_api
from emo_edge.runtimes.tensorrt import fingerprint
from emo_edge.utils.extras import installed_packages

NOT_TAKEN = "this card does not take"
"""Of an engine: part of a problem that no newer installation fixes."""


def try_tensorrt(module: str) -> dict[str, str]:
    """Parse and build the small graph, for which the RTX edition needs no GPU; load it where there is one."""
    trt: Any = importlib.import_module(module)
    complaints: list[str] = []
    logger = tensorrt_api.complaints_logger(trt, complaints)
    plan = _build(trt, logger, complaints)
    facts = {"version": str(trt.__version__), "builder": "parses and builds a small graph; nothing was run"}
    try:
        fingerprint.open_device()
    except (EmoEdgeError, ImportError, OSError, RuntimeError):
        return facts  # a problem of CUDA is another engine's line
    if trt.Runtime(logger).deserialize_cuda_engine(plan) is None:
        problem = NOT_TAKEN if tensorrt_api.wrong_card(complaints) else "cannot be loaded"
        raise RuntimeError(f"builds a small graph, which {problem}: {'; '.join(complaints)}")
    return facts | {"builder": "builds a small graph, which this card takes; nothing was run"}


def try_cuda() -> dict[str, str]:
    """Open the first device with cuda-python, which TensorRT's memory and streams come from."""
    facts = fingerprint.open_device().facts
    version = installed_packages(["cuda-bindings"]).get("cuda-bindings", "unknown")
    return {"version": version, "device": f"{facts.name}, compute capability {facts.compute_capability}"}


def _build(trt: Any, logger: Any, complaints: list[str]) -> Any:
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(SMALL_GRAPH):
        raise RuntimeError(str(parser.get_error(0)))
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    if plan is None:
        raise RuntimeError(f"the builder returned nothing for a small graph: {'; '.join(complaints)}")
    return plan
