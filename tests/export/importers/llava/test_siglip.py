"""LLaVA with SigLIP's tower: transformers' module, optimum's graph, equal to transformers' forward from the file on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from emo_edge.cli.app import main
from emo_edge.errors import CheckpointError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.importers.llava.llava import LlavaPieces, checkpoint_from_llava
from emo_edge.export.onnx.export import onnx_from_component
from emo_edge.export.onnx.graph_file import save_graph
from emo_edge.export.reference.frames import as_clip
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, PromptInput
from tests.export.importers.llava.conftest import ORIGINAL, Llava, make_llava, renamed, write_tokenizer

SIDE = 30
"""Two pixels more than two patches of 14, as SigLIP's 384 pixels are six more than 27 patches."""


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory, tokenizer_directory: Path) -> Llava:
    directory, model = tmp_path_factory.mktemp("siglip") / "llava-siglip", make_llava(siglip=SIDE)
    model.save_pretrained(directory)
    write_tokenizer(directory, tokenizer_directory)
    return Llava(model, directory, (0.5,) * 3, (0.5,) * 3)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def test_it_goes_on_to_a_bundle_that_reads_a_picture(siglip: Llava, wide_picture: Path, tmp_path: Path) -> None:
    """From the file on in both: SigLIP's processor resizes both sides."""
    pil = pytest.importorskip("PIL.Image")
    from transformers import SiglipImageProcessor

    image, processor = picture(2), SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    pixels = processor(pil.open(wide_picture).convert("RGB"), return_tensors="pt")["pixel_values"]
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    walk = [
        f"import llava --model {siglip.directory} --out {checkpoint}",
        f"export {checkpoint} --out {bundle} --vision fp32,fp16 --language f32 --limit 4",
        f"infer {bundle} {wide_picture} --whole-image --json --profile exact",
    ]
    for line in walk:
        done = CliRunner().invoke(main, line.split())
        assert done.exit_code == 0, done.output
    (reading,) = json.loads(done.stdout)[0]["readings"]
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)
    asked = PromptInput(slice(0, 1), reading["settings"]["question"])
    prompt = model.prompt_text(model.encode(as_clip(image, None)), asked)
    before, after = [1, *model.tokenizer.encode(prompt.before)], model.tokenizer.encode(prompt.after)
    answers = model.answer_branches(prompt, list(reading["probabilities"]))
    scores = np.array([siglip.log_probs(image, before, after, answer) for answer in answers])
    own = model.label_scores(image, reading["settings"]["question"], list(reading["probabilities"]))
    assert own == pytest.approx(scores.tolist(), abs=1e-4)
    scores = np.array([siglip.log_probs(pixels, before, after, answer) for answer in answers])
    expected = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    assert list(reading["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-4)


@torch.inference_mode()
def test_optimums_graph_computes_transformers_features(siglip: Llava, tmp_path: Path) -> None:
    checkpoint_from_llava(LlavaPieces(siglip.directory), tmp_path / "checkpoint")
    model = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint")
    graph = onnx_from_component(model, "vision")
    assert [(spec.name, spec.shape) for spec in graph.outputs] == [("features", ("N", 4, 64))]
    assert not {node.op_type for node in graph.model.graph.node} & {"Identity", "Constant", "If", "Loop"}
    save_graph(graph, tmp_path / "vision.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "vision.onnx", providers=["CPUExecutionProvider"])
    images = np.stack([picture(seed) for seed in range(3)])
    (features,) = session.run(None, {"image": images})
    pixels = torch.from_numpy((images / 255.0 - 0.5).transpose(0, 3, 1, 2) / 0.5).float()
    states = siglip.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
    assert np.abs(features - states[-2].numpy()).max() <= 1e-4


def test_the_originals_names_and_a_tower_of_its_own_give_the_same(siglip: Llava, tmp_path: Path) -> None:
    """As LLaVA's own code saves it: the tower in its own folder, named in ``config.json``, with its head."""
    state = {renamed(name, ORIGINAL): value for name, value in siglip.state().items()}
    model, tower = tmp_path / "llava-siglip", tmp_path / "siglip-so400m-patch14-384"
    shutil.copytree(siglip.directory, model)
    (model / "model.safetensors").unlink()
    save_file({name: value for name, value in state.items() if "vision_tower" not in name}, model / "model.safetensors")
    text = json.loads((siglip.directory / "config.json").read_text())["text_config"]
    own = {"model_type": "llava", "mm_projector_type": "mlp2x_gelu", "mm_vision_tower": "google/siglip-so400m"}
    (model / "config.json").write_text(json.dumps({**text, **own, "mm_vision_select_feature": "patch"}))
    siglip.model.model.vision_tower.save_pretrained(tower)
    checkpoint_from_llava(LlavaPieces(model, vision=tower), tmp_path / "own")
    checkpoint_from_llava(LlavaPieces(siglip.directory), tmp_path / "hub")
    configs = [EmoLlamaConfig.from_pretrained(tmp_path / name) for name in ("own", "hub")]
    assert configs[0].vision == configs[1].vision and configs[0].vision.image_size == SIDE
    assert (configs[0].vision.tower, configs[0].vision.grid, configs[0].tokens_per_frame) == ("siglip", 2, 4)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("own", "hub")]
    assert weights[0] == weights[1]


def test_a_tower_saved_with_the_originals_model_is_read_whole(siglip: Llava, tmp_path: Path) -> None:
    """LLaVA's own code drops the last layer before it saves a tuned tower: what is there is read."""
    model = Path(shutil.copytree(siglip.directory, tmp_path / "tuned"))
    text = json.loads((siglip.directory / "config.json").read_text())["text_config"]
    own = {"model_type": "llava", "mm_projector_type": "mlp2x_gelu", "mm_vision_tower": "google/siglip-x-patch14-30"}
    (model / "config.json").write_text(json.dumps({**text, **own, "mm_vision_select_layer": -2}))
    state = {renamed(name, ORIGINAL): value for name, value in siglip.state().items()}
    kept = {name: value for name, value in state.items() if ".layers.2." not in name or "vision_tower" not in name}
    save_file(kept, model / "model.safetensors")
    checkpoint_from_llava(LlavaPieces(model), tmp_path / "own")
    checkpoint_from_llava(LlavaPieces(siglip.directory), tmp_path / "hub")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("own", "hub")]
    assert weights[0] == weights[1]
    assert EmoLlamaConfig.from_pretrained(tmp_path / "own").vision.image_size == SIDE


def changed(directory: Path, tmp_path: Path, **settings: Any) -> Path:
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    whole = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**whole, **settings}))
    return copy


def test_a_selection_that_drops_a_patch_is_refused(siglip: Llava, tmp_path: Path) -> None:
    copy = changed(siglip.directory, tmp_path, vision_feature_select_strategy="default")
    with pytest.raises(CheckpointError, match="mm_vision_select_feature 'all patches but the first': only 'patch'"):
        checkpoint_from_llava(LlavaPieces(copy), tmp_path / "checkpoint")
