"""Small towers that are written by hand and computed for real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from emo_edge.tensors import Tensor

WIDTH, INNER, TOKENS = 32, 64, 9
Feeds = list[dict[str, Tensor]]


def tower_nodes(depth: int) -> list[Any]:
    nodes, stream = [], "x"
    for block in range(depth):
        path = f"blocks.{block}"
        node = helper.make_node
        nodes += [
            node("LayerNormalization", [stream, f"{path}.norm.weight", f"{path}.norm.bias"], [f"normed_{block}"]),
            node("MatMul", [f"normed_{block}", f"{path}.up.weight"], [f"up_{block}"], name=f"up_{block}"),
            node("Add", [f"up_{block}", f"{path}.up.bias"], [f"shifted_{block}"]),
            node("Gelu", [f"shifted_{block}"], [f"gelu_{block}"]),
            node("MatMul", [f"gelu_{block}", f"{path}.down.weight"], [f"down_{block}"], name=f"down_{block}"),
            node("Add", [stream, f"down_{block}"], [f"stream_{block}"]),
        ]
        stream = f"stream_{block}"
    return [*nodes, node("Identity", [stream], ["features"])]


def tower_weights(depth: int, massive: int | None) -> dict[str, Tensor]:
    rng, weights = np.random.default_rng(0), {}
    for block in range(depth):
        path = f"blocks.{block}"
        up, down = rng.normal(size=(WIDTH, INNER)) / 5, rng.normal(size=(INNER, WIDTH)) / 8
        shift = rng.normal(size=INNER) / 5
        if block == massive:
            # A channel that is always huge, whatever the input.
            shift[3], down[3] = 900, down[3] / 900
        weights |= {
            f"{path}.norm.weight": np.ones(WIDTH),
            f"{path}.norm.bias": np.zeros(WIDTH),
            f"{path}.up.weight": up,
            f"{path}.up.bias": shift,
            f"{path}.down.weight": down,
        }
    return {name: values.astype(np.float32) for name, values in weights.items()}


@pytest.fixture(scope="session")
def write_graph() -> Callable[..., Path]:
    """Save nodes of one input ``x`` [N, *shape] and one output with float32 constants."""

    def write(
        path: Path,
        nodes: list[Any],
        weights: dict[str, Tensor],
        *,
        shape: tuple[int, ...],
        output: str = "features",
        result: tuple[int, ...] | None = None,
        opset: int = 20,
    ) -> Path:
        graph = helper.make_graph(
            nodes,
            "hand_written",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", *(result or shape)])],
            [numpy_helper.from_array(values, name) for name, values in weights.items()],
        )
        imports = [helper.make_opsetid("", opset)]
        path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString())
        return path

    return write


@pytest.fixture(scope="session")
def write_tower(write_graph: Callable[..., Path]) -> Callable[..., Path]:
    """Save a residual tower of ``depth`` blocks, one of which may have a massive activation."""

    def write(path: Path, depth: int = 4, massive: int | None = None) -> Path:
        return write_graph(path, tower_nodes(depth), tower_weights(depth, massive), shape=(TOKENS, WIDTH))

    return write


@pytest.fixture(scope="session")
def tower_feeds() -> Callable[..., Feeds]:
    """Draw ``count`` samples for a tower, ``size`` a feed."""

    def draw(count: int, size: int = 8, seed: int = 1) -> Feeds:
        values = np.random.default_rng(seed).normal(size=(count, TOKENS, WIDTH)).astype(np.float32)
        return [{"x": values[start : start + size]} for start in range(0, count, size)]

    return draw


@pytest.fixture(scope="session")
def judge_like() -> Callable[[Tensor], Any]:
    """Make a judge that takes a sample's label to be its pooled features' largest of the first five."""

    def labels(features: Tensor) -> Tensor:
        return features.mean(1)[:, :5].argmax(-1)

    def make(reference: Tensor) -> Any:
        return lambda outputs: float((labels(outputs["features"]) == labels(reference)).mean())

    return make
