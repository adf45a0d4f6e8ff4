"""The sizes of known models: what a plan needs to know of one, with or without a checkpoint.

Defaults are the published sizes, as in a checkpoint's ``config.json``: LLaMA-VID-7B at 224 px (EVA ViT-g/14, 12-layer
Q-Former, Vicuna-7B v1.5; LLaMA-VID's ``eva_vit.py`` and ``llamavid_arch.py``) and FaceXFormer (Swin-B).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emo_edge.errors import InputError
from emo_edge.utils.suggestions import did_you_mean


@dataclass(frozen=True)
class VisionShape:
    """The image tower; CLIP's projects queries, keys and values apart."""

    image_size: int = 224
    patch_size: int = 14
    width: int = 1408
    layers: int = 39
    heads: int = 16
    mlp: int = 6144

    @property
    def patches(self) -> int:
        """Patches of a picture."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class QFormerShape:
    """InstructBLIP's question-conditioned BERT."""

    vocabulary: int = 30523
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    positions: int = 512
    queries: int = 32
    cross_every: int = 2


@dataclass(frozen=True)
class ConnectorShape:
    """Visual tokens a frame; without a Q-Former there is no context token."""

    content_tokens: int = 1
    projector_depth: int = 2
    qformer: QFormerShape | None = QFormerShape()


@dataclass(frozen=True)
class FaceShape:
    """FaceXFormer: Swin trunk, fused map, two-way decoder."""

    image_size: int = 224
    patch_size: int = 4
    width: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 7
    mlp_ratio: float = 4.0
    decoder_width: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp: int = 2048


@dataclass(frozen=True)
class FaceInfoShape:
    """Face Info Mining, our reconstruction."""

    tokens: int = 4
    width: int = 256
    heads: int = 8
    grid: int = 4
    mlp: int = 1024


@dataclass(frozen=True)
class UnitsShape:
    """SACL on the last three stages of the face trunk, our reconstruction."""

    units: int
    width: int = 64
    intensity: bool = True


@dataclass(frozen=True)
class LanguageShape:
    """A LLaMA."""

    vocabulary: int = 32000
    width: int = 4096
    mlp: int = 11008
    layers: int = 32
    heads: int = 32
    kv_heads: int = 32
    context: int = 4096
    """Positions it was trained with."""

    @property
    def kv_width(self) -> int:
        """Width of the keys, and of the values."""
        return self.width // self.heads * self.kv_heads

    @property
    def layer_parameters(self) -> int:
        """Numbers in the matrices of one layer."""
        return 2 * self.width * (self.width + self.kv_width) + 3 * self.width * self.mlp

    @property
    def output_parameters(self) -> int:
        """Numbers in the output matrix, and in the table of embeddings."""
        return self.vocabulary * self.width


@dataclass(frozen=True)
class ModelShape:
    """A whole model of the EMO-LLaMA family."""

    vision: VisionShape = VisionShape()
    connector: ConnectorShape = ConnectorShape()
    face: FaceShape | None = FaceShape()
    face_info: FaceInfoShape | None = FaceInfoShape()
    landmark_outputs: int | None = None
    """Numbers of EmoLA's landmark network, whose own work is not counted: the graph is the user's."""
    language: LanguageShape = LanguageShape()
    characters_a_token: float = 4.4
    """Of the prompt. An assumption for LLaMA's tokenizer on English, as it is not ours to ship."""
    characters_a_word: float = 4.5
    """Of the question as BERT's tokenizer cuts it: an assumption, too."""
    tokens_a_label: int = 2
    """An assumption, too: LLaMA's tokenizer cuts most words for emotions in two."""
    units: UnitsShape | None = None
    """Action units on the trunk of the face network."""

    @property
    def tokens_per_frame(self) -> int:
        """Positions that a frame fills: context, content, face or landmark."""
        own = (self.connector.qformer is not None) + self.connector.content_tokens
        return own + (self.face_info.tokens if self.face_info else int(self.landmark_outputs is not None))


def _emo_tiny() -> ModelShape:
    # Counted with the packaged tokenizers on the prompt for seven labels: 384 characters, 88 tokens; 159 and 37.
    return ModelShape(
        VisionShape(112, 14, 160, 6, 5, 480),
        ConnectorShape(4, 2, QFormerShape(384, 128, 3, 4, 256, 128, 8)),
        FaceShape(112, 4, 24, (2, 2, 4, 2), (1, 2, 4, 8), 7, 3.0, 64, 2, 4, 128),
        FaceInfoShape(4, 128, 4, 4, 256),
        None,
        LanguageShape(768, 256, 512, 4, 4, 4, 1024),
        384 / 88,
        159 / 37,
        1,
        UnitsShape(17, 32),
    )


def _emola_7b() -> ModelShape:
    """Sizes of LLaVA-1.5-7B with CLIP ViT-L/14 at 336 px, 23 of its 24 layers, and EmoLA's landmark token."""
    vision = VisionShape(336, 14, 1024, 23, 16, 4096)
    return ModelShape(vision, ConnectorShape(vision.patches, 2, None), None, None, landmark_outputs=212)


SHAPES: dict[str, Callable[[], ModelShape]] = {
    "emo-llama-7b": ModelShape,
    "emola-7b": _emola_7b,
    "emo-tiny": _emo_tiny,
}
"""Models whose sizes are known."""


def known_shape(name: str) -> ModelShape:
    """Return a known model's sizes; raise InputError that lists those there are."""
    if name not in SHAPES:
        raise InputError(
            f"{name!r} is neither a bundle, which is a directory that emo-edge export or demo wrote, "
            f"nor a known shape: {', '.join(SHAPES)}{did_you_mean(name, SHAPES)}"
        )
    return SHAPES[name]()
