"""The model's feed-and-fetch parts as strongly typed ONNX graphs: vision tower, connector, face network.

One file runs on ONNX Runtime and builds in TensorRT, so every type is in the graph: float16 is explicit casts around
matmuls, never a builder's flag. Weights are stored once, in the precision they are used in.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import onnx_ir as ir
import torch
from onnx import ModelProto, helper
from torch import Tensor, nn

from emo_edge.bundle.manifest import LABEL_LOGITS, UNIT_INTENSITY, UNIT_PRESENCE, VALUES
from emo_edge.errors import InputError
from emo_edge.export.configs.action_units import MeGraphAuConfig, UnitsConfig
from emo_edge.export.configs.networks import FaceConfig, VisionConfig
from emo_edge.export.models.action_units.auformer import AuFormer, FoldedAuFormer
from emo_edge.export.models.action_units.sacl import Sacl, UnitOutputs
from emo_edge.export.models.clip_vit import ClipVit
from emo_edge.export.models.eva_vit import EvaVit
from emo_edge.export.models.face_info_mining import FaceInfoMining
from emo_edge.export.models.facexformer import HEADS, FaceXFormer
from emo_edge.export.models.siglip_vit import SiglipVit
from emo_edge.export.models.token_selection import Selection
from emo_edge.export.onnx.attention import TRANSLATIONS
from emo_edge.export.onnx.float16 import float16_from_full
from emo_edge.export.onnx.graph_file import Graph, Weight, declared
from emo_edge.export.onnx.landmark_token import graph_with_landmark_token
from emo_edge.export.onnx.rewriting import quick_rewriting
from emo_edge.export.onnx.transformers_tower import optimum_model
from emo_edge.export.reference.face_network import AuNetwork, FaceNetwork
from emo_edge.export.reference.label_network import AnyLabelNetwork, GraphLabelNetwork
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.tensors import TensorSpec

PRECISIONS = ("fp32", "fp16")
OPSET = 20
"""LayerNormalization came with 17, float16 Q/DQ scales with 19, Gelu as one node with 20."""
WEIGHT_BYTES = 1024
"""Float constants from this size on are kept out of the graph's own message."""
TRACED_SIZES = {"N": 2, "L": 5}
"""Sizes of the varying axes while tracing; torch would bake in a size of one."""


def onnx_from_component(model: EmoLlamaForConditionalGeneration, component: str, precision: str = "fp32") -> Graph:
    """Trace one part of ``model`` to a graph; the same model gives the same bytes.

    Inputs and outputs are the same in every precision: images uint8 RGB [N, H, W, 3], ids and masks int64, all else
    float32. `in_precision` makes float16 of a float32 graph without tracing again.

    Args:
        model: in float32; it is not changed, and must not change while the graph is in use, which shares its weights.
        component: of `COMPONENTS`.
        precision: of `PRECISIONS`.

    Raises InputError for a component or precision that is not there.
    """
    for value, known in ((component, COMPONENTS), (precision, PRECISIONS)):
        if value not in known:
            raise InputError(f"{value!r} is not one of {', '.join(known)}")
    if model.dtype != torch.float32:
        raise InputError(f"graphs are made from a float32 model, not {model.dtype}: load it with dtype=torch.float32")
    if component == "face" and model.landmark and model.landmark_network:
        width = model.config.language.hidden_size
        return in_precision(graph_with_landmark_token(model.landmark_network, model.landmark, width), precision)
    if component == "vision" and isinstance(model.vision, SiglipVit):
        return in_precision(_from_transformers(model.vision, model.config.vision), precision)
    return in_precision(_traced(component, _PARTS[component](model), model.device), precision)


def in_precision(full: Graph, precision: str) -> Graph:
    """Return a float32 graph in one of `PRECISIONS`."""
    return full if precision == "fp32" else float16_from_full(full)


