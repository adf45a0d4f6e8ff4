"""From a frame's features to tokens: LLaMA-VID's context and content, LLaVA's patches, InstructBLIP's queries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emo_edge.export.configs.networks import ConnectorConfig, QFormerConfig, VisionConfig
from emo_edge.export.models.init import init_weights, learned
from emo_edge.export.models.ldp import build_ldp
from emo_edge.export.models.qformer import QFormer
from emo_edge.export.models.token_selection import Selection, select_tokens


def build_projector(config: ConnectorConfig, input_size: int, output_size: int) -> nn.Module:
    """Build ``mm_projector`` from [..., input_size] to [..., output_size] (LLaVA ``multimodal_projector/builder.py``).

    ``linear`` is a bare Linear; ``mlp{N}x_gelu`` is a Sequential with its linears at 0, 2, 4, ...
    """
    if config.projector_type == "identity":
        return nn.Identity()
    if config.projector_type == "linear":
        return nn.Linear(input_size, output_size)
    layers: list[nn.Module] = [nn.Linear(input_size, output_size)]
    for _ in range(1, config.projector_depth):
        layers += [nn.GELU(), nn.Linear(output_size, output_size)]
    return nn.Sequential(*layers)


class Connector(nn.Module):
    """From image features and a question to language-model embeddings (LLaMA-VID ``llamavid_arch.py``).

    Attribute names are upstream's, without its ``model.`` prefix.
    """

    def __init__(self, config: ConnectorConfig, vision: VisionConfig, language_hidden_size: int) -> None:
        super().__init__()
        width, qformer = vision.hidden_size, config.qformer
        if qformer is None:
            raise ValueError("without a Q-Former it is a ContentConnector")
        self.grid, self.pool_grid = vision.grid, config.pool_grid
        self.mm_projector = build_projector(config, width, language_hidden_size)
        self.vlm_att_query = learned(1, qformer.num_queries, qformer.hidden_size)
        self.vlm_att_ln = nn.LayerNorm(width)
        self.vlm_att_encoder = QFormer(qformer, width)
        self.vlm_att_projector = nn.Linear(qformer.hidden_size, width)
        self.vlm_att_key_projector = nn.Linear(width, width)
        self.vlm_att_val_projector = nn.Linear(width, language_hidden_size)
        init_weights(self)

    def forward(self, features: Tensor, question_ids: Tensor, question_mask: Tensor) -> Tensor:
        """Return the visual tokens of each frame, context token first.

        Args:
            features: [N, 1 + grid*grid, D] float, the image tower's output; N counts frames.
            question_ids: [N, L] int64, the frame's question.
            question_mask: [N, L], 1 for a token, 0 for padding.

        Returns:
            [N, 1 + n, E]; n is 1 (``mean``), g*g (``grid:g``) or every patch (``none``).

        """
        context = self.context_token(features, question_ids, question_mask)
        return torch.cat([context, self.content_tokens(features)], dim=1)

    def context_token(self, features: Tensor, question_ids: Tensor, question_mask: Tensor) -> Tensor:
        """Return the question-guided token [N, 1, E]; arguments as in ``forward``.

        The Q-Former reads normalised features with the class token; keys and values are the raw patches, one head
        as wide as the features, and the value projection follows the pooling.
        """
        queries = self.vlm_att_query.expand(features.shape[0], -1, -1)
        read = self.vlm_att_encoder(queries, question_ids, question_mask, self.vlm_att_ln(features))
        text = self.vlm_att_projector(read)
        patches = features[:, 1:]
        scores = text @ self.vlm_att_key_projector(patches).transpose(1, 2) * patches.shape[-1] ** -0.5
        pooled = (scores.softmax(dim=-1) @ patches).mean(dim=1, keepdim=True)
        return self.vlm_att_val_projector(pooled)  # type: ignore[no-any-return]

    def content_tokens(self, features: Tensor) -> Tensor:
        """Return the pooled, projected patches [N, n, E], row-major; they do not depend on the question."""
        return self.mm_projector(pooled_patches(features, self.grid, self.pool_grid))  # type: ignore[no-any-return]


class ContentConnector(nn.Module):
    """Projected patches alone, as LLaVA and MobileVLM have them: no token depends on the question."""

    def __init__(self, config: ConnectorConfig, vision: VisionConfig, language_hidden_size: int) -> None:
        super().__init__()
        self.grid, self.pool_grid, self.first = vision.grid, config.pool_grid, vision.class_tokens
        self.kept_tokens = config.kept_tokens
        if config.halves:
            kind, width = config.projector_type, vision.hidden_size
            self.mm_projector: nn.Module = build_ldp(kind, vision.grid, width, language_hidden_size)
        else:
            self.mm_projector = build_projector(config, vision.hidden_size, language_hidden_size)
        init_weights(self)

    def forward(self, features: Tensor, class_attention: Tensor | None = None, keys: Tensor | None = None) -> Tensor:
        """Return the visual tokens [N, n, E] of each frame from features [N, 1 + grid*grid, D], as `Connector` does.

        A tower without a class token gives [N, grid*grid, D]. Where tokens are chosen, ``class_attention`` and ``keys``
        are a `Selection`'s, and n is the number that is kept.
        """
        if self.kept_tokens is None:
            tokens = pooled_patches(features, self.grid, self.pool_grid, self.first)
        elif class_attention is None or keys is None:
            raise ValueError("tokens are chosen by the class token's attention and the keys: give them")
        else:
            tokens = select_tokens(features, Selection(class_attention, keys), self.kept_tokens)
        return self.mm_projector(tokens)  # type: ignore[no-any-return]


class QueryConnector(nn.Module):
    """LAVIS's ``blip2_vicuna_instruct.py``: ``ln_vision``, ``Qformer`` and ``llm_proj``.

    The names of the first three parts are those of LLaMA-VID, which took them from there.
    """

    def __init__(self, config: QFormerConfig, width: int, language_hidden_size: int) -> None:
        super().__init__()
        self.vlm_att_query = learned(1, config.num_queries, config.hidden_size)
        self.vlm_att_ln = nn.LayerNorm(width)
        self.vlm_att_encoder = QFormer(config, width)
        self.llm_proj = nn.Linear(config.hidden_size, language_hidden_size)
        init_weights(self)

    def forward(self, features: Tensor, question_ids: Tensor, question_mask: Tensor) -> Tensor:
        """Return the visual tokens of each frame, one a query: [N, queries, E].

        Args:
            features: [N, 1 + grid*grid, D] float, the image tower's output with its class token.
            question_ids: [N, L] int64, the frame's question.
            question_mask: [N, L], 1 for a token, 0 for padding.

        """
        queries = self.vlm_att_query.expand(features.shape[0], -1, -1)
        read = self.vlm_att_encoder(queries, question_ids, question_mask, self.vlm_att_ln(features))
        return self.llm_proj(read)  # type: ignore[no-any-return]


def build_connector(
    config: ConnectorConfig, vision: VisionConfig, language_hidden_size: int
) -> Connector | ContentConnector | QueryConnector:
    """Build the one with a Q-Former, the one of its queries alone, or the one without."""
    if config.query_tokens and config.qformer:
        return QueryConnector(config.qformer, vision.hidden_size, language_hidden_size)
    kind = ContentConnector if config.qformer is None else Connector
    return kind(config, vision, language_hidden_size)


def pooled_patches(features: Tensor, grid: int, pool_grid: int | None, first: int = 1) -> Tensor:
    """Leave ``first`` tokens out and average the patches in ``pool_grid`` x ``pool_grid`` cells; None keeps each."""
    patches = features[:, first:] if first else features
    if pool_grid is None:
        return patches
    cell = grid // pool_grid
    cells = torch.unflatten(patches, 1, (pool_grid, cell, pool_grid, cell))
    return cells.mean(dim=(2, 4)).flatten(1, 2)
