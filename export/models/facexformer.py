"""FaceXFormer: every face task in one pass (``network/models/facexformer.py``)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_edge.export.configs.networks import FaceConfig
from emo_edge.export.models.init import init_weights
from emo_edge.export.models.swin import SwinTrunk
from emo_edge.export.models.two_way_transformer import TwoWayTransformer
from emo_edge.taxonomy import AGE_BINS, CELEBA_ATTRIBUTES, GENDERS, PARSING_CLASSES, RACES, VISIBILITY_POINTS

HEADS = {
    "landmarks": 136,
    "pose": 3,
    "attribute": len(CELEBA_ATTRIBUTES),
    "visibility": VISIBILITY_POINTS,
    "age": len(AGE_BINS),
    "gender": len(GENDERS),
    "race": len(RACES),
}
"""Output width by head, in the order of the task tokens; the mask tokens follow them."""


class FaceOutputs(NamedTuple):
    """FaceXFormer's outputs for a batch of N face crops; ``map`` is ``FaceConfig.map_size``."""

    landmarks: Tensor
    """[N, 68, 2] x, y in [-1, 1]; pixel = ((p + 1) * size - 1) / 2."""
    pose: Tensor
    """[N, 3] pitch, yaw, roll in radians."""
    attributes: Tensor
    """[N, 40] logits, CelebA order."""
    visibility: Tensor
    """[N, 29] logits, 1 = not visible."""
    age: Tensor
    """[N, 8] logits."""
    gender: Tensor
    """[N, 2] logits."""
    race: Tensor
    """[N, 5] logits."""
    segmentation: Tensor | None
    """[N, 11, 4 * map, 4 * map] logits; None if it was not asked for."""
    face_map: Tensor
    """[N, C, map, map], the fused map that Face Info Mining reads."""


class PositionEncoding(nn.Module):
    """SAM's random Fourier encoding; the frequencies are random, so they are part of the checkpoint."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, height: int, width: int) -> Tensor:
        """Return [height * width, dim] float32: sines, then cosines, of the pixel centres in [-1, 1]."""
        frequencies = self.positional_encoding_gaussian_matrix.float()
        y, x = (self._centres(size) for size in (height, width))
        # No matmul here: autocast would round the angles to bfloat16.
        angles = 2 * math.pi * (y[:, None, None] * frequencies[1] + x[None, :, None] * frequencies[0])
        return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(0, 1)

    def _centres(self, size: int) -> Tensor:
        steps = torch.arange(size, device=self.positional_encoding_gaussian_matrix.device, dtype=torch.float32)
        return (2 * steps + 1) / size - 1


class StageProjection(nn.Module):
    """Bring one stage's map to the decoder's width."""

    def __init__(self, input_size: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(input_size, dim)

    def forward(self, stage: Tensor) -> Tensor:
        """Map [N, C, h, w] to [N, h, w, dim]."""
        return self.proj(stage.permute(0, 2, 3, 1))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Three linears with ReLU between."""

    def __init__(self, dim: int, output_size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, output_size)])

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., dim] to [..., output_size]."""
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(x)))))  # type: ignore[no-any-return]


class FaceDecoder(nn.Module):
    """Task tokens, two-way transformer, one head per task, masks by hyper-network."""

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        dim = config.decoder_dim
        self.transformer = TwoWayTransformer(config)
        for name, width in HEADS.items():
            self.add_module(f"{name}_token", nn.Embedding(1, dim))
            self.add_module(f"{name}_prediction_head", Mlp(dim, width))
        self.mask_tokens = nn.Embedding(len(PARSING_CLASSES), dim)
        # Run channels-last by `segment`, where SAM's LayerNorm2d is a plain LayerNorm.
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, stride=2),
            nn.LayerNorm(dim // 4, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetwork_mlps = Mlp(dim, dim // 8)

    def tokens(self) -> Tensor:
        """Return the learned tokens [18, dim]: seven tasks, then eleven masks."""
        tasks = [self.get_parameter(f"{name}_token.weight") for name in HEADS]
        return torch.cat([*tasks, self.mask_tokens.weight])

    def forward(self, image: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens [N, 18, dim] and pixels [N, P, dim] from pixels and their encoding [P, dim]."""
        tokens = self.tokens().expand(image.shape[0], -1, -1)
        tokens, image = self.transformer(image, image_pe.to(image.dtype), tokens)
        return tokens, image

    def predict(self, tokens: Tensor) -> dict[str, Tensor]:
        """Return each head's output [N, width] by its name in ``HEADS``."""
        return {
            name: self.get_submodule(f"{name}_prediction_head")(tokens[:, place]) for place, name in enumerate(HEADS)
        }

    def segment(self, tokens: Tensor, image: Tensor, height: int, width: int) -> Tensor:
        """Return mask logits [N, 11, 4 * height, 4 * width] from tokens [N, 18, dim] and pixels [N, P, dim]."""
        coarse, norm, gelu, fine, _ = self.output_upscaling
        pixels = gelu(norm(_upscale(image, coarse)))
        pixels = gelu(_upscale(pixels, fine)).flatten(1, 3)
        masks = self.output_hypernetwork_mlps(tokens[:, len(HEADS) :]) @ pixels.transpose(1, 2)
        # [N, 11, P, coarse cell, fine cell] -> cells as channels, the coarse one innermost for the first shuffle
        cells = torch.unflatten(masks, 2, (height * width, 4, 4)).permute(0, 1, 4, 3, 2)
        cells = torch.unflatten(cells.flatten(1, 3), 2, (height, width))
        return F.pixel_shuffle(F.pixel_shuffle(cells, 2), 2)


