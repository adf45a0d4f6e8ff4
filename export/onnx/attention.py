"""Attention as an ONNX graph: two matmuls and a softmax, whose shapes no engine has to compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset20 as op


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Write softmax(scale * query keyᵀ + mask) value, for [..., A, d], [..., B, d], [..., B, d].

    The exporter's own translation transposes the keys by a shape that it reads at run time, which TensorRT parses as
    about fifty layers a block. The scale is the queries' alone: one product instead of two.
    """
    if is_causal or enable_gqa or dropout_p:
        raise NotImplementedError("attention with a causal mask, groups of queries or dropout is not exported")
    axes = list(range(len(key.shape)))
    factor: Any = op.Constant(value_float=scale if scale is not None else float(query.shape[-1]) ** -0.5)
    scores = op.MatMul(
        op.Mul(query, op.CastLike(factor, query)),
        op.Transpose(key, perm=[*axes[:-2], axes[-1], axes[-2]]),
    )
    if attn_mask is not None:
        scores = op.Add(scores, attn_mask)
    return op.MatMul(op.Softmax(scores, axis=-1), value)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.scaled_dot_product_attention.default: _attention
}
"""Translations of the exporter that are replaced, by torch's operator."""
