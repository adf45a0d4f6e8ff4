"""Weights of a model that is trained from scratch, as the demo checkpoint is."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn


def init_weights(module: nn.Module) -> None:
    """Initialise every linear, convolution and embedding below ``module``; leave LayerNorms as they are.

    Linears and convolutions: normal cut at two sigma, sigma ``1/sqrt(inputs)`` (LeCun), which is 0.02 for the 2500
    inputs of a wide layer and lets a 24-wide toy layer start with signals of order one; biases are zero.
    Embeddings: the same with sigma 0.02. Tokens and position tables belong to their owner's constructor.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            _normal(part, part.in_features)
        elif isinstance(part, nn.Conv2d):
            _normal(part, part.in_channels * part.kernel_size[0] * part.kernel_size[1])
        elif isinstance(part, nn.ConvTranspose2d):
            # Kernel 2, stride 2: every output pixel sees one input pixel.
            _normal(part, part.in_channels)
        elif isinstance(part, nn.Embedding):
            nn.init.trunc_normal_(part.weight, std=0.02)


def learned(*shape: int, std: float = 0.02) -> nn.Parameter:
    """Make a learned token or position table of ``shape``, normal with ``std`` cut at two sigma."""
    values = torch.empty(shape)
    nn.init.trunc_normal_(values, std=std, a=-2 * std, b=2 * std)
    return nn.Parameter(values)


def _normal(part: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, inputs: int) -> None:
    sigma = cast(float, inputs**-0.5)
    nn.init.trunc_normal_(part.weight, std=sigma, a=-2 * sigma, b=2 * sigma)
    if part.bias is not None:
        nn.init.zeros_(part.bias)
