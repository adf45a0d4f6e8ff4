"""The sizes that a plan knows without a checkpoint are those of a checkpoint's ``config.json``."""

from __future__ import annotations

import pytest

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.bundle.model_shape import (
    ConnectorShape,
    FaceInfoShape,
    FaceShape,
    LanguageShape,
    QFormerShape,
    VisionShape,
    known_shape,
)
from emo_edge.export.configs.checkpoint import EmoLlamaConfig


@pytest.mark.parametrize("name", ["emo-llama-7b", "emo-tiny"])
def test_a_known_shape_is_its_config(name: str) -> None:
    config = EmoLlamaConfig() if name == "emo-llama-7b" else EmoLlamaConfig.from_pretrained(packaged_checkpoint(name))
    shape, vision, language, connector = known_shape(name), config.vision, config.language, config.connector
    assert shape.vision == VisionShape(
        vision.image_size, vision.patch_size, vision.hidden_size, vision.num_layers, vision.num_heads, vision.mlp_size
    )
    bert = connector.qformer
    assert bert is not None
    assert shape.connector == ConnectorShape(
        (connector.pool_grid or vision.grid) ** 2,
        connector.projector_depth,
        QFormerShape(
            bert.vocab_size, bert.hidden_size, bert.num_layers, bert.num_heads, bert.mlp_size, bert.max_positions,
            bert.num_queries, bert.cross_attention_every,
        ),
    )  # fmt: skip
    assert shape.language == LanguageShape(
        language.vocab_size, language.hidden_size, language.intermediate_size, language.num_hidden_layers,
        language.num_attention_heads, language.num_key_value_heads, language.max_position_embeddings,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["emo-llama-7b", "emo-tiny"])
def test_a_known_face_shape_is_its_config(name: str) -> None:
    config = EmoLlamaConfig() if name == "emo-llama-7b" else EmoLlamaConfig.from_pretrained(packaged_checkpoint(name))
    shape, face, info = known_shape(name), config.face, config.face_info
    assert face is not None and info is not None
    assert shape.face == FaceShape(
        face.image_size, face.patch_size, face.embed_dim, face.depths, face.num_heads, face.window_size,
        face.mlp_ratio, face.decoder_dim, face.decoder_depth, face.decoder_heads, face.decoder_mlp_size,
    )  # fmt: skip
    assert shape.face_info == FaceInfoShape(
        info.num_tokens, info.hidden_size, info.num_heads, info.global_grid, info.mlp_size
    )