class FaceXFormer(nn.Module):
    """Swin trunk, fused map and face decoder; all outputs in one pass, without upstream's hooks and task filter."""

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        dim = config.decoder_dim
        self.backbone = SwinTrunk(config)
        self.pe_layer = PositionEncoding(dim)
        stages = range(len(config.depths))
        self.linear_c = nn.ModuleList(StageProjection(config.embed_dim << stage, dim) for stage in stages)
        self.linear_fuse = nn.Conv2d(dim * len(stages), dim, 1, bias=False)
        self.face_decoder = FaceDecoder(config)
        init_weights(self)
        self._init_tokens()

    def _init_tokens(self) -> None:
        # Unit variance as upstream's nn.Embedding: the tokens double as their own position encoding.
        for part in self.face_decoder.children():
            if isinstance(part, nn.Embedding):
                nn.init.normal_(part.weight)

    def forward(self, pixels: Tensor, with_segmentation: bool = True) -> FaceOutputs:
        """Return every output for each crop.

        Args:
            pixels: [N, 3, H, W] float, normalised with the config's mean and std.
            with_segmentation: False skips the upscaling; ``segmentation`` is then None.

        """
        return self.decode(self.backbone(pixels), with_segmentation)

    def decode(self, stages: list[Tensor], with_segmentation: bool = True) -> FaceOutputs:
        """Return every output from the trunk's four stage maps."""
        face_map = self.fuse(stages)
        _, _, height, width = face_map.shape
        image_pe = self.pe_layer(height, width)
        tokens, image = self.face_decoder(face_map.flatten(2).transpose(1, 2), image_pe)
        heads = self.face_decoder.predict(tokens)
        return FaceOutputs(
            landmarks=torch.unflatten(heads["landmarks"], 1, (68, 2)),
            pose=heads["pose"],
            attributes=heads["attribute"],
            visibility=heads["visibility"],
            age=heads["age"],
            gender=heads["gender"],
            race=heads["race"],
            segmentation=self.face_decoder.segment(tokens, image, height, width) if with_segmentation else None,
            face_map=face_map,
        )

    def fuse(self, stages: list[Tensor]) -> Tensor:
        """Return the fused map [N, dim, h1, w1] from the four stage maps.

        Upstream resizes (bilinear, half-pixel centres), concatenates s4, s3, s2, s1 and projects with a 1x1
        convolution. Each stage is projected before it is resized here: both are linear and the resize's weights
        add up to one, so the result is the same, for a quarter of the multiplications.
        """
        size = stages[0].shape[2:]
        weights = self.linear_fuse.weight.flatten(1).chunk(len(stages), dim=1)[::-1]
        parts = [
            F.linear(project(stage), weight).permute(0, 3, 1, 2)
            for stage, project, weight in zip(stages, self.linear_c, weights, strict=True)
        ]
        fused = parts[0]
        for part in parts[1:]:
            fused = fused + F.interpolate(part, size=size, mode="bilinear", align_corners=False)
        return fused


def _upscale(pixels: Tensor, conv: nn.Module) -> Tensor:
    # A 2x2 transposed convolution of stride 2 as one matmul: [..., in] -> [..., 4, out], cells row-major.
    weight, bias = conv.get_parameter("weight"), conv.get_parameter("bias")
    cells = pixels @ weight.permute(0, 2, 3, 1).flatten(1)
    return torch.unflatten(cells, -1, (4, -1)) + bias.to(cells.dtype)
