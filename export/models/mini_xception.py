"""A small Xception for expressions: separable convolutions with a residual each, no dense layer.

``mini_XCEPTION`` of oarriaga/face_classification (``src/models/cnn.py``; Arriaga, Valdenegro-Toro and Ploeger,
"Real-time Convolutional Neural Networks for Emotion and Gender Classification", 2017). Keras' ``same`` padding puts the
odd pixel to the right and below.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_edge.export.configs.networks import MiniXceptionConfig

LUMA = (0.299, 0.587, 0.114)
"""Grey of red, green and blue (ITU-R BT.601), as OpenCV computes it."""


class BatchNorm(nn.Module):
    """Batch normalisation with the statistics of training, and no counter among its weights."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, values: Tensor) -> Tensor:
        """Normalise the channels of [N, C, H, W]."""
        return F.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class SeparableConv(nn.Module):
    """A convolution of each channel by itself, then one of all channels at each pixel; neither has a bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """Convolve [N, C, H, W]."""
        result: Tensor = self.pointwise(self.depthwise(values))
        return result


class Block(nn.Module):
    """Two separable convolutions and a pooling that halves the picture, beside a convolution of stride two."""

    def __init__(self, inputs: int, outputs: int, eps: float) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.shortcut_norm = BatchNorm(outputs, eps)
        self.conv1, self.norm1 = SeparableConv(inputs, outputs), BatchNorm(outputs, eps)
        self.conv2, self.norm2 = SeparableConv(outputs, outputs), BatchNorm(outputs, eps)

    def forward(self, values: Tensor) -> Tensor:
        """Halve [N, C, H, W], sizes rounded up."""
        inner = F.relu(self.norm1(self.conv1(values)))
        inner = _pooled(self.norm2(self.conv2(inner)))
        result: Tensor = inner + self.shortcut_norm(self.shortcut(values))
        return result


class MiniXception(nn.Module):
    """Logits of the labels from a normalised grey picture."""

    def __init__(self, config: MiniXceptionConfig, labels: int) -> None:
        super().__init__()
        eps, widths = config.batch_norm_eps, (config.stem_width, *config.widths)
        self.stem1 = nn.Conv2d(1, config.stem_width, 3, bias=False)
        self.stem1_norm = BatchNorm(config.stem_width, eps)
        self.stem2 = nn.Conv2d(config.stem_width, config.stem_width, 3, bias=False)
        self.stem2_norm = BatchNorm(config.stem_width, eps)
        self.blocks = nn.ModuleList(Block(*pair, eps) for pair in itertools.pairwise(widths))
        self.head = nn.Conv2d(widths[-1], labels, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute logits [N, labels] of ``pixels`` [N, 1, H, W]."""
        values = F.relu(self.stem1_norm(self.stem1(pixels)))
        values = F.relu(self.stem2_norm(self.stem2(values)))
        for block in self.blocks:
            values = block(values)
        return torch.mean(self.head(values), (2, 3))


class GreyPixels(nn.Module):
    """uint8 RGB [N, H, W, 3] to normalised grey float32 [N, 1, H, W]."""

    luma: Tensor

    def __init__(self, config: MiniXceptionConfig) -> None:
        super().__init__()
        self.mean, self.std = config.image_mean, config.image_std
        self.register_buffer("luma", torch.tensor(LUMA), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Normalise pictures."""
        grey = (image.float() * self.luma).sum(-1)
        return ((grey / 255 - self.mean) / self.std).unsqueeze(1)


def _pooled(values: Tensor) -> Tensor:
    """Take maxima over 3 x 3 at every second pixel of square pictures, rounded up and padded as Keras does."""
    return F.max_pool2d(values, 3, stride=2, padding=values.shape[-1] % 2, ceil_mode=True)
