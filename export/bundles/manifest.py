"""The bundle's manifest: everything that a device must know of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from emo_edge import __version__
from emo_edge.bundle.face_crops import Preprocessing
from emo_edge.bundle.manifest import (
    LARGEST_CONTEXT,
    REFERENCE_KEY,
    ActionUnits,
    AffectiveTask,
    BundleFile,
    Components,
    GraphComponent,
    LanguageComponent,
    Manifest,
    Profile,
    Scoring,
    TensorContract,
    Variant,
    VisualTokens,
)
from emo_edge.bundle.prompts import (
    IMAGE_MARK,
    BeginSegment,
    FaceLabels,
    FramesSegment,
    PromptConfig,
    Segment,
    TextSegment,
    TokenGroup,
)
from emo_edge.export.bundles.detector import HAAR, StoredDetector
from emo_edge.export.configs.checkpoint import AuNetworkConfig, EmoLlamaConfig, FaceXFormerConfig, LabelNetworkConfig
from emo_edge.export.configs.networks import OnnxGraphConfig
from emo_edge.export.reference.crop_settings import face_crop_settings, vision_crop_settings
from emo_edge.machine.versions import tool_versions
from emo_edge.tensors import TensorSpec

NetworkConfig = FaceXFormerConfig | LabelNetworkConfig | AuNetworkConfig
"""Config of a checkpoint of one network alone."""
Contracts = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
"""Inputs and outputs of a graph."""
DEFAULTS = ("balanced", "exact")
"""Default profile: the first of these that there is, else the first of all."""
NETWORKS = {
    "sacl": "SACL on the face trunk, a reconstruction: no code or weights of SACL-AU were ever published",
    "auformer": "AUFormer, a reconstruction: no code or weights of it were ever published",
    "me_graphau": "ME-GraphAU, its first stage, with the weights that were imported",
}
"""Description of each network of action units, for manifests."""


def bundle_manifest(
    config: EmoLlamaConfig,
    contracts: Mapping[str, Contracts],
    variants: Mapping[str, Mapping[str, Variant]],
    question_tokenizer: BundleFile | None,
    profiles: Mapping[str, Profile],
    name: str,
    origin: Mapping[str, str],
    visual_tokens: VisualTokens | None = None,
) -> Manifest:
    """Join the exported variants with the settings of the config.

    Args:
        config: of the checkpoint.
        contracts: of each graph component.
        variants: what passed, by component and name.
        question_tokenizer: its file; None where the connector reads no question.
        profiles: by name.
        name: of the model, unless its config has one.
        origin: more of the bundle's provenance.
        visual_tokens: the budget, of a config that keeps one.
    """
    component = {
        part: GraphComponent(inputs=_contracts(inputs), outputs=_contracts(outputs), variants=dict(variants[part]))
        for part, (inputs, outputs) in contracts.items()
    }
    language = LanguageComponent(
        context_size=min(config.language.max_position_embeddings, LARGEST_CONTEXT),
        embedding_size=config.language.hidden_size,
        variants=dict(variants["language"]),
    )
    units = action_units(config)
    return Manifest(
        bundle_version=version_with(units, config.tasks, visual_tokens),
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
        max_question_tokens=config.connector.qformer.max_question_tokens if config.connector.qformer else None,
        live=config.live,
        action_units=units,
        tasks=config.tasks,
        visual_tokens=visual_tokens,
        profiles=dict(profiles),
        default_profile=_default(profiles),
        provenance=_provenance(config.provenance, origin),
    )


def action_units(config: EmoLlamaConfig | FaceXFormerConfig | AuNetworkConfig) -> ActionUnits | None:
    """Return the manifest's section of action units; None of a checkpoint without any."""
    own = isinstance(config, AuNetworkConfig)
    units = config.network if isinstance(config, AuNetworkConfig) else config.action_units
    if units is None:
        return None
    return ActionUnits(
        source="au" if own else "face",
        units=units.units,
        thresholds=units.active_from,
        network=NETWORKS[units.network],
    )


def version_with(
    units: ActionUnits | None,
    tasks: Mapping[str, AffectiveTask] | None = None,
    visual_tokens: VisualTokens | None = None,
) -> Literal[1, 2]:
    """Return the version of a manifest with these sections: the oldest that knows them."""
    return 1 if units is None and tasks is None and visual_tokens is None else 2


