"""The model's feed-and-fetch parts as strongly typed ONNX graphs: vision tower, connector, face network.

One file runs on ONNX Runtime and builds in TensorRT, so every type is in the graph: float16 is explicit casts around
matmuls, never a builder's flag. Weights are stored once, in the precision they are used in.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, helper
from torch import Tensor, nn

from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.config import FaceConfig, VisionConfig
from emo_edge.export.face_info import FaceInfoMining
from emo_edge.export.face_network import FaceNetwork
from emo_edge.export.facexformer import HEADS, FaceXFormer
from emo_edge.export.half_precision import half_model
from emo_edge.export.model import EmoLlamaForConditionalGeneration
from emo_edge.sessions import TensorSpec

PRECISIONS = ("fp32", "fp16")
OPSET = 20
"""LayerNormalization came with 17, float16 Q/DQ scales with 19, Gelu as one node with 20."""
EXTERNAL_BYTES = 1_500_000_000
"""More weights than this lie beside the graph; protobuf ends at 2 GiB."""
TRACED_SIZES = {"N": 2, "L": 5}
"""Sizes of the varying axes while tracing; torch would bake in a size of one."""


@dataclass(frozen=True)
class Graph:
    """A graph with weights, and what it reads and returns; ``N`` and ``L`` are the axes that vary."""

    model: ModelProto
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def onnx_from_component(model: EmoLlamaForConditionalGeneration, component: str, precision: str = "fp32") -> Graph:
    """Turn one part of ``model`` into a graph; the same model gives the same bytes.

    Inputs and outputs are the same in every precision: images uint8 RGB [N, H, W, 3], ids and masks int64, all else
    float32. `half_from_full` makes float16 of a float32 graph without tracing again.

    Args:
        model: in float32; it is not changed.
        component: of `COMPONENTS`.
        precision: of `PRECISIONS`.

    Raises InputError for a component or precision that is not there.
    """
    for value, known in ((component, COMPONENTS), (precision, PRECISIONS)):
        if value not in known:
            raise InputError(f"{value!r} is not one of {', '.join(known)}")
    if model.dtype != torch.float32:
        raise InputError(f"graphs are made from a float32 model, not {model.dtype}: load it with dtype=torch.float32")
    part = _PARTS[component](model)
    graph = _cleaned(_traced(part, model.device), component, *part[1:])
    return graph if precision == "fp32" else half_from_full(graph)


def component_contracts(
    model: EmoLlamaForConditionalGeneration, component: str
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Tell inputs and outputs of a component's graph, without making it."""
    return _PARTS[component](model)[1:]


def onnx_from_face_network(network: FaceNetwork) -> Graph:
    """Turn a face network alone into a float32 graph, the same as a whole model's but for the face tokens."""
    part = _face_part(network.config.face, network.face, None)
    return _cleaned(_traced(part, torch.device("cpu")), "face", *part[1:])


def half_from_full(graph: Graph) -> Graph:
    """Return the float16 form of a float32 graph: weights, matmuls and what lies between them in float16.

    LayerNorm, softmax, the residual stream, the pixels' normalisation and coordinates stay float32. Raises
    CheckpointError if a weight does not fit float16.
    """
    return Graph(half_model(graph.model), graph.inputs, graph.outputs)


def save_graph(graph: Graph, path: Path) -> list[Path]:
    """Write and check ``path``; return the files written, with ``NAME.onnx.data`` for large weights.

    Raises CheckpointError if one of them exists.
    """
    data = path.with_name(f"{path.name}.data")
    for taken in (path, data):
        if taken.exists():
            raise CheckpointError(f"{taken}: already exists; remove it or give another name")
    if sum(len(tensor.raw_data) for tensor in graph.model.graph.initializer) <= EXTERNAL_BYTES:
        path.write_bytes(graph.model.SerializeToString(deterministic=True))
    else:
        onnx.save_model(graph.model, path, save_as_external_data=True, location=data.name)
        # Saving moved the weights out of the caller's graph, into a file for its owner only.
        onnx.load_external_data_for_model(graph.model, str(path.parent))
        for tensor in graph.model.graph.initializer:
            tensor.ClearField("data_location")
        data.chmod(path.stat().st_mode)
    onnx.checker.check_model(str(path), full_check=True)
    return [file for file in (path, data) if file.exists()]


