"""MobileVLM's files become one checkpoint and graphs with a quarter of the patches as tokens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import nn

from emo_edge.cli.app import main
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.importers.llava.llava import LlavaPieces, checkpoint_from_llava
from emo_edge.export.models.ldp import build_ldp
from emo_edge.export.onnx.export import onnx_from_component
from emo_edge.export.onnx.graph_file import save_graph
from emo_edge.export.reference.frames import as_clip
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, PromptInput
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


@torch.inference_mode()
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ldpnet", "ldpnetv2"])
def test_a_bundle_reads_a_file_as_upstream_does(
    kind: str,
    llava: Llava,
    original: Path,
    wide_picture: Path,
    clip_pixels: Callable[..., torch.Tensor],
    tmp_path: Path,
) -> None:
    """A square of the mean colour by PIL, CLIP's processor, transformers' tower and LLaMA, LDP between them."""
    projector = mobilevlm(kind, llava, original, tmp_path / "mobilevlm")
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    for line in (
        f"import llava --model {tmp_path / 'mobilevlm'} --out {checkpoint}",
        f"export {checkpoint} --out {bundle} --vision fp32 --language f32 --limit 4",
        f"infer {bundle} {wide_picture} --whole-image --json --profile exact",
    ):
        done = CliRunner().invoke(main, line.split())
        assert done.exit_code == 0, done.output
    (reading,) = json.loads(done.stdout)[0]["readings"]
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)
    features = upstream_tower(tmp_path / "mobilevlm", llava)(
        clip_pixels(wide_picture, 14 * GRID), output_hidden_states=True
    ).hidden_states[-2]
    picture = projector(features[:, 1:])[0]
    question = PromptInput(slice(0, 1), reading["settings"]["question"])
    prompt = model.prompt_text(model.encode(as_clip(np.zeros((8, 8, 3), np.uint8), None)), question)
    language, embed = llava.model.model.language_model, llava.model.get_input_embeddings()
    scores = []
    for label in reading["probabilities"]:
        answer = model.tokenizer.encode_answer(prompt.after, label)
        before = embed(torch.tensor([1, *model.tokenizer.encode(prompt.before)]))
        after = embed(torch.tensor([*model.tokenizer.encode(prompt.after), *answer]))
        rows = language(inputs_embeds=torch.cat([before, picture, after])[None]).last_hidden_state
        logits = llava.model.lm_head(rows)[0, -len(answer) - 1 : -1].log_softmax(-1)
        scores.append(float(logits[range(len(answer)), answer].sum()))
    expected = np.exp(scores - np.logaddexp.reduce(scores))
    assert list(reading["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-4)


def upstream_tower(directory: Path, llava: Llava) -> nn.Module:
    """Return transformers' CLIP with MobileVLM's positions."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    sizes = {**llava.model.config.vision_config.to_dict(), "image_size": 14 * GRID, "num_attention_heads": 1}
    tower = CLIPVisionModel(CLIPVisionConfig(**sizes))
    prefix = "model.vision_tower.vision_tower."
    state = load_file(directory / "model.safetensors")
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    tower.load_state_dict(own)
    return tower.eval()