def graph_component(contracts: Contracts, variants: Mapping[str, Variant]) -> GraphComponent:
    """Describe a graph by its inputs and outputs, and its variants."""
    inputs, outputs = (_contracts(side) for side in contracts)
    return GraphComponent(inputs=inputs, outputs=outputs, variants=dict(variants))


def network_manifest(
    config: NetworkConfig,
    contracts: Contracts,
    variants: Mapping[str, Variant],
    profiles: Mapping[str, Profile],
    name: str,
    origin: Mapping[str, str],
    detector: StoredDetector = HAAR,
) -> Manifest:
    """Describe a bundle of one network alone; arguments as of `bundle_manifest`."""
    part = "au" if isinstance(config, AuNetworkConfig) else "face"
    none = Components(vision=None, connector=None, face=None, language=None)
    return Manifest(
        name=config.provenance.get("name", name),
        components=none.model_copy(update={part: graph_component(contracts, variants)}),
        layout=(),
        prompt=PromptConfig(),
        question_tokenizer=None,
        max_question_tokens=None,
        profiles=dict(profiles),
        default_profile=_default(profiles),
        provenance=_provenance(config.provenance, {**_reference(config), **origin}),
        detector=detector.name,
        detector_files=detector.files,
        **_network_settings(config),
    )


def _network_settings(config: NetworkConfig) -> dict[str, Any]:
    """Return what the manifest says of a network alone: its crop, its rows, its labels and their temperature."""
    if not isinstance(config, LabelNetworkConfig):
        units = action_units(config)
        shared: dict[str, Any] = {"bundle_version": version_with(units), "label_sets": {}, "action_units": units}
        if isinstance(config, AuNetworkConfig):
            crops = Preprocessing(vision=None, face=None, au=config.crop)
            return {**shared, "preprocessing": crops, "face_labels": FaceLabels()}
        crops = Preprocessing(vision=None, face=face_crop_settings(config.face))
        return {**shared, "preprocessing": crops, "face_labels": config.face_labels}
    return {
        "preprocessing": Preprocessing(vision=None, face=config.crop),
        "face_labels": FaceLabels(expression=config.labels, values=config.values),
        "label_sets": dict(config.label_sets),
        "scoring": Scoring(temperature=config.temperature),
    }


def _default(profiles: Mapping[str, Profile]) -> str:
    return next((name for name in DEFAULTS if name in profiles), next(iter(profiles)))


def _reference(config: NetworkConfig) -> dict[str, str]:
    """Name what evidence is measured against, where it is not this package's own network in PyTorch."""
    own = isinstance(config, LabelNetworkConfig) and isinstance(config.network, OnnxGraphConfig)
    return {REFERENCE_KEY: "imported ONNX file in ONNX Runtime"} if own else {}


def _provenance(own: Mapping[str, str], origin: Mapping[str, str]) -> dict[str, str]:
    return {**own, **origin, "emo-edge": __version__, **tool_versions()}


def _contracts(specs: tuple[TensorSpec, ...]) -> tuple[TensorContract, ...]:
    return tuple(
        TensorContract.model_validate({"name": spec.name, "dtype": spec.dtype, "shape": spec.shape}) for spec in specs
    )


def _preprocessing(config: EmoLlamaConfig) -> Preprocessing:
    vision, face = config.vision, config.face or config.landmark
    picture, clip = vision_crop_settings(vision), vision_crop_settings(vision, clip=True)
    face_crop = face_crop_settings(face) if face else None
    return Preprocessing(vision=picture, face=face_crop, clip=None if clip == picture else clip)


def _layout(config: EmoLlamaConfig) -> tuple[Segment, ...]:
    before, after = config.prompt.template.split(IMAGE_MARK)
    context = 1 if config.connector.qformer and not config.connector.query_tokens else 0
    groups = [TokenGroup(name="context", count=1, component="connector")][:context]
    groups.append(TokenGroup(name="content", count=config.visual_tokens_per_frame - context, component="connector"))
    if config.face_tokens_per_frame:
        name: Literal["face", "landmark"] = "landmark" if config.landmark else "face"
        groups.append(TokenGroup(name=name, count=config.face_tokens_per_frame, component="face"))
    control = config.language.architecture != "llama"
    texts = [TextSegment(text=text, control=control) for text in (before, after)]
    begin, place = (BeginSegment(),), config.language.bos_place
    first = (*(begin if place == "first" else ()), *(texts[:1] if before else ()))
    behind = (*(begin if place == "after_frames" else ()), texts[1])
    return (*first, FramesSegment(groups=tuple(groups)), *behind)