def component_contracts(
    model: EmoLlamaForConditionalGeneration, component: str
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of a component's graph, without tracing it."""
    settings = model.config.landmark
    if component == "face" and settings:
        return (_image(settings.image_size),), (_float("face_tokens", 1, model.config.language.hidden_size),)
    return _PARTS[component](model)[1:]


def onnx_from_face_network(network: FaceNetwork) -> Graph:
    """Trace a face network alone to a float32 graph, the same as a whole model's but for the face tokens."""
    part = _face_part(network.config.face, network.face, None, network.units)
    return _traced("face", part, torch.device("cpu"))


def onnx_from_face_and_units(config: FaceConfig, face: FaceXFormer, units: Sacl) -> Graph:
    """Trace a face network with action units on its trunk: the face graph, and `unit_contracts` as more outputs."""
    return _traced("face", _face_part(config, face, None, units), torch.device("cpu"))


def onnx_from_auformer(model: AuFormer) -> Graph:
    """Trace a network of action units to a float32 graph: uint8 crops in, `unit_contracts` out, side path folded."""
    config = model.config
    module = nn.Sequential(_Normalised(config.tower), FoldedAuFormer(model), _GivenUnits())
    part = module, (_image(config.image_size),), unit_contracts(config)
    return _traced("au", part, torch.device("cpu"))


def onnx_from_au_network(network: AuNetwork) -> Graph:
    """Trace the network of a checkpoint of action units: see `onnx_from_auformer`."""
    if isinstance(network.network, AuFormer):
        return onnx_from_auformer(network.network)
    config = network.network.config
    module = nn.Sequential(_Normalised(config), network.network, _GivenUnits())
    return _traced("au", (module, (_image(config.image_size),), unit_contracts(config)), torch.device("cpu"))


def unit_contracts(config: UnitsConfig) -> tuple[TensorSpec, ...]:
    """Return the outputs of action units: logits, and intensities from 0 to 5 where there are any."""
    names = (UNIT_PRESENCE, UNIT_INTENSITY) if config.intensity else (UNIT_PRESENCE,)
    return tuple(_float(name, len(config.units)) for name in names)


def onnx_from_label_network(network: AnyLabelNetwork) -> Graph:
    """Return the float32 graph of a network of labels, uint8 crops in, label logits and values out."""
    config = network.config
    values = (_float(VALUES, len(config.values)),) if config.values else ()
    inputs, outputs = (_image(config.network.image_size),), (_float(LABEL_LOGITS, len(config.labels)), *values)
    if isinstance(network, GraphLabelNetwork):
        return Graph(_cleaned(network.graph.model, "face", inputs, outputs, {}), inputs, outputs)
    return _traced("face", (network, inputs, outputs), torch.device("cpu"))


class _Normalised(nn.Module):
    """uint8 [N, H, W, 3] to normalised float32 [N, 3, H, W]."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: VisionConfig | FaceConfig | MeGraphAuConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(config.image_mean))
        self.register_buffer("std", torch.tensor(config.image_std))

    def forward(self, image: Tensor) -> Tensor:
        return ((image.float() / 255 - self.mean) / self.std).permute(0, 3, 1, 2)


class _ChoosingTower(nn.Module):
    """A tower with what tokens are chosen by as further outputs."""

    def __init__(self, tower: EvaVit | ClipVit) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        features, selection = self.tower.with_selection(pixels)
        return features, *selection


class _FaceGraph(nn.Module):
    """Every head but the masks, then the face tokens, then the action units."""

    def __init__(
        self, config: FaceConfig, face: FaceXFormer, face_info: FaceInfoMining | None, units: Sacl | None
    ) -> None:
        super().__init__()
        self.pixels, self.face, self.face_info, self.units = _Normalised(config), face, face_info, units

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        stages = self.face.backbone(self.pixels(image))
        outputs = self.face.decode(stages, with_segmentation=False)
        tokens = () if self.face_info is None else (self.face_info(outputs.face_map, outputs.landmarks),)
        units = () if self.units is None else _given(self.units(stages))
        return (*outputs[: len(HEADS)], *tokens, *units)


class _GivenUnits(nn.Module):
    """The outputs that there are."""

    def forward(self, outputs: UnitOutputs) -> tuple[Tensor, ...]:
        return _given(outputs)


def _given(outputs: UnitOutputs) -> tuple[Tensor, ...]:
    return (outputs.presence,) if outputs.intensity is None else (outputs.presence, outputs.intensity)


_Part = tuple[nn.Module, tuple[TensorSpec, ...], tuple[TensorSpec, ...]]


def _vision(model: EmoLlamaForConditionalGeneration) -> _Part:
    config = model.config.vision
    tower: nn.Module = model.vision
    if _chooses(model) and not isinstance(model.vision, SiglipVit):
        tower = _ChoosingTower(model.vision)
    return nn.Sequential(_Normalised(config), tower), (_image(config.image_size),), _vision_outputs(model)


def _connector(model: EmoLlamaForConditionalGeneration) -> _Part:
    config = model.config
    names = ("question_ids", "question_mask") if config.connector.qformer else ()
    question = [TensorSpec(name, "int64", ("N", "L")) for name in names]
    tokens = _float("visual_tokens", config.visual_tokens_per_frame, config.language.hidden_size)
    return model.connector, (*_vision_outputs(model), *question), (tokens,)


def _face(model: EmoLlamaForConditionalGeneration) -> _Part:
    config, face_info = model.config.face, model.config.face_info
    if config is None or model.face is None:
        raise InputError("this checkpoint has no face network")
    tokens = [_float("face_tokens", face_info.num_tokens, model.config.language.hidden_size)] if face_info else []
    return _face_part(config, model.face, model.face_info, model.units, *tokens)


def _face_part(
    config: FaceConfig, face: FaceXFormer, face_info: FaceInfoMining | None, units: Sacl | None, *tokens: TensorSpec
) -> _Part:
    outputs = [_float({"attribute": "attributes"}.get(name, name), width) for name, width in HEADS.items()]
    outputs[0] = _float("landmarks", HEADS["landmarks"] // 2, 2)
    given = unit_contracts(units.config) if units is not None else ()
    return _FaceGraph(config, face, face_info, units), (_image(config.image_size),), (*outputs, *tokens, *given)


_PARTS: dict[str, Callable[[EmoLlamaForConditionalGeneration], _Part]] = {
    "vision": _vision,
    "connector": _connector,
    "face": _face,
}
COMPONENTS = tuple(_PARTS)


def _image(size: int) -> TensorSpec:
    return TensorSpec("image", "uint8", ("N", size, size, 3))


def _vision_outputs(model: EmoLlamaForConditionalGeneration) -> tuple[TensorSpec, ...]:
    config = model.config.vision
    if not _chooses(model):
        return (_features(config),)
    width = config.hidden_size // config.num_heads
    shapes = {"class_attention": (config.grid**2,), "keys": (config.grid**2, width)}
    return _features(config), *(_float(name, *shapes[name]) for name in Selection._fields)


def _chooses(model: EmoLlamaForConditionalGeneration) -> bool:
    return model.config.connector.kept_tokens is not None


def _features(config: VisionConfig) -> TensorSpec:
    return _float("features", config.class_tokens + config.grid**2, config.hidden_size)


def _float(name: str, *sizes: int) -> TensorSpec:
    return TensorSpec(name, "float32", ("N", *sizes))


def _traced(name: str, part: _Part, device: torch.device) -> Graph:
    module, inputs, outputs = part
    sizes = [[TRACED_SIZES[axis] if isinstance(axis, str) else axis for axis in spec.shape] for spec in inputs]
    example = [
        torch.zeros(size, dtype=getattr(torch, spec.dtype), device=device)
        for size, spec in zip(sizes, inputs, strict=True)
    ]
    varying = [
        {index: torch.export.Dim.DYNAMIC for index, axis in enumerate(spec.shape) if isinstance(axis, str)}
        for spec in inputs
    ]
    with _quiet(), quick_rewriting(), torch.no_grad():
        program = torch.onnx.export(
            module.to(device),
            tuple(example),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[spec.name for spec in inputs],
            output_names=[spec.name for spec in outputs],
            dynamic_shapes=tuple(varying),
            custom_translation_table=TRANSLATIONS,
        )
    if program is None:
        raise AssertionError("torch returns a program when it is given no file")
    weights = _weights_taken_out(program.model)
    return Graph(_cleaned(ir.to_proto(program.model), name, inputs, outputs, weights), inputs, outputs, weights)


def _from_transformers(tower: SiglipVit, config: VisionConfig) -> Graph:
    inputs, outputs = (_image(config.image_size),), (_features(config),)
    with _quiet(), torch.no_grad():
        model = optimum_model(
            tower.as_transformers_model(), OPSET, config.image_mean, config.image_std, outputs[0].name
        )
    weights = _weights_taken_out(model)
    return Graph(_cleaned(ir.to_proto(model), "vision", inputs, outputs, weights), inputs, outputs, weights)


def _weights_taken_out(model: ir.Model) -> dict[str, Weight]:
    """Leave large float constants in ``model`` by name, type and shape alone, and return them.

    They are the module's own parameters, or transposed views of them.
    """
    weights = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT and tensor.nbytes >= WEIGHT_BYTES:
            weights[name] = Weight(tensor.numpy(), np.dtype(np.float32))
            value.const_value = ir.ExternalTensor(
                "", None, None, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name
            )
    return weights


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


def _cleaned(
    model: ModelProto,
    name: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    weights: Mapping[str, Weight],
) -> ModelProto:
    """Name the axes as the specs do and drop every trace of the machine that exported it."""
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(declared(tensor.name, weights[tensor.name]))
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
    return model
