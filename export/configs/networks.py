"""The sizes and the preprocessing of each network, as data, checked one network at a time.

True sizes and toy sizes are the same classes with other numbers. Defaults are the published sizes:
LLaMA-VID-7B at 224 px (EVA ViT-g/14, 12-layer Q-Former, Vicuna-7B v1.5) and FaceXFormer (Swin-B).
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from emo_edge.export.configs.bounds import (
    MOST_CELLS,
    MOST_PATCHES,
    Epsilon,
    Heads,
    Layers,
    Pixels,
    Positions,
    Ratio,
    RgbScale,
    RopeBase,
    Rows,
    Scale,
    Tokens,
    Width,
    Window,
)
from emo_edge.media.crops import Resample
from emo_edge.utils.settings import Finite, GrowingSection, Mean, Rgb, Section, TokenId, require


class VisionConfig(Section):
    """The image tower without a final norm; a class token stays.

    EVA ViT in LAVIS's layout (LLaMA-VID ``eva_vit.py``), CLIP's or SigLIP's as LLaVA reads it.
    """

    tower: Literal["eva", "clip", "siglip"] = "eva"
    image_size: Pixels = 224
    patch_size: Pixels = 14
    hidden_size: Width = 1408
    num_layers: Layers = 39
    num_heads: Heads = 16
    mlp_size: Width = 6144
    layer_norm_eps: Epsilon = 1e-6
    image_mean: Rgb = (0.48145466, 0.4578275, 0.40821073)
    image_std: RgbScale = (0.26862954, 0.26130258, 0.27577711)
    crop_margin: Annotated[float, Field(ge=0, le=4)] = 0.5
    """Added on each side of the face box, as a share of its width and height."""
    squaring: Literal["centred", "padded", "stretched"] = "padded"
    """Square of a crop that is none: its middle, padded with the mean colour, or stretched."""
    clip_squaring: Literal["centred", "padded"] | None = None
    """The same of a clip's frames; None is that of a picture."""
    resample: Resample = "opencv_area_cubic"
    """Resizing of the crop in training. Importers set it; emo-tiny has the default."""

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def class_tokens(self) -> int:
        """Tokens before the patches."""
        return 0 if self.tower == "siglip" else 1

    @model_validator(mode="after")
    def _sizes_fit(self) -> VisionConfig:
        # SigLIP's 384 pixels are 27 patches of 14 and a rest that nothing reads.
        whole = self.image_size % self.patch_size == 0 or (self.tower == "siglip" and self.grid > 0)
        require(
            (whole, "vision.image_size must be a multiple of patch_size"),
            (self.grid <= MOST_PATCHES, f"vision.image_size must be at most {MOST_PATCHES} times patch_size"),
            (self.hidden_size % self.num_heads == 0, "vision.hidden_size must be a multiple of num_heads"),
        )
        return self


class QFormerConfig(Section):
    """Question-conditioned BERT of InstructBLIP: every second layer cross-attends to the image."""

    vocab_size: Rows = 30523
    hidden_size: Width = 768
    num_layers: Layers = 12
    num_heads: Heads = 12
    mlp_size: Width = 3072
    max_positions: Positions = 512
    cross_attention_every: Layers = 2
    num_queries: Tokens = 32
    layer_norm_eps: Epsilon = 1e-12
    max_question_tokens: Tokens = 256

    @model_validator(mode="after")
    def _sizes_fit(self) -> QFormerConfig:
        limit = self.max_question_tokens
        require(
            (self.hidden_size % self.num_heads == 0, "qformer.hidden_size must be a multiple of num_heads"),
            (limit <= self.max_positions, "qformer.max_question_tokens must not exceed max_positions"),
            (limit > 2, "qformer.max_question_tokens must leave room for a word between [CLS] and [SEP]"),
        )
        return self


LDP, LDP_V2 = "ldpnet", "ldpnetv2"
"""MobileVLM's names of its projectors (``mm_projector_type``)."""
V2_GRID = 12
"""Side of the second's map of tokens."""
FEWEST_KEPT = 2
"""Tokens of a picture that can be kept: the class token and a patch."""


