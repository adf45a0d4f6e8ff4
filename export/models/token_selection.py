"""A budget of visual tokens: the patches that the class token attends to most, and the others merged by their keys.

The rule is VisionZip's (Yang et al., CVPR 2025, arXiv 2412.04467), which needs no training. It reads the last layer of
the tower that is kept; of its heads the mean counts. Of ``kept`` tokens 27 in 32 are the class token and the patches
that it attends to most, in the picture's order; behind them come the merged ones: every so many of the other patches
begins a group, each of the rest joins the group whose key is most like its own, and a group's token is its first
patch plus the mean of those that joined.

Every number of tokens is a constant of the graph, so that engines with fixed shapes run it. Which tokens are chosen
is computed in float32 in every precision of the connector: the sums of likenesses are no matrix product, which is what
lower precisions round.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MERGED_IN_32 = 5
"""Of 32 tokens; VisionZip's 64, 128 and 192 tokens have 10, 20 and 30 merged ones."""


class Selection(NamedTuple):
    """Tensors that tokens are chosen by, under the names of a vision graph's outputs."""

    class_attention: Tensor
    """Attention of the class token to each patch, mean of the heads: [N, P]."""
    keys: Tensor
    """Key of each patch, mean of the heads: [N, P, d]."""


def selection(class_query: Tensor, keys: Tensor, num_heads: int) -> Selection:
    """Return what tokens are chosen by.

    Args:
        class_query: the class token's projected query [N, 1, D].
        keys: projected keys of the class token and P patches, [N, 1 + P, D].
        num_heads: that share D.
    """
    query, key = (torch.unflatten(part, -1, (num_heads, -1)).transpose(1, 2) for part in (class_query, keys))
    scores = (query * key.shape[-1] ** -0.5) @ key.transpose(2, 3)
    attention = scores.softmax(-1).mean(1)[:, 0, 1:]
    return Selection(attention, key.mean(1)[:, 1:])


def merged_tokens(kept: int) -> int:
    """Return how many of the kept tokens are merged ones."""
    return kept * MERGED_IN_32 // 32


def select_tokens(features: Tensor, chosen_by: Selection, kept: int) -> Tensor:
    """Return ``kept`` tokens [N, kept, D] of a tower's features [N, 1 + P, D], whose first is the class token."""
    merged, patches = merged_tokens(kept), features[:, 1:]
    attended, others = split_patches(chosen_by.class_attention, kept - merged - 1)
    tokens = [features[:, :1], _gathered(patches, attended)]
    if merged:
        tokens.append(merge(_gathered(patches, others), _gathered(chosen_by.keys, others), merged))
    return torch.cat(tokens, dim=1)


def split_patches(attention: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the ``count`` most attended patches, and of all others, each in the picture's order.

    Args:
        attention: [N, P].
        count: at most P.

    Returns:
        int64 [N, count] and [N, P - count].

    """
    places = torch.arange(attention.shape[1], device=attention.device)
    top = attention.topk(count, dim=1).indices
    is_top = (top[:, :, None] == places).sum(1)
    # Those that are to come first have the largest numbers; no two are the same.
    order = places.to(torch.float32)
    last = attention.shape[1]
    first, second = (
        (-order - last * skipped).topk(size, dim=1).indices
        for skipped, size in ((1 - is_top, count), (is_top, last - count))
    )
    return first, second


def merge(tokens: Tensor, keys: Tensor, count: int) -> Tensor:
    """Merge R tokens [N, R, D] to ``count`` ones [N, count, D] by their keys [N, R, d]."""
    size = tokens.shape[1]
    begin = list(range(0, size, max(1, size // count)))[:count]
    joins = [place for place in range(size) if place not in begin]
    targets, rest = torch.tensor(begin, device=tokens.device), torch.tensor(joins, device=tokens.device)
    unit = keys / keys.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    likeness = (unit.index_select(1, rest)[:, :, None] * unit.index_select(1, targets)[:, None]).sum(-1)
    group = likeness.argmax(2)
    belongs = (group[:, :, None] == torch.arange(count, device=tokens.device)).to(tokens.dtype)
    mean = belongs.transpose(1, 2) @ tokens.index_select(1, rest) / belongs.sum(1).clamp(min=1)[:, :, None]
    merged: Tensor = tokens.index_select(1, targets) + mean
    return merged


def _gathered(rows: Tensor, places: Tensor) -> Tensor:
    """Return the rows of [N, P, D] at places [N, K]: [N, K, D]."""
    return rows.gather(1, places[:, :, None].expand(-1, -1, rows.shape[2]))
