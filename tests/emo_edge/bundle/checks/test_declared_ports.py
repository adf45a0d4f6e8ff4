"""Graphs that declare other inputs or outputs than the manifest: refused before an engine loads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.hostile.small_bundle import GRAPH, LABELS, write_small_bundle
from emo_edge.bundle.checks.declared_ports import check_declared_ports
from emo_edge.bundle.manifest import LABEL_LOGITS, GraphComponent
from emo_edge.bundle.reader import Bundle, read_manifest
from emo_edge.cli.inspect import verify
from emo_edge.errors import BundleError
from emo_edge.inference.pipeline import EmotionPipeline


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_small_bundle(tmp_path / "bundle")


def component(bundle: Path) -> GraphComponent:
    return read_manifest(bundle).components.graph("face")


def other_name(graph: Any) -> None:
    graph.input[0].name = graph.node[0].input[0] = "picture"


def other_type(graph: Any) -> None:
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def other_size(graph: Any) -> None:
    graph.input[0].type.tensor_type.shape.dim[1].dim_value = 47


def fewer_axes(graph: Any) -> None:
    del graph.output[0].type.tensor_type.shape.dim[1]


def more_outputs(graph: Any) -> None:
    graph.output.append(onnx.helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, ["N", 3]))


def unknown_size(graph: Any) -> None:
    graph.output[0].type.tensor_type.shape.dim[1].dim_param = "labels"


def unknown_rank(graph: Any) -> None:
    graph.output[0].type.tensor_type.ClearField("shape")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (other_name, "it has no input 'image'; its input 'picture' is not in the manifest"),
        (other_type, "its input 'image' is float32 [*, 48, 48, 3], not uint8 [N, 48, 48, 3]"),
        (other_size, "its input 'image' is uint8 [*, 47, 48, 3], not uint8 [N, 48, 48, 3]"),
        (fewer_axes, f"its output '{LABEL_LOGITS}' is float32 [*], not float32 [N, {len(LABELS)}]"),
        (more_outputs, "its output 'mean' is not in the manifest"),
    ],
)
def test_other_ports_are_one_error(bundle: Path, change: Callable[[Any], None], problem: str) -> None:
    model = onnx.load(bundle / GRAPH)
    change(model.graph)
    onnx.save(model, bundle / GRAPH)
    with pytest.raises(BundleError) as raised:
        check_declared_ports(bundle / GRAPH, component(bundle))
    assert problem in str(raised.value)


@pytest.mark.parametrize("change", [unknown_size, unknown_rank])
def test_what_a_graph_leaves_open_is_left_to_the_engine(bundle: Path, change: Callable[[Any], None]) -> None:
    model = onnx.load(bundle / GRAPH)
    change(model.graph)
    onnx.save(model, bundle / GRAPH)
    check_declared_ports(bundle / GRAPH, component(bundle))


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x3a\x7f"])
def test_no_graph_is_one_error(bundle: Path, content: bytes) -> None:
    (bundle / GRAPH).write_bytes(content)
    with pytest.raises(BundleError, match="face-fp32"):
        check_declared_ports(bundle / GRAPH, component(bundle))


def test_a_whole_bundle_passes_and_is_opened(bundle: Path) -> None:
    assert CliRunner().invoke(verify, [str(bundle)]).output == f"{bundle}: intact, 1 files, 0.0 MB\n"
    with EmotionPipeline.open(bundle, device="cpu") as pipeline:
        assert pipeline.manifest.label_sets == {"three": LABELS}


def test_verify_and_the_opening_refuse_it(bundle: Path, tmp_path: Path) -> None:
    model = onnx.load(bundle / GRAPH)
    other_name(model.graph)
    other = write_small_bundle(tmp_path / "other", model.SerializeToString())
    done = CliRunner().invoke(verify, [str(other)])
    assert done.exit_code == 5 and "not the graph of the manifest" in done.output
    with pytest.raises(BundleError, match="not the graph of the manifest"):
        EmotionPipeline.open(Bundle.open(other), device="cpu")
