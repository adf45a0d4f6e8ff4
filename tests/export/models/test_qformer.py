"""QFormer against transformers' InstructBlipQFormerModel, with padded questions."""

import pytest
import torch
from transformers import InstructBlipQFormerConfig, InstructBlipQFormerModel

from emo_edge.export.configs.networks import QFormerConfig
from emo_edge.export.models.qformer import QFormer

SMALL = QFormerConfig(
    vocab_size=60,
    hidden_size=32,
    num_layers=5,
    num_heads=4,
    mlp_size=72,
    max_positions=20,
    num_queries=6,
    max_question_tokens=16,
)
ENCODER_SIZE = 24


@pytest.fixture
def qformer() -> QFormer:
    torch.manual_seed(0)
    model = QFormer(SMALL, ENCODER_SIZE).eval().requires_grad_(False)
    for part in model.parameters():
        part += torch.randn_like(part) * (0.3 if part.ndim == 1 else 2 * part.shape[-1] ** -0.5)
    return model


@pytest.fixture
def inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    mask = torch.ones(3, 9, dtype=torch.long)
    mask[1, 5:] = 0
    mask[2, 1:] = 0
    return torch.randn(3, 6, 32), torch.randint(0, 60, (3, 9)), mask, torch.randn(3, 17, ENCODER_SIZE)


def reference_of(qformer: QFormer) -> InstructBlipQFormerModel:
    model = InstructBlipQFormerModel(
        InstructBlipQFormerConfig(
            vocab_size=60,
            hidden_size=32,
            num_hidden_layers=5,
            num_attention_heads=4,
            intermediate_size=72,
            max_position_embeddings=20,
            cross_attention_frequency=2,
            encoder_hidden_size=ENCODER_SIZE,
        )
    ).eval()
    state = {
        key.removeprefix("bert.")
        .replace("attention.self.", "attention.attention.")
        .replace("embeddings.LayerNorm", "embeddings.layernorm"): value
        for key, value in qformer.state_dict().items()
    }
    model.load_state_dict(state)
    return model


def test_query_rows_equal_transformers(qformer: QFormer, inputs: tuple[torch.Tensor, ...]) -> None:
    queries, ids, mask, features = inputs
    with torch.no_grad():
        expected = reference_of(qformer)(
            input_ids=ids,
            query_embeds=queries,
            attention_mask=torch.cat([torch.ones(3, 6, dtype=torch.long), mask], dim=1),
            encoder_hidden_states=features,
        ).last_hidden_state[:, :6]
    actual = qformer(*inputs)
    assert actual.shape == (3, 6, 32)
    assert (actual - expected).abs().max() <= 1e-4


def test_padding_is_invisible_and_the_question_is_not(qformer: QFormer, inputs: tuple[torch.Tensor, ...]) -> None:
    queries, ids, mask, features = inputs
    padded, asked = ids.clone(), ids.clone()
    padded[1, 5:] = 7
    asked[1, 4] = (asked[1, 4] + 1) % 60
    actual = qformer(*inputs)
    assert (qformer(queries, padded, mask, features) - actual).abs().max() <= 1e-5
    assert (qformer(queries, asked, mask, features) - actual)[1].abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32])
def test_mask_may_have_any_dtype(qformer: QFormer, inputs: tuple[torch.Tensor, ...], dtype: torch.dtype) -> None:
    queries, ids, mask, features = inputs
    assert torch.equal(qformer(queries, ids, mask.to(dtype), features), qformer(*inputs))


def test_bfloat16_autocast_stays_close(inputs: tuple[torch.Tensor, ...]) -> None:
    # Fresh weights: the sharp attention of the other tests would amplify the rounding.
    torch.manual_seed(0)
    qformer = QFormer(SMALL, ENCODER_SIZE).requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        actual = qformer(*inputs)
    expected = qformer(*inputs)
    assert (actual - expected).norm() / expected.norm() < 0.03
