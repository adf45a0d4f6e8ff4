"""Q-Former: InstructBLIP's question-conditioned BERT, under LAVIS's key names (``Qformer.py``)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_edge.export.configs.networks import QFormerConfig
from emo_edge.export.models.init import init_weights

MASKED = -10000.0
"""Added to the score of a padded text token, as BERT does; it stays finite in float16."""


class SelfProjections(nn.Module):
    """Query, key and value of one attention; keys and values may come from a wider source."""

    def __init__(self, config: QFormerConfig, source_size: int) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(source_size, config.hidden_size)
        self.value = nn.Linear(source_size, config.hidden_size)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from [N, A, d] to [N, B, source] with an additive mask [N, 1, 1, B]; return [N, A, d]."""
        q, k, v = self._heads(self.query(x)), self._heads(self.key(source)), self._heads(self.value(source))
        mask = None if mask is None else mask.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)

    def _heads(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.num_heads, -1)).transpose(1, 2)


class ResidualOutput(nn.Module):
    """BERT's sub-layer end: linear, residual, LayerNorm."""

    def __init__(self, config: QFormerConfig, input_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(input_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Map [..., input_size] and the residual [..., d] to [..., d]."""
        return self.LayerNorm(self.dense(x) + residual)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """BERT attention with its output sub-layer; ``self`` and ``output`` are the upstream names."""

    def __init__(self, config: QFormerConfig, source_size: int) -> None:
        super().__init__()
        self.self = SelfProjections(config, source_size)
        self.output = ResidualOutput(config, config.hidden_size)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from [N, A, d] to [N, B, source]; return [N, A, d]."""
        return self.output(self.self(x, source, mask), x)  # type: ignore[no-any-return]


class Intermediate(nn.Module):
    """The widening half of the feed-forward network, with the exact GELU."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.mlp_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d] to [..., mlp_size]."""
        return F.gelu(self.dense(x))


class Layer(nn.Module):
    """One BERT layer with separate feed-forward networks for query rows and text rows."""

    def __init__(self, config: QFormerConfig, index: int, encoder_hidden_size: int) -> None:
        super().__init__()
        self.attention = Attention(config, config.hidden_size)
        crosses = index % config.cross_attention_every == 0
        self.crossattention = Attention(config, encoder_hidden_size) if crosses else None
        self.intermediate = Intermediate(config)
        self.output = ResidualOutput(config, config.mlp_size)
        self.intermediate_query = Intermediate(config)
        self.output_query = ResidualOutput(config, config.mlp_size)
        self.is_last = index == config.num_layers - 1

    def forward(self, queries: Tensor, text: Tensor, mask: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Update queries [N, Q, d] and text [N, L, d]; the last layer leaves the text, which nothing reads."""
        both = torch.cat([queries, text], dim=1)
        mixed = self.attention(queries if self.is_last else both, both, mask)
        rows = queries.shape[1]
        queries, text_rows = mixed[:, :rows], mixed[:, rows:]
        if self.crossattention is not None:
            queries = self.crossattention(queries, features)
        queries = self.output_query(self.intermediate_query(queries), queries)
        if self.is_last:
            return queries, text
        return queries, self.output(self.intermediate(text_rows), text_rows)


class Embeddings(nn.Module):
    """Word and position embeddings; the queries join before the LayerNorm and have no position."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_positions, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, queries: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalised queries [N, Q, d] and text [N, L, d] from queries and ids [N, L] int64."""
        words = self.word_embeddings(ids) + self.position_embeddings.weight[: ids.shape[1]]
        return self.LayerNorm(queries), self.LayerNorm(words)


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: QFormerConfig, encoder_hidden_size: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config, index, encoder_hidden_size) for index in range(config.num_layers))

    def forward(self, queries: Tensor, text: Tensor, mask: Tensor, features: Tensor) -> Tensor:
        """Return the query rows of the last hidden state, [N, Q, d]."""
        for layer in self.layer:
            queries, text = layer(queries, text, mask, features)
        return queries


class Bert(nn.Module):
    """The part that upstream's keys call ``bert``: embeddings and encoder, no pooler."""

    def __init__(self, config: QFormerConfig, encoder_hidden_size: int) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config, encoder_hidden_size)


class QFormer(nn.Module):
    """Let learned queries read the image features while they attend to the question (InstructBLIP)."""

    def __init__(self, config: QFormerConfig, encoder_hidden_size: int) -> None:
        super().__init__()
        self.bert = Bert(config, encoder_hidden_size)
        init_weights(self)

    def forward(self, queries: Tensor, question_ids: Tensor, question_mask: Tensor, features: Tensor) -> Tensor:
        """Return the query rows of the last hidden state.

        Args:
            queries: [N, Q, d] float.
            question_ids: [N, L] int64, WordPiece ids.
            question_mask: [N, L] int64, bool or float; 1 keeps a token, 0 marks padding.
            features: [N, T, encoder_hidden_size] float, normalised image features including the class token.

        Returns:
            [N, Q, d].

        """
        queries, text = self.bert.embeddings(queries, question_ids)
        padding = (1.0 - question_mask.to(queries.dtype)) * MASKED
        mask = F.pad(padding, (queries.shape[1], 0))[:, None, None, :]
        return self.bert.encoder(queries, text, mask, features)  # type: ignore[no-any-return]