class ConnectorConfig(GrowingSection):
    """Visual tokens a frame: LLaMA-VID's one context token and its compressed content tokens, or LLaVA's patches."""

    newer: ClassVar[tuple[str, ...]] = ("kept_tokens",)

    compress_type: str = "mean"
    """``none`` (every patch), ``mean`` (one token) or ``grid:N`` (N x N average-pooled tokens, N > 1)."""
    projector_type: str = "mlp2x_gelu"
    """``identity``, ``linear``, ``mlp{N}x_gelu``, or MobileVLM's ``ldpnet`` and ``ldpnetv2``, which halve the grid."""
    qformer: QFormerConfig | None = QFormerConfig()
    """Makes the context token; None leaves it out, and no token depends on the question."""
    query_tokens: bool = False
    """True where the tokens are the Q-Former's queries, projected (InstructBLIP), and no patch is one."""
    kept_tokens: Tokens | None = None
    """Tokens that a frame's patches are reduced to, the class token among them; None keeps every patch.

    See `emo_edge.export.models.token_selection`.
    """

    @property
    def pool_grid(self) -> int | None:
        """Side of the pooled token grid; None when every patch stays."""
        if self.compress_type == "none":
            return None
        return 1 if "mean" in self.compress_type else int(self.compress_type.removeprefix("grid:"))

    @property
    def halves(self) -> bool:
        """True where the projector itself leaves a quarter of the tokens."""
        return self.projector_type.startswith("ldpnet")

    @property
    def projector_depth(self) -> int:
        """Linear layers in the projector; 0 for ``identity``."""
        if self.projector_type == "identity":
            return 0
        if self.halves:
            return 2
        match = re.fullmatch(r"mlp(\d+)x_gelu", self.projector_type)
        return int(match.group(1)) if match else 1

    @model_validator(mode="after")
    def _names_known(self) -> ConnectorConfig:
        grid = re.fullmatch(r"grid:([1-9]\d?)", self.compress_type)
        known = self.compress_type == "none" or "mean" in self.compress_type or (grid and int(grid.group(1)) > 1)
        known_projector = re.fullmatch(r"identity|linear|mlp[1-9]x_gelu|ldpnet(v2)?", self.projector_type)
        plain = self.compress_type == "none" and self.qformer is None
        require(
            (bool(known), f"connector.compress_type {self.compress_type!r} is not one of none, mean, grid:N (N > 1)"),
            (
                known_projector is not None,
                f"connector.projector_type {self.projector_type!r} is not one of identity, linear, mlp{{N}}x_gelu, "
                "ldpnet, ldpnetv2",
            ),
            (not self.query_tokens or self.qformer is not None, "connector.query_tokens needs connector.qformer"),
            (plain or not self.halves, "connector.projector_type ldpnet needs compress_type none and no qformer"),
            (
                self.kept_tokens is None or (plain and not self.halves and self.kept_tokens >= FEWEST_KEPT),
                f"connector.kept_tokens needs compress_type none, no qformer, no ldpnet, and {FEWEST_KEPT} or more",
            ),
        )
        return self


class FaceConfig(Section):
    """FaceXFormer: Swin trunk, fused map, two-way decoder (``network/models/facexformer.py``)."""

    image_size: Pixels = 224
    patch_size: Pixels = 4
    embed_dim: Width = 128
    depths: tuple[Layers, Layers, Layers, Layers] = (2, 2, 18, 2)
    num_heads: tuple[Heads, Heads, Heads, Heads] = (4, 8, 16, 32)
    window_size: Window = 7
    mlp_ratio: Ratio = 4.0
    decoder_dim: Width = 256
    decoder_depth: Layers = 2
    decoder_heads: Heads = 8
    decoder_mlp_size: Width = 2048
    image_mean: Rgb = (0.485, 0.456, 0.406)
    image_std: RgbScale = (0.229, 0.224, 0.225)
    crop_margin: Annotated[float, Field(ge=0, le=4)] = 0.25
    resample: Resample = "opencv_area_cubic"

    @property
    def layers(self) -> int:
        """Blocks of the trunk and the decoder."""
        return sum(self.depths) + self.decoder_depth

    @property
    def map_size(self) -> int:
        """Side of the fused feature map."""
        return self.image_size // self.patch_size

    @model_validator(mode="after")
    def _sizes_fit(self) -> FaceConfig:
        widths = [self.embed_dim << stage for stage in range(len(self.num_heads))]
        stages = enumerate(zip(widths, self.num_heads, strict=True), 1)
        require(
            (self.image_size % self.patch_size == 0, "face.image_size must be a multiple of patch_size"),
            (self.map_size <= MOST_CELLS, f"face.image_size must be at most {MOST_CELLS} times patch_size"),
            (self.embed_dim * self.mlp_ratio >= 1, "face.mlp_ratio leaves its feed-forward networks no width"),
            *(
                (width % heads == 0, f"face stage {stage}: width {width} must be a multiple of its {heads} heads")
                for stage, (width, heads) in stages
            ),
            (self.decoder_dim % 8 == 0, "face.decoder_dim must be a multiple of 8 (upscaling and mask heads)"),
            (
                self.decoder_dim % (2 * self.decoder_heads) == 0,
                "face.decoder_dim must be a multiple of 2 x decoder_heads (cross-attention halves the width)",
            ),
        )
        return self


