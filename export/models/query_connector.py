"""InstructBLIP's connector: the Q-Former's queries, which read picture and question, as tokens."""

from __future__ import annotations

from torch import Tensor, nn

from emo_edge.export.configs.networks import QFormerConfig
from emo_edge.export.models.init import init_weights, learned
from emo_edge.export.models.qformer import QFormer


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
