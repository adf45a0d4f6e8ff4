"""Write ``config.pbtxt`` from the tensors of a manifest.

The config is built as Triton's own message, ``ModelConfig`` of tritonclient, so that a key or a value that Triton does
not know is an error here. Source: docs.nvidia.com/deeplearning/triton-inference-server, "Model Configuration".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emo_edge.bundle.manifest import GraphComponent, TensorContract
from emo_edge.errors import MissingExtraError
from emo_edge.export.triton.contract import (
    BOXES,
    DEVICE,
    ENCODED,
    JSON,
    LABEL,
    LABELS,
    MODEL,
    PIXELS,
    PROBABILITIES,
    PROFILE,
)
from emo_edge.utils.extras import is_failed_load, unloadable

TYPES = {"uint8": "TYPE_UINT8", "int64": "TYPE_INT64", "float16": "TYPE_FP16", "float32": "TYPE_FP32"}
"""Triton's name of each dtype of a manifest."""
BACKENDS = {"onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt"}
"""Triton's backend of each platform."""
SEPARATOR = ","


def graph_config(name: str, graph: GraphComponent, rows: int, file: str, platform: str) -> dict[str, Any]:
    """Return the config of a graph.

    Args:
        name: of the model.
        graph: its tensors.
        rows: most rows of a batch, where the graph's first dimension varies.
        file: name of the model's file.
        platform: one of `BACKENDS`.
    """
    batched = _varies_in_rows([*graph.inputs, *graph.outputs])
    return {
        "name": name,
        "platform": platform,
        "backend": BACKENDS[platform],
        "default_model_filename": file,
        "max_batch_size": rows if batched else 0,
        "input": [_tensor(contract, batched=batched) for contract in graph.inputs],
        "output": [_tensor(contract, batched=batched) for contract in graph.outputs],
        **({"dynamic_batching": {}} if batched else {}),
    }


def pipeline_config(
    profile: str, device: str, asked: Sequence[str], labels: Sequence[str], rows: int
) -> dict[str, Any]:
    """Return the config of the Python model.

    Args:
        profile: of the bundle.
        device: as `EmotionPipeline.open` takes it.
        asked: labels that the user names; empty for the bundle's own.
        labels: those of every reading; empty where the bundle gives none.
        rows: most pictures of a batch.
    """
    parameters = {PROFILE: profile, DEVICE: device, **({LABELS: SEPARATOR.join(asked)} if asked else {})}
    distribution = [
        {"name": PROBABILITIES, "data_type": "TYPE_FP32", "dims": [-1, len(labels)]},
        {"name": LABEL, "data_type": "TYPE_STRING", "dims": [-1]},
    ]
    return {
        "name": MODEL,
        "backend": "python",
        "max_batch_size": rows,
        "input": [
            # Pictures of several sizes in one batch: the Python backend takes each request by itself.
            _optional(PIXELS, "TYPE_UINT8", [-1, -1, 3]),
            _optional(ENCODED, "TYPE_STRING", [1]),
        ],
        "output": [
            *(distribution if labels else []),
            {"name": BOXES, "data_type": "TYPE_FP32", "dims": [-1, 4]},
            {"name": JSON, "data_type": "TYPE_STRING", "dims": [1]},
        ],
        "dynamic_batching": {},
        # Pictures arrive in host memory; the pipeline chooses its own device.
        "instance_group": [{"count": 1, "kind": "KIND_CPU"}],
        "parameters": {name: {"string_value": value} for name, value in parameters.items()},
    }


def config_text(config: dict[str, Any]) -> str:
    """Return a config as ``config.pbtxt``, which parses to Triton's own message again.

    Raises MissingExtraError without tritonclient.
    """
    try:
        from google.protobuf import json_format, text_format
        from tritonclient.grpc import model_config_pb2
    except (ImportError, RuntimeError) as error:  # tritonclient turns a missing grpc into a RuntimeError
        if is_failed_load(error) and not isinstance(error, ModuleNotFoundError):
            raise unloadable("tritonclient", error) from error
        raise MissingExtraError('tritonclient is not installed. Run: pip install "emo-edge[triton]"') from error
    message = json_format.ParseDict(config, model_config_pb2.ModelConfig())
    text: str = text_format.MessageToString(message)
    assert text_format.Parse(text, model_config_pb2.ModelConfig()) == message
    return text


def _optional(name: str, kind: str, dims: list[int]) -> dict[str, Any]:
    return {"name": name, "data_type": kind, "dims": dims, "optional": True, "allow_ragged_batch": True}


def _varies_in_rows(contracts: Sequence[TensorContract]) -> bool:
    """Return True if all tensors have the same varying first dimension, along which Triton may batch."""
    axes = {contract.shape[0] if contract.shape else None for contract in contracts}
    return len(axes) == 1 and isinstance(axes.pop(), str)


def _tensor(contract: TensorContract, *, batched: bool) -> dict[str, Any]:
    sizes = contract.shape[1:] if batched else contract.shape
    dims = [-1 if isinstance(size, str) else size for size in sizes]
    # Triton wants at least one dimension besides the batch.
    reshape = {} if dims else {"dims": [1], "reshape": {"shape": []}}
    return {"name": contract.name, "data_type": TYPES[contract.dtype], "dims": dims, **reshape}