class FaceInfoConfig(Section):
    """Face Info Mining. Our reconstruction: EMO-LLaMA's own module was never released."""

    num_tokens: Tokens = 4
    hidden_size: Width = 256
    num_heads: Heads = 8
    global_grid: Window = 4
    mlp_size: Width = 1024

    @model_validator(mode="after")
    def _sizes_fit(self) -> FaceInfoConfig:
        require((self.hidden_size % self.num_heads == 0, "face_info.hidden_size must be a multiple of num_heads"))
        return self


class LandmarkConfig(Section):
    """EmoLA's landmark token: input and output sizes of ``landmarks.onnx``, which lies next to the weights.

    Its numbers go through a projector of the connector's type.
    """

    image_size: Pixels = 192
    outputs: Width = 212
    crop_margin: Annotated[float, Field(ge=0, le=4)] = 0.25
    resample: Resample = "opencv_area_cubic"


class LanguageConfig(Section):
    """Sizes of a LLaMA or a Qwen2, under transformers' own names but for the first two and ``rope_factor``."""

    architecture: Literal["llama", "qwen2"] = "llama"
    """llama.cpp's name. Qwen2 has biases on queries, keys and values, and a byte-level tokenizer."""
    bos_place: Literal["first", "after_frames", "none"] = "first"
    """Place of the begin-of-sequence token in a prompt."""
    vocab_size: Rows = 32000
    hidden_size: Width = 4096
    intermediate_size: Width = 11008
    num_hidden_layers: Layers = 32
    num_attention_heads: Heads = 32
    num_key_value_heads: Heads = 32
    max_position_embeddings: Positions = 4096
    rms_norm_eps: Epsilon = 1e-5
    rope_theta: RopeBase = 10000.0
    rope_factor: Annotated[float, Field(ge=1, le=1024)] = 1.0
    """Linear scaling of the rotary embedding: positions are divided by it."""
    tie_word_embeddings: bool = False
    """True where the output matrix is the table of embeddings, and is not stored."""
    bos_token_id: TokenId = 1
    eos_token_id: TokenId = 2

    @model_validator(mode="after")
    def _sizes_fit(self) -> LanguageConfig:
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        require(
            (self.hidden_size % (2 * heads) == 0, "language.hidden_size must be an even multiple of its heads (rope)"),
            (heads % kv_heads == 0, "language.num_attention_heads must be a multiple of num_key_value_heads"),
            (self.bos_token_id < self.vocab_size, "language.bos_token_id must be below vocab_size"),
            (self.eos_token_id < self.vocab_size, "language.eos_token_id must be below vocab_size"),
        )
        return self


class MiniXceptionConfig(Section):
    """A small Xception for expressions (Arriaga et al. 2017, ``mini_XCEPTION`` of oarriaga/face_classification)."""

    architecture: Literal["mini_xception"] = "mini_xception"
    image_size: Pixels = 64
    stem_width: Width = 8
    """Channels of the first two convolutions."""
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] = (16, 32, 64, 128)
    """Channels of each block; a block halves the picture."""
    batch_norm_eps: Epsilon = 1e-3
    image_mean: Mean = 0.5
    image_std: Scale = 0.5
    """Of the grey picture in [0, 1]."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> MiniXceptionConfig:
        require((self.image_size > 4, "network.image_size must be above 4: two convolutions take four pixels"))
        return self


class OnnxGraphConfig(Section):
    """A user's own ONNX graph of labels, ``network.onnx`` next to the config, and how it reads a picture.

    Pixels are divided by ``pixel_scale``, then normalised, in the order of the network's own channels.
    """

    architecture: Literal["onnx_graph"]
    image_size: Pixels
    outputs: Width
    """Columns of the graph's output: labels, then values; others behind them are cut."""
    layout: Literal["nchw", "nhwc"] = "nchw"
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    pixel_scale: Scale = 255.0
    image_mean: Annotated[tuple[Finite, ...], Field(min_length=1, max_length=3)]
    image_std: Annotated[tuple[Scale, ...], Field(min_length=1, max_length=3)]

    @property
    def channel_count(self) -> int:
        """Channels that the network reads."""
        return 1 if self.channels == "grey" else 3

    @model_validator(mode="after")
    def _one_number_a_channel(self) -> OnnxGraphConfig:
        fits = len(self.image_mean) == len(self.image_std) == self.channel_count
        text = f"network.image_mean and image_std need {self.channel_count} number(s): channels are {self.channels}"
        require((fits, text))
        return self
