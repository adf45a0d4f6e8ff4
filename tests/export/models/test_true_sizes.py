"""The published sizes on the meta device: parameter counts, key names, and loading without a second copy."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import nn

from emo_edge.export.configs.networks import (
    ConnectorConfig,
    FaceConfig,
    FaceInfoConfig,
    QFormerConfig,
    VisionConfig,
)
from emo_edge.export.models.clip_vit import ClipVit
from emo_edge.export.models.connector import Connector
from emo_edge.export.models.eva_vit import EvaVit
from emo_edge.export.models.face_info_mining import FaceInfoMining
from emo_edge.export.models.facexformer import FaceXFormer
from emo_edge.export.models.qformer import QFormer

SWIN_B_FINAL_NORM = 2 * 1024
SWIN_DEPTHS = (2, 2, 18, 2)


def meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build()


def count(module: nn.Module) -> int:
    return sum(part.numel() for part in module.parameters())


def affine(*names: str) -> list[str]:
    return [f"{name}.{part}" for name in names for part in ("weight", "bias")]


def below(prefix: str, names: Iterable[str]) -> list[str]:
    return [f"{prefix}.{name}" for name in names]


@pytest.mark.parametrize(("image_size", "parameters"), [(224, 985_894_528), (336, 986_345_088)])
def test_eva_vit(image_size: int, parameters: int) -> None:
    tower = meta(lambda: EvaVit(VisionConfig(image_size=image_size)))
    assert count(tower) == parameters
    block = ["attn.q_bias", "attn.v_bias", "attn.qkv.weight"]
    block += affine("norm1", "norm2", "attn.proj", "mlp.fc1", "mlp.fc2")
    expected = ["cls_token", "pos_embed", *affine("patch_embed.proj")]
    for index in range(39):
        expected += below(f"blocks.{index}", block)
    assert sorted(tower.state_dict()) == sorted(expected)
    assert tuple(tower.state_dict()["blocks.0.attn.qkv.weight"].shape) == (4224, 1408)


def test_clip_vit() -> None:
    sizes = {"image_size": 336, "hidden_size": 1024, "num_layers": 23, "num_heads": 16, "mlp_size": 4096}
    tower = meta(lambda: ClipVit(VisionConfig(tower="clip", **sizes)))
    assert count(tower) == 290_909_184
    layer = affine("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2")
    layer += affine(*(f"self_attn.{part}_proj" for part in ("q", "k", "v", "out")))
    expected = ["class_embedding", "patch_embedding.weight", "position_embedding.weight"]
    expected = [*below("embeddings", expected), *affine("pre_layrnorm")]
    for index in range(23):
        expected += below(f"encoder.layers.{index}", layer)
    assert sorted(tower.state_dict()) == sorted(expected)


def qformer_keys() -> list[str]:
    attention = affine("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
    ffn = affine("intermediate.dense", "output.dense", "output.LayerNorm")
    ffn += affine("intermediate_query.dense", "output_query.dense", "output_query.LayerNorm")
    keys = ["word_embeddings.weight", "position_embeddings.weight", *affine("LayerNorm")]
    keys = below("bert.embeddings", keys)
    for index in range(12):
        layer = below("attention", attention) + ffn + (below("crossattention", attention) if index % 2 == 0 else [])
        keys += below(f"bert.encoder.layer.{index}", layer)
    return keys


def test_qformer() -> None:
    qformer = meta(lambda: QFormer(QFormerConfig(), 1408))
    assert count(qformer) == 185_660_160
    state = qformer.state_dict()
    assert sorted(state) == sorted(qformer_keys())
    assert tuple(state["bert.encoder.layer.10.crossattention.self.key.weight"].shape) == (768, 1408)


def test_connector() -> None:
    connector = meta(lambda: Connector(ConnectorConfig(), VisionConfig(), 4096))
    assert {name: count(part) for name, part in connector.named_children()} == {
        "mm_projector": 22_552_576,
        "vlm_att_ln": 2_816,
        "vlm_att_encoder": 185_660_160,
        "vlm_att_projector": 1_082_752,
        "vlm_att_key_projector": 1_983_872,
        "vlm_att_val_projector": 5_771_264,
    }
    state = connector.state_dict()
    assert tuple(state["vlm_att_query"].shape) == (1, 32, 768)
    expected = ["vlm_att_query", *affine("mm_projector.0", "mm_projector.2", "vlm_att_ln", "vlm_att_projector")]
    expected += affine("vlm_att_key_projector", "vlm_att_val_projector") + below("vlm_att_encoder", qformer_keys())
    assert sorted(state) == sorted(expected)


def facexformer_keys() -> list[str]:
    keys = affine("backbone.0.0.0", "backbone.0.0.2")
    block = ["attn.relative_position_bias_table"]
    block += affine("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.0", "mlp.3")
    for stage, depth in enumerate(SWIN_DEPTHS):
        for index in range(depth):
            keys += below(f"backbone.0.{2 * stage + 1}.{index}", block)
    for merge in (2, 4, 6):
        keys += below(f"backbone.0.{merge}", ["reduction.weight", *affine("norm")])
    keys += ["pe_layer.positional_encoding_gaussian_matrix", "linear_fuse.weight"]
    keys += affine(*(f"linear_c.{stage}.proj" for stage in range(4)))
    return keys + below("face_decoder", decoder_keys())


def decoder_keys() -> list[str]:
    tasks = ("landmarks", "pose", "attribute", "visibility", "age", "gender", "race")
    projections = affine("q_proj", "k_proj", "v_proj", "out_proj")
    keys = ["mask_tokens.weight", *(f"{task}_token.weight" for task in tasks)]
    for layer in ("transformer.layers.0", "transformer.layers.1"):
        for name in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token"):
            keys += below(f"{layer}.{name}", projections)
        keys += below(layer, affine("norm1", "norm2", "norm3", "norm4", "mlp.lin1", "mlp.lin2"))
    keys += below("transformer.final_attn_token_to_image", projections) + affine("transformer.norm_final_attn")
    keys += affine("output_upscaling.0", "output_upscaling.1", "output_upscaling.3")
    for name in ("output_hypernetwork_mlps", *(f"{task}_prediction_head" for task in tasks)):
        keys += affine(*(f"{name}.layers.{layer}" for layer in range(3)))
    return keys


def test_facexformer() -> None:
    face = meta(lambda: FaceXFormer(FaceConfig()))
    # Upstream's 91,985,943 are parameters alone (no Fourier buffer, no index buffers) and include the final norm.
    assert count(face) == 91_985_943 - SWIN_B_FINAL_NORM
    parts: Any = face
    assert count(parts.backbone) == 86_743_224 - SWIN_B_FINAL_NORM
    assert count(parts.linear_c) == 492_544
    assert count(parts.linear_fuse) == 262_144
    assert count(parts.face_decoder.transformer) == 3_291_264
    assert count(parts.face_decoder.output_upscaling) == 73_952
    state = face.state_dict()
    assert sorted(state) == sorted(facexformer_keys())
    assert tuple(state["pe_layer.positional_encoding_gaussian_matrix"].shape) == (2, 128)
    assert tuple(state["linear_fuse.weight"].shape) == (256, 1024, 1, 1)
    assert tuple(state["face_decoder.output_upscaling.0.weight"].shape) == (256, 64, 2, 2)


def test_facexformer_keys_of_the_page_without_what_is_left_out() -> None:
    left_out = ("relative_position_index", "backbone.1.")
    assert not [key for key in meta(lambda: FaceXFormer(FaceConfig())).state_dict() if any(x in key for x in left_out)]


VISION = VisionConfig(image_size=28, patch_size=7, hidden_size=16, num_layers=2, num_heads=2, mlp_size=32)
QFORMER = QFormerConfig(vocab_size=30, hidden_size=16, num_layers=2, num_heads=2, mlp_size=32, num_queries=4)
FACE = FaceConfig(
    image_size=32,
    embed_dim=8,
    depths=(2, 1, 1, 1),
    num_heads=(1, 2, 2, 4),
    window_size=4,
    decoder_dim=16,
    decoder_heads=2,
    decoder_mlp_size=32,
)
FACE_INFO = FaceInfoConfig(hidden_size=16, num_heads=2, mlp_size=32, global_grid=2)


def sample_inputs() -> dict[str, tuple[Callable[[], nn.Module], tuple[torch.Tensor, ...]]]:
    torch.manual_seed(0)
    ids, mask = torch.randint(0, 30, (2, 5)), torch.ones(2, 5, dtype=torch.long)
    return {
        "eva_vit": (lambda: EvaVit(VISION), (torch.randn(2, 3, 28, 28),)),
        "connector": (
            lambda: Connector(ConnectorConfig(qformer=QFORMER), VISION, 24),
            (torch.randn(2, 17, 16), ids, mask),
        ),
        "facexformer": (lambda: FaceXFormer(FACE), (torch.randn(2, 3, 32, 32),)),
        "face_info": (
            lambda: FaceInfoMining(FACE_INFO, 16, 24),
            (torch.randn(2, 16, 8, 8), torch.rand(2, 68, 2) * 2 - 1),
        ),
    }


@pytest.mark.parametrize("name", ["eva_vit", "connector", "facexformer", "face_info"])
def test_loads_onto_the_meta_device_by_assignment(name: str) -> None:
    build, inputs = sample_inputs()[name]
    original, loaded = build(), meta(build)
    loaded.load_state_dict(original.state_dict(), assign=True)
    assert not [key for key, value in [*loaded.named_parameters(), *loaded.named_buffers()] if value.is_meta]
    actual, expected = loaded(*inputs), original(*inputs)
    for one, other in zip(actual, expected, strict=True):
        assert torch.equal(one, other)
