"""InstructBLIP: queries as tokens, the text's beginning behind them; equal to transformers from the file on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

from emo_edge.cli.app import main
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.importers.llava.instructblip import InstructBlipPieces, checkpoint_from_instructblip
from emo_edge.export.reference.frames import as_clip
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, PromptInput
from tests.export.importers.llava.conftest import END, QUERIES, SIDE, InstructBlip

State = dict[str, Tensor]


def test_it_goes_on_to_a_bundle_that_reads_a_picture(blip: InstructBlip, wide_picture: Path, tmp_path: Path) -> None:
    """From the file on in both: BLIP's processor resizes both sides."""
    pil = pytest.importorskip("PIL.Image")
    from transformers import BlipImageProcessor

    image = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    processor = BlipImageProcessor(size={"height": SIDE, "width": SIDE})
    pixels = processor(pil.open(wide_picture).convert("RGB"), return_tensors="pt")["pixel_values"]
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    walk = [
        f"import instructblip --model {blip.directory} --out {checkpoint}",
        f"export {checkpoint} --out {bundle} --vision fp32,fp16 --language f32 --limit 4",
        f"inspect {bundle}",
        f"infer {bundle} {wide_picture} --whole-image --json --profile exact",
    ]
    done = []
    for line in walk:
        done.append(CliRunner().invoke(main, line.split()))
        assert done[-1].exit_code == 0, done[-1].output
    assert f"tokens a frame: {QUERIES} content" in done[2].stdout
    (reading,) = json.loads(done[3].stdout)[0]["readings"]
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)
    question, labels = reading["settings"]["question"], list(reading["probabilities"])
    prompt = model.prompt_text(model.encode(as_clip(image, None)), PromptInput(slice(0, 1), question))
    assert prompt.before == "" and prompt.after == question
    assert model.question_tokenizer is not None
    asked, text = model.question_tokenizer.encode(question), model.tokenizer.encode(prompt.after)
    scores = np.array([blip.log_probs(image, asked, text, ids) for ids in model.answer_branches(prompt, labels)])
    assert model.label_scores(image, question, labels) == pytest.approx(scores.tolist(), abs=1e-4)
    scores = np.array([blip.log_probs(pixels, asked, text, ids) for ids in model.answer_branches(prompt, labels)])
    expected = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    assert list(reading["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-4)


TO_LAVIS = {
    "vision_model.embeddings.class_embedding": "cls_token",
    "vision_model.embeddings.position_embedding": "pos_embed",
    "vision_model.embeddings.patch_embedding.": "patch_embed.proj.",
    "vision_model.post_layernorm.": "ln_vision.",
    "vision_model.encoder.layers.": "blocks.",
    "language_projection.": "llm_proj.",
    "language_model.": "",
    "qformer.": "Qformer.bert.",
}
INSIDE = {
    ".self_attn.projection.": ".attn.proj.",
    ".self_attn.qkv.weight": ".attn.qkv.weight",
    ".layer_norm1.": ".norm1.",
    ".layer_norm2.": ".norm2.",
    ".attention.attention.": ".attention.self.",
    ".crossattention.attention.": ".crossattention.self.",
    ".embeddings.layernorm.": ".embeddings.LayerNorm.",
}


def lavis(state: State) -> State:
    """The same tensors under LAVIS's names, its biases of queries and values apart."""
    named: State = {}
    for name, value in state.items():
        old = next((old for old in TO_LAVIS if name.startswith(old)), "")
        plain = TO_LAVIS.get(old, "") + name.removeprefix(old)
        for part, new in INSIDE.items():
            plain = plain.replace(part, new)
        if plain.endswith(".self_attn.qkv.bias"):
            block = plain.removesuffix("self_attn.qkv.bias")
            named |= {f"{block}attn.q_bias": value[:88].clone(), f"{block}attn.v_bias": value[176:].clone()}
        else:
            named[plain] = value
    return named


def test_laviss_files_give_the_same_checkpoint(blip: InstructBlip, tmp_path: Path) -> None:
    """Vicuna, EVA's tower, the trained parts and a tune, each in its own file."""
    state = lavis({name: value.detach().clone().contiguous() for name, value in blip.model.state_dict().items()})
    vicuna = Path(shutil.copytree(blip.directory, tmp_path / "vicuna-7b"))
    (vicuna / "model.safetensors").unlink()
    language = {name: value for name, value in state.items() if name.startswith(("model.", "lm_head."))}
    save_file(language, vicuna / "model.safetensors")
    text = json.loads((blip.directory / "config.json").read_text())["text_config"]
    (vicuna / "config.json").write_text(json.dumps({**text, "model_type": "llama"}))
    trained = {name: value for name, value in state.items() if name.startswith(("Qformer", "query", "ln_", "llm_"))}
    tower = {name: value for name, value in state.items() if name not in trained and name not in language}
    torch.save(tower, tmp_path / "eva.pth")
    before = {name: value + 1 for name, value in trained.items()}
    torch.save({"model": before, "epoch": 1}, tmp_path / "blip.pth")
    torch.save({"model": trained}, tmp_path / "emovit.pth")
    lines: list[str] = []
    checkpoint_from_instructblip(
        InstructBlipPieces(vicuna, tmp_path / "eva.pth", tmp_path / "blip.pth", tmp_path / "emovit.pth"),
        tmp_path / "lavis",
        report=lines.append,
    )
    checkpoint_from_instructblip(InstructBlipPieces(blip.directory), tmp_path / "hub")
    own, hub = (load_file(tmp_path / name / "model.safetensors") for name in ("lavis", "hub"))
    assert own.keys() == hub.keys() and all(torch.equal(own[name], hub[name]) for name in own)
    count = len(trained)
    assert f"  {count} of them were there before; emovit.pth wins, {count} differ" in lines
    config = EmoLlamaConfig.from_pretrained(tmp_path / "lavis")
    assert (config.tokens_per_frame, config.language.bos_place, config.language.bos_token_id) == (
        QUERIES,
        "after_frames",
        END,
    )


def without_words(directory: Path) -> None:
    shutil.rmtree(directory / "qformer_tokenizer")


def set_config(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def changed(directory: Path) -> None:
        path = directory / "config.json"
        settings = json.loads(path.read_text())
        change(settings)
        path.write_text(json.dumps(settings))

    return changed


def with_key_bias(directory: Path) -> None:
    state = load_file(directory / "model.safetensors")
    state["vision_model.encoder.layers.1.self_attn.qkv.bias"] = torch.ones(264)
    save_file(state, directory / "model.safetensors")


BAD: dict[str, tuple[Callable[[Path], None], type[Exception], str]] = {
    "no words": (without_words, InputError, r"no qformer_tokenizer/vocab\.txt or vocab\.txt, bert-base-uncased's"),
    "on FLAN-T5": (
        set_config(lambda settings: settings["text_config"].update(model_type="t5")),
        CheckpointError,
        r"text_config\.model_type 't5': only llama",
    ),
    "another model": (
        set_config(lambda settings: settings.update(model_type="blip-2")),
        CheckpointError,
        "model_type 'blip-2': neither InstructBLIP nor Vicuna",
    ),
    "a bias of keys": (with_key_bias, CheckpointError, "has a bias of keys, which EVA does not have"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_each_kind_is_refused(kind: str, blip: InstructBlip, tmp_path: Path) -> None:
    change, error, message = BAD[kind]
    copy = Path(shutil.copytree(blip.directory, tmp_path / "copy"))
    change(copy)
    with pytest.raises(error, match=message):
        checkpoint_from_instructblip(InstructBlipPieces(copy), tmp_path / "checkpoint")
