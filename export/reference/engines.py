"""The PyTorch reference as the pipeline's engines: the same way of the data, nothing exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from emo_edge.bundle.manifest import GraphComponent, Manifest, Profile
from emo_edge.errors import InputError
from emo_edge.export.reference.frames import named_outputs
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.runtimes.loading.engines import Engines, LanguageChain
from emo_edge.runtimes.torch import TorchLanguageSession, TorchSession
from emo_edge.tensors import TensorSpec

Tensors = Mapping[str, torch.Tensor]


def reference_engines(model: EmoLlamaForConditionalGeneration, manifest: Manifest) -> Engines:
    """Put a float32 model on the CPU behind the sessions of its bundle."""
    if model.device.type != "cpu" or model.dtype != torch.float32:
        raise InputError(f"the reference runs in float32 on the CPU, not {model.dtype} on {model.device}")

    def vision(feed: Tensors) -> Tensors:
        features, selection = model.vision_outputs(feed["image"].numpy())
        return {"features": features, **(selection._asdict() if selection else {})}

    def connector(feed: Tensors) -> Tensors:
        return {"visual_tokens": model.connector(**feed)}

    def face(feed: Tensors) -> Tensors:
        if model.landmark and model.landmark_network:
            return {"face_tokens": model.landmark(torch.from_numpy(model.landmark_network.run(feed["image"].numpy())))}
        outputs, units = model.face_and_units(feed["image"].numpy())
        tensors = named_outputs(outputs, units)
        if model.face_info is not None:
            tensors["face_tokens"] = model.face_info(outputs.face_map, outputs.landmarks)
        return tensors

    parts = manifest.components
    if not isinstance(parts.vision, GraphComponent) or parts.connector is None:
        raise InputError("this bundle has no language model, and the reference is one")
    return Engines(
        profile_name="reference",
        profile=Profile(vision="torch", connector="torch", face="torch" if parts.face else None, language="torch"),
        device="cpu",
        face=TorchSession(face, *_specs(parts.face)) if parts.face else None,
        chain=LanguageChain(
            TorchSession(vision, *_specs(parts.vision)),
            TorchSession(connector, *_specs(parts.connector)),
            TorchLanguageSession(model.language, model.tokenizer),
        ),
    )


def _specs(component: GraphComponent) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
    inputs, outputs = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
    return inputs, outputs
