"""InstructBLIP: queries as tokens, the text's beginning behind them; equal to transformers from the file on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
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
from tests.export.importers.llava.conftest import MEAN, STD

State = dict[str, Tensor]
SIDE, QUERIES, IMAGE, END = 28, 8, 768, 2


@dataclass(frozen=True)
class Upstream:
    """transformers' model and its directory."""

    model: Any
    directory: Path
    words: list[str]

    @torch.inference_mode()
    def log_probs(self, image: np.ndarray, question: Sequence[int], text: Sequence[int], label: Sequence[int]) -> float:
        """Log-probability of a label by transformers' forward: the picture's placeholders, "</s>", the text."""
        scaled = (image / 255.0 - np.array(MEAN)) / np.array(STD)
        pixels = torch.from_numpy(scaled.transpose(2, 0, 1)[None]).float()
        ids = torch.tensor([[*[IMAGE] * QUERIES, END, *text, *label]])
        asked = torch.tensor([list(question)])
        logits = self.model(
            pixel_values=pixels,
            qformer_input_ids=asked,
            qformer_attention_mask=torch.ones_like(asked),
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
        ).logits[0]
        predicting = logits[-len(label) - 1 : -1].log_softmax(-1)
        return float(sum(row[token] for row, token in zip(predicting, label, strict=True)))


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory, tokenizer_directory: Path) -> Upstream:
    from transformers import (
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        InstructBlipQFormerConfig,
        InstructBlipVisionConfig,
        LlamaConfig,
    )

    vocabulary = json.loads((tokenizer_directory / "question_tokenizer.json").read_text())["model"]["vocab"]
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    language = LlamaConfig(
        vocab_size=770,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
    )
    tower = InstructBlipVisionConfig(
        hidden_size=88, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2, image_size=SIDE
    )
    former = InstructBlipQFormerConfig(
        vocab_size=len(words) + 1,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=72,
        max_position_embeddings=256,
        encoder_hidden_size=88,
    )
    config = InstructBlipConfig(
        vision_config=tower.to_dict(),
        qformer_config=former.to_dict(),
        text_config=language.to_dict(),
        num_query_tokens=QUERIES,
        image_token_index=IMAGE,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        model = InstructBlipForConditionalGeneration(config).float().eval()
        for name, value in model.named_parameters():
            torch.nn.init.normal_(value, 1.0 if value.ndim == 1 and "bias" not in name else 0.0, 0.15)
        for layer in model.vision_model.encoder.layers:
            layer.self_attn.qkv.bias.data[88:176] = 0
    directory = tmp_path_factory.mktemp("blip") / "instructblip"
    model.save_pretrained(directory)
    (directory / "tokenizer.model").write_bytes((tokenizer_directory / "tokenizer.model").read_bytes())
    (directory / "added_tokens.json").write_text(json.dumps({"<image>": IMAGE}))
    (directory / "qformer_tokenizer").mkdir()
    (directory / "qformer_tokenizer" / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return Upstream(model, directory, words)


def test_it_goes_on_to_a_bundle_that_reads_a_picture(blip: Upstream, tmp_path: Path) -> None:
    image = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "face.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    walk = [
        f"import instructblip --model {blip.directory} --out {checkpoint}",
        f"export {checkpoint} --out {bundle} --vision fp32,fp16 --language f32 --limit 4",
        f"inspect {bundle}",
        f"infer {bundle} {tmp_path / 'face.png'} --whole-image --json --profile exact",
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


def test_laviss_files_give_the_same_checkpoint(blip: Upstream, tmp_path: Path) -> None:
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
def test_each_kind_is_refused(kind: str, blip: Upstream, tmp_path: Path) -> None:
    change, error, message = BAD[kind]
    copy = Path(shutil.copytree(blip.directory, tmp_path / "copy"))
    change(copy)
    with pytest.raises(error, match=message):
        checkpoint_from_instructblip(InstructBlipPieces(copy), tmp_path / "checkpoint")
