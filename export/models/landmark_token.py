"""EmoLA's landmark token: the landmark network's raw numbers, projected to one embedding a face."""

from __future__ import annotations

from onnx import NodeProto, helper
from torch import Tensor, nn

from emo_edge.export.configs.networks import ConnectorConfig
from emo_edge.export.models.connector import build_projector
from emo_edge.export.models.init import init_weights


class LandmarkToken(nn.Module):
    """``landmark_feature_projector`` of EmoLA (``emollava/model/feature_projector/builder.py``)."""

    def __init__(self, config: ConnectorConfig, outputs: int, language_hidden_size: int) -> None:
        super().__init__()
        self.projector = build_projector(config, outputs, language_hidden_size)
        init_weights(self)

    def forward(self, landmarks: Tensor) -> Tensor:
        """Return one token a face [N, 1, E] from raw numbers [N, outputs]."""
        return self.projector(landmarks)[:, None]  # type: ignore[no-any-return]


def _gelu(name: str, result: str) -> list[NodeProto]:
    """Spell the exact GELU out: it is one node only from opset 20 on."""
    return [
        helper.make_node("Mul", [name, "root_half"], [f"{result}_narrow"]),
        helper.make_node("Erf", [f"{result}_narrow"], [f"{result}_erf"]),
        helper.make_node("Add", [f"{result}_erf", "one"], [f"{result}_above"]),
        helper.make_node("Mul", [name, f"{result}_above"], [f"{result}_double"]),
        helper.make_node("Mul", [f"{result}_double", "half"], [result]),
    ]
