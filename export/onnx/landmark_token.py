"""The graph of a landmark network joined with its projector."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from emo_edge.export.models.landmark_token import LandmarkToken, _gelu
from emo_edge.export.onnx.graph_file import Graph, Weight, declared
from emo_edge.export.user_graphs.landmark_network import LandmarkNetwork
from emo_edge.tensors import TensorSpec


def graph_with_landmark_token(network: LandmarkNetwork, token: LandmarkToken, language_hidden_size: int) -> Graph:
    """Join the user's graph and the projector: ``image``, uint8 [N, s, s, 3], to ``face_tokens`` [N, 1, E].

    The nodes are of the user's own opset, so that none of theirs has to be converted.
    """
    whole = ModelProto()
    whole.CopyFrom(network.model)
    graph, size = whole.graph, network.image_size
    inputs = (TensorSpec("image", "uint8", ("N", size, size, 3)),)
    outputs = (TensorSpec("face_tokens", "float32", ("N", 1, language_hidden_size)),)
    layers = list(token.projector) if isinstance(token.projector, nn.Sequential) else [token.projector]
    weights: dict[str, Weight] = {}
    name = "landmarks"
    for index, layer in enumerate(layers):
        result = f"projected_{index}"
        if isinstance(layer, nn.Linear):
            own = {f"projector.{index}.{part}": value for part, value in layer.named_parameters()}
            weights |= {key: Weight(value.detach().cpu().numpy(), np.dtype(np.float32)) for key, value in own.items()}
            graph.node.append(helper.make_node("Gemm", [name, *own], [result], transB=1))
        else:
            graph.node.extend(_gelu(name, result))
        name = result
    graph.node.append(helper.make_node("Reshape", [name, "one_token"], ["face_tokens"]))
    constants: dict[str, Any] = {"root_half": np.float32(math.sqrt(0.5)), "one": np.float32(1), "half": np.float32(0.5)}
    constants["one_token"] = np.array([-1, 1, language_hidden_size])
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items())
    graph.initializer.extend(declared(key, weight) for key, weight in weights.items())
    graph.name = "face"
    graph.ClearField("output")
    graph.output.append(helper.make_tensor_value_info("face_tokens", TensorProto.FLOAT, outputs[0].shape))
    return Graph(whole, inputs, outputs, weights)
