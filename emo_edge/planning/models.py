"""Models that a plan is made for: a bundle, by its files, or a known shape, with or without a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol, cast

from emo_edge.bundle.checks.any_gguf import check_mmproj_gguf
from emo_edge.bundle.checks.language import language_header
from emo_edge.bundle.engine_settings import CudaSettings
from emo_edge.bundle.gguf_header import GgufHeader
from emo_edge.bundle.gguf_types import FILE_TYPES, TENSOR_TYPES
from emo_edge.bundle.manifest import GRAPHS, PARTS, Profile, QuestionCache, Variant
from emo_edge.bundle.model_shape import LanguageShape, ModelShape, VisionShape, known_shape
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.planning.cost.onnx_graphs import graph_work
from emo_edge.planning.cost.stages import connector_work, face_work, vision_work
from emo_edge.planning.cost.work import Precision, Work
from emo_edge.planning.prompt_lengths import PromptLengths, bundle_prompts, shape_prompts

TYPE_BITS = {
    **{name: (TENSOR_TYPES[name].bits,) * 3 for name in ("f16", "q8_0")},
    "q4_k_m": (4.82, TENSOR_TYPES["q6_k"].bits, TENSOR_TYPES["q4_k"].bits),
}
"""Bits a number of layers, output matrix and table of embeddings: ggml's block sizes. Of q4_k_m's layers it is the mean
of llama.cpp's mixture at seven billion parameters, whose file has 4.08 GB."""
SHAPE_PROFILES = {"exact": ("fp32", "f16"), "balanced": ("fp16", "q8_0"), "small": ("fp16", "q4_k_m")}
"""Precision of the graphs and type of the language model, as ``emo-edge export`` names them."""
FIRST_MLP = "v.blk.0.ffn_up.weight"
"""Of a tower: its longer side is the size inside."""
UNQUANTIZED_TOWERS = ("f32",)
"""Types of an mmproj that take four bytes a weight."""


class PlannedModel(Protocol):
    """A model to plan; weights are in bytes as they are stored."""

    name: str
    profiles: Mapping[str, Mapping[str, str | None]]
    """Variant of each component by profile; None where there is no such component."""
    question_caches: Mapping[str, QuestionCache]
    """By profile, of those that have one."""
    language: LanguageShape | None
    tokens_per_frame: int
    cuda: CudaSettings
    """Settings of a card for the graphs."""

    def graph(self, component: str, variant: str, batch: int, question: int) -> Work:
        """Count the work of a component's graph."""

    def stored(self, component: str, variant: str) -> float:
        """Return the size of a component's files."""

    def language_bytes(self, variant: str) -> tuple[float, float]:
        """Return the size of one layer and of the output matrix."""

    def prompts(self, labels: str, *, clip: bool) -> PromptLengths:
        """Measure both questions, for labels and for a description."""

    def precisions(self) -> Sequence[Precision]:
        """List the precisions of the graphs' matmuls."""

    def file_types(self) -> Mapping[str, int]:
        """Return llama.cpp's number of each language variant's type."""


def graph_precision(variant: str) -> Precision:
    """Return the precision of a graph's matmuls by its variant's name."""
    return "int8" if "int8" in variant else "fp16" if "fp16" in variant else "fp32"


def open_subject(name: str) -> PlannedModel:
    """Open a bundle's directory, or find a known shape.

    Raises BundleError for a directory that is no intact bundle, InputError listing the shapes for any other name.
    """
    return BundleModel(Bundle.open(name)) if Path(name).is_dir() else ShapeModel(name)


class BundleModel:
    """A bundle: graphs are counted, weights are those of its files."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.name = bundle, bundle.manifest.name
        profiles = bundle.manifest.profiles
        self.profiles: Mapping[str, Mapping[str, str | None]] = {name: _variants(profiles[name]) for name in profiles}
        caches = {name: profile.question_cache for name, profile in profiles.items()}
        self.question_caches: Mapping[str, QuestionCache] = {name: cache for name, cache in caches.items() if cache}
        language = bundle.manifest.components.language
        self._headers: dict[str, GgufHeader] = {}
        if language:
            self._headers = {name: language_header(bundle, name) for name in language.variants}
        self.language: LanguageShape | None = next((header.shape() for header in self._headers.values()), None)
        self.tokens_per_frame = bundle.manifest.frames_segment.tokens_per_frame if language else 0
        self.cuda = bundle.manifest.engines.cuda
        self._tower = _tower(bundle)
        self._counted = lru_cache(partial(_graph_work, self._graph_path))

    def graph(self, component: str, variant: str, batch: int, question: int) -> Work:
        """Count the work of a component's graph; of an mmproj by the sizes of its tower."""
        if self._tower and component == "vision":
            precision: Precision = "fp32" if variant in UNQUANTIZED_TOWERS else "fp16"
            return vision_work(self._tower, batch).in_precision(precision)
        return self._counted(component, variant, batch, question)

    def stored(self, component: str, variant: str) -> float:
        """Return the size of a component's files."""
        part = self.bundle.manifest.components.get(component)
        return float(sum(file.size for file in part.variants[variant].files)) if part else 0.0

    def language_bytes(self, variant: str) -> tuple[float, float]:
        """Return the size of one layer and of the output matrix."""
        header = self._headers[variant]
        return header.layer_bytes, float(header.output_bytes)

    def prompts(self, labels: str, *, clip: bool) -> PromptLengths:
        """Tokenize both questions as inference does; raise InputError for an unknown label set."""
        language = self.bundle.manifest.components.language
        if language is None:
            raise InputError(f"{self.name} is {self.bundle.manifest.network_alone}: it has no prompts")
        return bundle_prompts(self.bundle, self._path(next(iter(language.variants.values()))), labels, clip=clip)

    def precisions(self) -> Sequence[Precision]:
        """List the precisions of the graphs' matmuls, by the variants' names."""
        names = {variant for profile in self.profiles.values() for part in GRAPHS if (variant := profile[part])}
        return tuple(dict.fromkeys(graph_precision(name) for name in sorted(names)))

    def file_types(self) -> Mapping[str, int]:
        """Return llama.cpp's number of each language variant's type, from its file."""
        return {name: int(header.metadata.get("general.file_type", 1)) for name, header in self._headers.items()}

    def _path(self, variant: Variant) -> Path:
        return self.bundle.files(variant)[0]

    def _graph_path(self, component: str, variant: str) -> Path:
        return self._path(self.bundle.manifest.components.graph(component).variants[variant])


