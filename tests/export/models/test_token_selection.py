"""Tokens that stand for all patches of a picture: the rule of VisionZip, step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emo_edge.export.configs.networks import VisionConfig
from emo_edge.export.models.clip_vit import ClipVit
from emo_edge.export.models.eva_vit import EvaVit
from emo_edge.export.models.token_selection import (
    Selection,
    merge,
    merged_tokens,
    select_tokens,
    selection,
    split_patches,
)

PATCHES, WIDTH, KEY = 576, 24, 8


def inputs(seed: int = 0) -> tuple[torch.Tensor, Selection]:
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 1 + PATCHES, WIDTH, generator=draw)
    attention = torch.rand(2, PATCHES, generator=draw).softmax(-1)
    return features, Selection(attention, torch.randn(2, PATCHES, KEY, generator=draw))


def by_hand(features: np.ndarray, attention: np.ndarray, keys: np.ndarray, kept: int, merged: int) -> np.ndarray:
    """One picture, as the method's paper tells it, patch by patch."""
    patches = features[1:]
    top = sorted(np.argsort(-attention, kind="stable")[: kept - merged - 1])
    others = [place for place in range(len(patches)) if place not in top]
    beginners = others[:: max(1, len(others) // merged)][:merged]
    groups: list[list[int]] = [[] for _ in beginners]
    for place in others:
        if place not in beginners:
            likeness = [keys[place] @ keys[one] / np.linalg.norm(keys[one]) for one in beginners]
            groups[int(np.argmax(likeness))].append(place)
    tokens = [
        patches[first] + (patches[group].mean(0) if group else 0)
        for first, group in zip(beginners, groups, strict=True)
    ]
    return np.stack([features[0], *patches[top], *tokens])


@pytest.mark.parametrize(("kept", "merged"), [(64, 10), (128, 20), (192, 30)])
def test_the_published_numbers_of_tokens(kept: int, merged: int) -> None:
    features, chosen_by = inputs()
    assert merged_tokens(kept) == merged
    tokens = select_tokens(features, chosen_by, kept)
    for row in range(2):
        own = (features[row].numpy(), chosen_by.class_attention[row].numpy(), chosen_by.keys[row].numpy())
        np.testing.assert_allclose(tokens[row].numpy(), by_hand(*own, kept, merged), rtol=1e-5, atol=1e-6)


def test_few_tokens_are_the_class_token_and_the_most_attended_patches() -> None:
    features, chosen_by = inputs()
    tokens = select_tokens(features, chosen_by, 3)
    assert torch.equal(tokens[:, 0], features[:, 0])
    best = chosen_by.class_attention.topk(2).indices.sort().values
    assert torch.equal(tokens[0, 1:], features[0, 1:][best[0]])


def test_patches_of_equal_attention_are_each_taken_once() -> None:
    first, second = split_patches(torch.full((1, 10), 0.1), 4)
    assert first.shape == (1, 4)
    assert sorted([*first[0].tolist(), *second[0].tolist()]) == list(range(10))
    for side in (first, second):
        assert side[0].tolist() == sorted(side[0].tolist())


def test_a_group_that_nobody_joins_keeps_its_first_patch() -> None:
    keys = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    tokens = torch.arange(4.0).reshape(1, 4, 1)
    # Patches 0 and 2 begin groups; 1 and 3 join the first.
    assert merge(tokens, keys, 2).flatten().tolist() == [0.0 + (1.0 + 3.0) / 2, 2.0]


@pytest.mark.parametrize(("tower", "kind"), [(EvaVit, "eva"), (ClipVit, "clip")])
def test_a_tower_gives_the_attention_and_the_keys_of_its_last_layer(tower: type, kind: str) -> None:
    torch.manual_seed(1)
    config = VisionConfig(
        tower=kind, image_size=28, patch_size=7, hidden_size=32, num_layers=2, num_heads=4, mlp_size=48
    )
    model, pixels = tower(config).eval(), torch.randn(2, 3, 28, 28)
    attended: list[tuple[torch.Tensor, torch.Tensor]] = []
    whole = torch.nn.functional.scaled_dot_product_attention

    def watched(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        attended.append((q, k))
        return whole(q, k, v)

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
        expected = model(pixels)
        query, key = attended[-1]
        features, chosen_by = model.with_selection(pixels)
    weights = (query @ key.transpose(2, 3) * 8**-0.5).softmax(-1)
    assert torch.equal(features, expected)
    torch.testing.assert_close(chosen_by.class_attention, weights[:, :, 0, 1:].mean(1))
    torch.testing.assert_close(chosen_by.keys, key[:, :, 1:].mean(1))
    assert chosen_by.class_attention.shape == (2, 16)
    assert chosen_by.keys.shape == (2, 16, 8)


def test_attention_of_the_class_token_leaves_its_own_share_out() -> None:
    torch.manual_seed(0)
    chosen_by = selection(torch.randn(1, 1, 12), torch.randn(1, 6, 12), 3)
    assert 0 < float(chosen_by.class_attention.sum()) < 1
