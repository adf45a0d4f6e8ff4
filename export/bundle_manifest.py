"""Everything a device must know of a checkpoint, as the bundle's manifest."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from emo_edge import __version__
from emo_edge.export.config import EmoLlamaConfig
from emo_edge.export.onnx_graphs import Graph
from emo_edge.manifest import (
    BeginSegment,
    BundleFile,
    Components,
    CropSettings,
    FramesSegment,
    GraphComponent,
    LanguageComponent,
    Manifest,
    Preprocessing,
    Profile,
    Segment,
    TensorContract,
    TextSegment,
    TokenGroup,
    Variant,
)
from emo_edge.prompts import IMAGE_MARK
from emo_edge.sessions import TensorSpec

TOOLS = ("torch", "transformers", "onnx", "onnxruntime", "gguf", "llama_cpp_python")
DEFAULTS = ("balanced", "exact")
"""Which profile is the default: the first of these that there is, else the first of all."""


def bundle_manifest(
    config: EmoLlamaConfig,
    graphs: Mapping[str, Graph],
    variants: Mapping[str, Mapping[str, Variant]],
    question_tokenizer: BundleFile,
    profiles: Mapping[str, Profile],
    name: str,
) -> Manifest:
    """Join what was exported with what the config says."""
    component = {
        part: GraphComponent(
            inputs=_contracts(graph.inputs), outputs=_contracts(graph.outputs), variants=dict(variants[part])
        )
        for part, graph in graphs.items()
    }
    language = LanguageComponent(
        context_size=config.language.max_position_embeddings,
        embedding_size=config.language.hidden_size,
        variants=dict(variants["language"]),
    )
    return Manifest(
        name=config.provenance.get("name", name),
        components=Components(
            vision=component["vision"],
            connector=component["connector"],
            face=component.get("face"),
            language=language,
        ),
        preprocessing=_preprocessing(config),
        layout=_layout(config),
        prompt=config.prompt,
        label_sets=dict(config.label_sets),
        face_labels=config.face_labels,
        question_tokenizer=question_tokenizer,
        max_question_tokens=config.connector.qformer.max_question_tokens,
        profiles=dict(profiles),
        default_profile=next((wanted for wanted in DEFAULTS if wanted in profiles), next(iter(profiles))),
        provenance={**config.provenance, "emo-edge": __version__, **{tool: version(tool) for tool in TOOLS}},
    )


def _contracts(specs: tuple[TensorSpec, ...]) -> tuple[TensorContract, ...]:
    return tuple(
        TensorContract.model_validate({"name": spec.name, "dtype": spec.dtype, "shape": spec.shape}) for spec in specs
    )


def _preprocessing(config: EmoLlamaConfig) -> Preprocessing:
    vision, face = config.vision, config.face
    return Preprocessing(
        vision=CropSettings(method="padded", size=vision.image_size, margin=vision.crop_margin, fill=vision.image_mean),
        face=CropSettings(method="stretched", size=face.image_size, margin=face.crop_margin) if face else None,
    )


def _layout(config: EmoLlamaConfig) -> tuple[Segment, ...]:
    before, after = config.prompt.template.split(IMAGE_MARK)
    content = (config.connector.pool_grid or config.vision.grid) ** 2
    groups = [
        TokenGroup(name="context", count=1, component="connector"),
        TokenGroup(name="content", count=content, component="connector"),
    ]
    if config.face_info:
        groups.append(TokenGroup(name="face", count=config.face_info.num_tokens, component="face"))
    return (BeginSegment(), TextSegment(text=before), FramesSegment(groups=tuple(groups)), TextSegment(text=after))