class ShapeModel:
    """A model of known sizes: graphs are counted by hand, weights by their types."""

    def __init__(self, name: str) -> None:
        self.name, self.shape = name, known_shape(name)
        self.tokens_per_frame, self.cuda = self.shape.tokens_per_frame, CudaSettings()
        self.language: LanguageShape | None = self.shape.language
        self.profiles: Mapping[str, Mapping[str, str | None]] = {
            profile: {**dict.fromkeys(GRAPHS, precision), "au": None, "language": kind}
            for profile, (precision, kind) in SHAPE_PROFILES.items()
        }
        self.question_caches: Mapping[str, QuestionCache] = {}

    def graph(self, component: str, variant: str, batch: int, question: int) -> Work:
        """Count the work of a component by its sizes."""
        return component_work(self.shape, component, batch, question).in_precision(cast("Precision", variant))

    def stored(self, component: str, variant: str) -> float:
        """Return the size of a component's weights, tables included."""
        if component == "language":
            layer, output = self.language_bytes(variant)
            table = self.shape.language.output_parameters * TYPE_BITS[variant][2] / 8
            return self.shape.language.layers * layer + output + table
        tables = 0
        if component == "connector" and self.shape.connector.qformer:
            former = self.shape.connector.qformer
            tables = (former.vocabulary + former.positions + former.queries) * former.width
        size = {"fp32": 4, "fp16": 2}[variant]
        return component_work(self.shape, component, 1, 1).weight_bytes * size / 4 + tables * size

    def language_bytes(self, variant: str) -> tuple[float, float]:
        """Return the size of one layer and of the output matrix."""
        layer, output, _ = TYPE_BITS[variant]
        language = self.shape.language
        return language.layer_parameters * layer / 8, language.output_parameters * output / 8

    def prompts(self, labels: str, *, clip: bool) -> PromptLengths:
        """Estimate the tokens of both questions from their letters; raise InputError for an unknown label set."""
        return shape_prompts(self.shape, labels, clip=clip)

    def precisions(self) -> Sequence[Precision]:
        """List the precisions of the graphs' matmuls."""
        return ("fp32", "fp16")

    def file_types(self) -> Mapping[str, int]:
        """Return llama.cpp's ``LLAMA_FTYPE`` numbers."""
        return {name: FILE_TYPES[name].number for name in TYPE_BITS}


def component_work(shape: ModelShape, component: str, batch: int, question: int) -> Work:
    """Count a component's work in float32 by its sizes."""
    if component == "vision":
        return vision_work(shape.vision, batch)
    if component == "connector":
        return connector_work(shape.connector, shape.vision, shape.language.width, batch, question)
    return face_work(shape, batch)


def _tower(bundle: Bundle) -> VisionShape | None:
    """Return the sizes of an mmproj's tower, for the pictures that the bundle shows it; None without an mmproj."""
    mmproj, crop = bundle.manifest.components.mmproj, bundle.manifest.preprocessing.vision
    if mmproj is None or crop is None:
        return None
    header = check_mmproj_gguf(bundle.files(next(iter(mmproj.variants.values())))[0])
    names = ("patch_size", "embedding_length", "block_count", "attention.head_count", "feed_forward_length")
    patch, width, layers, heads, mlp = (int(header.metadata[f"clip.vision.{name}"]) for name in names)
    first = header.tensors.get(FIRST_MLP)
    # Some of llama.cpp's scripts leave a placeholder there.
    return VisionShape(crop.size, patch, width, layers, heads, mlp or (max(first.shape) if first else 0))


def _variants(profile: Profile) -> dict[str, str | None]:
    return {name: profile.variant(name) for name in PARTS}


def _graph_work(path_of: Callable[[str, str], Path], component: str, variant: str, batch: int, question: int) -> Work:
    return graph_work(path_of(component, variant), {"N": batch, "L": max(question, 1)})