class _Normalised(nn.Module):
    """uint8 [N, H, W, 3] to normalised float32 [N, 3, H, W]."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: VisionConfig | FaceConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(config.image_mean))
        self.register_buffer("std", torch.tensor(config.image_std))

    def forward(self, image: Tensor) -> Tensor:
        return ((image.float() / 255 - self.mean) / self.std).permute(0, 3, 1, 2)


class _FaceGraph(nn.Module):
    """Every head but the masks, then the face tokens."""

    def __init__(self, config: FaceConfig, face: FaceXFormer, face_info: FaceInfoMining | None) -> None:
        super().__init__()
        self.pixels, self.face, self.face_info = _Normalised(config), face, face_info

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        said = self.face(self.pixels(image), with_segmentation=False)
        heads = said[: len(HEADS)]
        return heads if self.face_info is None else (*heads, self.face_info(said.face_map, said.landmarks))


_Part = tuple[nn.Module, tuple[TensorSpec, ...], tuple[TensorSpec, ...]]


def _vision(model: EmoLlamaForConditionalGeneration) -> _Part:
    config = model.config.vision
    module = nn.Sequential(_Normalised(config), model.vision)
    return module, (_image(config.image_size),), (_features(config),)


def _connector(model: EmoLlamaForConditionalGeneration) -> _Part:
    config, width = model.config.vision, model.config.language.hidden_size
    tokens = 1 + (model.config.connector.pool_grid or config.grid) ** 2
    question = [TensorSpec(name, "int64", ("N", "L")) for name in ("question_ids", "question_mask")]
    return model.connector, (_features(config), *question), (_float("visual_tokens", tokens, width),)


def _face(model: EmoLlamaForConditionalGeneration) -> _Part:
    config, face_info = model.config.face, model.config.face_info
    if config is None or model.face is None:
        raise InputError("this checkpoint has no face network")
    tokens = [_float("face_tokens", face_info.num_tokens, model.config.language.hidden_size)] if face_info else []
    return _face_part(config, model.face, model.face_info, *tokens)


def _face_part(config: FaceConfig, face: FaceXFormer, face_info: FaceInfoMining | None, *tokens: TensorSpec) -> _Part:
    outputs = [_float({"attribute": "attributes"}.get(name, name), width) for name, width in HEADS.items()]
    outputs[0] = _float("landmarks", HEADS["landmarks"] // 2, 2)
    return _FaceGraph(config, face, face_info), (_image(config.image_size),), (*outputs, *tokens)


_PARTS: dict[str, Callable[[EmoLlamaForConditionalGeneration], _Part]] = {
    "vision": _vision,
    "connector": _connector,
    "face": _face,
}
COMPONENTS = tuple(_PARTS)


def _image(size: int) -> TensorSpec:
    return TensorSpec("image", "uint8", ("N", size, size, 3))


def _features(config: VisionConfig) -> TensorSpec:
    return _float("features", 1 + config.grid**2, config.hidden_size)


def _float(name: str, *sizes: int) -> TensorSpec:
    return TensorSpec(name, "float32", ("N", *sizes))


def _traced(part: _Part, device: torch.device) -> ModelProto:
    module, inputs, outputs = part
    sizes = [[TRACED_SIZES[axis] if isinstance(axis, str) else axis for axis in spec.shape] for spec in inputs]
    example = [
        torch.zeros(size, dtype=getattr(torch, spec.dtype), device=device)
        for size, spec in zip(sizes, inputs, strict=True)
    ]
    varying = [
        {place: torch.export.Dim.DYNAMIC for place, axis in enumerate(spec.shape) if isinstance(axis, str)}
        for spec in inputs
    ]
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.to(device),
            tuple(example),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[spec.name for spec in inputs],
            output_names=[spec.name for spec in outputs],
            dynamic_shapes=tuple(varying),
        )
    if program is None:
        raise AssertionError("torch returns a program when it is given no file")
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter logs that torchvision is not there and uses a deprecated part of torch itself.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _cleaned(model: ModelProto, name: str, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Graph:
    """Name the axes as the specs do and leave out what tells where the graph was made."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    graph.name = name
    for field_name, specs in (("input", inputs), ("output", outputs)):
        graph.ClearField(field_name)
        getattr(graph, field_name).extend(
            helper.make_tensor_value_info(spec.name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape)
            for spec in specs
        )
    # Engines infer the rest; the exporter's own notes name the axes otherwise.
    graph.ClearField("value_info")
    return Graph(model, inputs, outputs)
