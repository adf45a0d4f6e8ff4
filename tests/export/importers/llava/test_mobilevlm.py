"""MobileVLM's files become one checkpoint and graphs with a quarter of the patches as tokens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.importers.llava.llava import LlavaPieces, checkpoint_from_llava
from emo_edge.export.models.ldp import build_ldp
from emo_edge.export.onnx.export import onnx_from_component
from emo_edge.export.onnx.graph_file import save_graph
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from tests.export.importers.llava.conftest import HIDDEN, Llava, State

GRID = 24
"""Patches along one side, as CLIP ViT-L/14-336 has them."""


def mobilevlm(kind: str, llava: Llava, original: Path, target: Path) -> nn.Module:
    """Write MobileVLM's directory: LLaVA's names, another projector, positions for 24 x 24 patches."""
    shutil.copytree(original, target)
    (target / "pytorch_model.bin").unlink()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        projector = build_ldp(kind, GRID, 64, HIDDEN).eval()
        for value in projector.parameters():
            nn.init.normal_(value, std=0.2)
        positions = torch.randn(1 + GRID * GRID, 64)
    state: State = {name: value for name, value in llava.original().items() if "mm_projector" not in name}
    state |= {f"model.mm_projector.{name}": value for name, value in projector.state_dict().items()}
    state["model.vision_tower.vision_tower.vision_model.embeddings.position_embedding.weight"] = positions
    save_file(state, target / "model.safetensors")
    settings = json.loads((target / "config.json").read_text())
    own = {"model_type": "mobilevlm", "vision_tower_type": "clip", "mm_projector_type": kind}
    (target / "config.json").write_text(json.dumps({**settings, **own}))
    return projector


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["ldpnet", "ldpnetv2"])
def test_its_projector_is_read_and_exported(kind: str, llava: Llava, original: Path, tmp_path: Path) -> None:
    projector = mobilevlm(kind, llava, original, tmp_path / "mobilevlm")
    checkpoint_from_llava(LlavaPieces(tmp_path / "mobilevlm"), tmp_path / "checkpoint")
    config = EmoLlamaConfig.from_pretrained(tmp_path / "checkpoint")
    assert (config.connector.projector_type, config.tokens_per_frame, config.vision.image_size) == (kind, 144, 336)
    model = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint")
    features = torch.randn(2, 1 + GRID * GRID, 64, generator=torch.Generator().manual_seed(1))
    expected = projector(features[:, 1:])
    assert torch.equal(model.connector(features), expected)
    save_graph(onnx_from_component(model, "connector"), tmp_path / "connector.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "connector.onnx", providers=["CPUExecutionProvider"])
    (tokens,) = session.run(None, {"features": features.numpy()})
    assert tokens.shape == (2, 144, HIDDEN)
    assert np.abs(tokens - expected.numpy()).max() <= 1e-4 * float(expected.abs().max())
