"""LLaVA's files become one checkpoint and one bundle that compute what transformers' own forward computes."""

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

from emo_edge.cli.app import main
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.importers.llava.llava import LlavaPieces, checkpoint_from_llava
from emo_edge.export.reference.frames import as_clip
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, PromptInput
from tests.export.importers.llava.conftest import GRID, LAYERS, SIDE, Llava, make_llava, picture

QUESTION, LABELS = "What is the emotion?", ["joy", "fear", "surprise"]


def imported(directory: Path, target: Path, **pieces: Any) -> tuple[dict[str, torch.Tensor], list[str]]:
    lines: list[str] = []
    checkpoint_from_llava(LlavaPieces(directory, **pieces), target, report=lines.append)
    return load_file(target / "model.safetensors"), lines


@torch.inference_mode()
def test_the_checkpoint_computes_what_transformers_computes(llava: Llava, tmp_path: Path) -> None:
    imported(llava.directory, tmp_path / "checkpoint")
    model = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint")
    image = picture(1)
    (asked,) = model.embed_prompts(model.encode(as_clip(image, None)), [PromptInput(slice(0, 1), QUESTION)])
    before = [1, *model.tokenizer.encode(asked.prompt.before)]
    after = model.tokenizer.encode(asked.prompt.after)
    answers = [model.tokenizer.encode_answer(asked.prompt.after, label) for label in LABELS]
    expected = [llava.log_probs(image, before, after, answer) for answer in answers]
    assert model.label_scores(image, QUESTION, LABELS) == pytest.approx(expected, abs=1e-4)
    pixels = model._normalised(image[None], model.config.vision.image_mean, model.config.vision.image_std)
    own = llava.model.get_image_features(pixels, vision_feature_layer=-2, vision_feature_select_strategy="default")
    assert (asked.visual[0] - torch.cat(list(own))).abs().max() <= 1e-4


def test_both_kinds_of_names_give_the_same_checkpoint(llava: Llava, original: Path, tmp_path: Path) -> None:
    hub, _ = imported(llava.directory, tmp_path / "hub")
    own, lines = imported(original, tmp_path / "own")
    assert own.keys() == hub.keys() and all(torch.equal(own[name], hub[name]) for name in own)
    assert "  unused: 16 x LLaVA reads what enters the tower's last layer" in lines
    assert "  2 added token(s): <image>, <pad>; no text is read as one" in lines
    configs = [EmoLlamaConfig.from_pretrained(tmp_path / name) for name in ("hub", "own")]
    heads = [config.vision.num_heads for config in configs]
    assert heads == [2, 1], "the original's config has no number of heads: it follows from CLIP's 64 a head"
    plain = [config.model_copy(update={"vision": None, "provenance": {}}) for config in configs]
    assert plain[0] == plain[1]
    assert configs[0].language.rope_theta == 500.0 and configs[0].face is None and configs[0].landmark is None


def test_it_goes_on_to_a_bundle_that_reads_a_picture(
    llava: Llava, wide_picture: Path, clip_pixels: Callable[..., torch.Tensor], tmp_path: Path
) -> None:
    """The whole way as a user walks it, from transformers' directory to probabilities equal to transformers'.

    Transformers' side begins at the file, too: CLIP's processor takes the middle square.
    """
    pixels = clip_pixels(wide_picture, SIDE, padded=False)
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    walk = [
        f"import llava --model {llava.directory} --out {checkpoint}",
        f"export {checkpoint} --out {bundle} --vision fp32 --language f32 --limit 4",
        f"inspect {bundle}",
        f"infer {bundle} {wide_picture} --whole-image --json --profile exact",
    ]
    done = []
    for line in walk:
        done.append(CliRunner().invoke(main, line.split()))
        assert done[-1].exit_code == 0, done[-1].output
    assert f"tokens a frame: {GRID * GRID} content" in done[2].stdout
    (reading,) = json.loads(done[3].stdout)[0]["readings"]
    assert reading["face"] is None
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)
    prompt = model.prompt_text(
        model.encode(as_clip(picture(), None)), PromptInput(slice(0, 1), reading["settings"]["question"])
    )
    before, after = [1, *model.tokenizer.encode(prompt.before)], model.tokenizer.encode(prompt.after)
    answers = [model.tokenizer.encode_answer(prompt.after, label) for label in reading["probabilities"]]
    scores = np.array([llava.log_probs(pixels, before, after, answer) for answer in answers])
    expected = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    assert list(reading["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-4)
    assert np.ptp(expected) > 0.05, "probabilities that are all alike would prove nothing"


@pytest.mark.parametrize(("layer", "kept"), [(-1, LAYERS), (-3, LAYERS - 2), (1, 1)])
def test_the_feature_layer_is_the_configs(layer: int, kept: int, original: Path, tmp_path: Path) -> None:
    copy = changed(original, tmp_path, mm_vision_select_layer=layer)
    imported(copy, tmp_path / "checkpoint")
    assert EmoLlamaConfig.from_pretrained(tmp_path / "checkpoint").vision.num_layers == kept


def changed(directory: Path, tmp_path: Path, **settings: Any) -> Path:
    """Copy a model's directory and change its config; a setting that is None is taken out."""
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    whole = {**json.loads((copy / "config.json").read_text()), **settings}
    kept = {name: value for name, value in whole.items() if value is not None}
    (copy / "config.json").write_text(json.dumps(kept))
    return copy


def test_settings_of_transformers_5_are_read(llava: Llava, tmp_path: Path) -> None:
    text = json.loads((llava.directory / "config.json").read_text())["text_config"]
    theta = text.pop("rope_theta")
    text |= {"rope_parameters": {"rope_theta": theta, "rope_type": "default"}, "dtype": text.pop("dtype", "float32")}
    text.pop("rope_scaling", None)
    copy = changed(llava.directory, tmp_path, text_config=text, dtype="float32", torch_dtype=None)
    state, _ = imported(copy, tmp_path / "five")
    imported(llava.directory, tmp_path / "four")
    four = load_file(tmp_path / "four" / "model.safetensors")
    assert all(torch.equal(state[name], four[name]) for name in four)
    languages = [EmoLlamaConfig.from_pretrained(tmp_path / name).language for name in ("four", "five")]
    assert languages[0] == languages[1] and languages[1].rope_theta == 500.0


@torch.inference_mode()
@pytest.mark.parametrize(
    "text",
    [{"tie_word_embeddings": True}, {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}],
    ids=["tied embeddings", "linear scaling"],
)
def test_language_models_of_other_forms(text: dict[str, Any], tmp_path: Path, tokenizer_directory: Path) -> None:
    """A checkpoint and its GGUF give transformers' scores with tied embeddings, and with stretched positions."""
    model = make_llava(**text)
    model.tie_weights()
    directory = tmp_path / "llava-hf"
    model.save_pretrained(directory)
    (directory / "tokenizer.model").write_bytes((tokenizer_directory / "tokenizer.model").read_bytes())
    if "rope_scaling" in text:
        (directory / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 1500}))
    state, _ = imported(directory, tmp_path / "checkpoint")
    assert ("language.lm_head.weight" in state) == ("rope_scaling" in text)
    reference = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint")
    image = picture(3)
    (asked,) = reference.embed_prompts(reference.encode(as_clip(image, None)), [PromptInput(slice(0, 1), QUESTION)])
    before = [1, *reference.tokenizer.encode(asked.prompt.before)]
    after = reference.tokenizer.encode(asked.prompt.after)
    answers = [reference.tokenizer.encode_answer(asked.prompt.after, label) for label in LABELS]
    expected = [Llava(model, directory).log_probs(image, before, after, answer) for answer in answers]
    assert reference.label_scores(image, QUESTION, LABELS) == pytest.approx(expected, abs=1e-4)
    language = reference.config.language
    assert language.max_position_embeddings == (1500 if "rope_scaling" in text else 512)
    assert gguf_scores(tmp_path, language, asked.embeddings.numpy(), answers) == pytest.approx(expected, abs=1e-4)


def gguf_scores(tmp_path: Path, language: Any, prompt: np.ndarray, answers: list[list[int]]) -> list[float]:
    """Score the answers after an embedded prompt with the checkpoint's GGUF, checked as a bundle's is."""
    from emo_edge.bundle.checks.gguf import check_gguf
    from emo_edge.export.gguf.writer import gguf_from_checkpoint
    from emo_edge.runtimes.llama_cpp.session import LlamaSession

    path = gguf_from_checkpoint(tmp_path / "checkpoint", language, tmp_path / "f32.gguf", file_type="f32", name="x")
    check_gguf(path)
    with LlamaSession(path, context_size=256, exact_cache=True, threads=1) as session:
        session.prefill([np.ascontiguousarray(prompt)])
        return [float(tokens.sum()) for tokens in session.score(answers)]


@torch.inference_mode()
def test_an_adapter_of_the_whole_model_merges(llava: Llava, tmp_path: Path) -> None:
    """PEFT on transformers' class: factors of the language model and of the tower, its unread last layer included."""
    import copy

    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "fc1", "up_proj"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        wrapped = get_peft_model(copy.deepcopy(llava.model), config).eval()
        for name, value in wrapped.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(value, std=0.1)
    wrapped.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    state, lines = imported(llava.directory, tmp_path / "checkpoint", lora=tmp_path / "adapter")
    assert "adapter: 2 adapted weights are in layers that LLaVA does not read" in lines
    assert "adapter: 8 weights merged, W + scale B A in float32" in lines
    merged = wrapped.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    (tmp_path / "merged" / "tokenizer.model").write_bytes((llava.directory / "tokenizer.model").read_bytes())
    expected, _ = imported(tmp_path / "merged", tmp_path / "expected")
    assert state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)
    plain, _ = imported(llava.directory, tmp_path / "plain")
    assert sum(not torch.equal(state[name], plain[name]) for name in plain) == 8


@torch.inference_mode()
def test_an_adapter_of_a_tied_output_matrix_unties_it(tmp_path: Path, tokenizer_directory: Path) -> None:
    """PEFT adds its factors beside the table that both share: the embeddings stay, the output matrix changes."""
    from peft import LoraConfig, get_peft_model

    model = make_llava(tie_word_embeddings=True)
    model.tie_weights()
    model.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "tokenizer.model").write_bytes((tokenizer_directory / "tokenizer.model").read_bytes())
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["lm_head"])
    with torch.random.fork_rng(devices=[]), pytest.warns(UserWarning, match="tie_word_embeddings"):
        torch.manual_seed(3)
        wrapped = get_peft_model(model, config).eval()
        for name, value in wrapped.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(value, std=0.1)
    wrapped.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    state, lines = imported(tmp_path / "base", tmp_path / "checkpoint", lora=tmp_path / "adapter")
    assert "  lm_head.weight: an adapter changes it alone, so it is no longer tied to the embeddings" in lines
    (layer,) = [one for name, one in wrapped.named_modules() if name.endswith("lm_head")]
    table = layer.base_layer.weight
    assert torch.equal(state["language.model.embed_tokens.weight"], table)
    changed_matrix = table + layer.get_delta_weight("default")
    torch.testing.assert_close(state["language.lm_head.weight"], changed_matrix, rtol=0, atol=1e-6)
    reference = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint")
    assert not reference.config.language.tie_word_embeddings
    rows = torch.randn(2, 5, table.shape[1], generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(reference.language.lm_head(rows), layer(rows), rtol=0, atol=1e-5)


def test_the_kind_of_a_projector_without_a_config_is_read_off_its_tensors(
    llava: Llava, original: Path, tmp_path: Path
) -> None:
    copy = changed(original, tmp_path, mm_projector_type=None)
    imported(copy, tmp_path / "checkpoint")
    assert EmoLlamaConfig.from_pretrained(tmp_path / "checkpoint").connector.projector_type == "mlp2x_gelu"


def test_a_projector_joins_its_base(llava: Llava, original: Path, tmp_path: Path) -> None:
    """``mm_projector.bin`` with its config, a language model alone, and the tower from its own directory."""
    state = llava.original()
    base = changed(original, tmp_path, model_type="llama", mm_projector_type=None, mm_vision_tower=None)
    (base / "pytorch_model.bin").unlink()
    own = {name: value for name, value in state.items() if "mm_projector" not in name and "vision_tower" not in name}
    save_file(own, base / "model.safetensors")
    stage = tmp_path / "stage-1"
    stage.mkdir()
    torch.save({name: value for name, value in state.items() if "mm_projector" in name}, stage / "mm_projector.bin")
    (stage / "config.json").write_text((original / "config.json").read_text())
    llava.model.model.vision_tower.save_pretrained(tmp_path / "tower")
    whole, _ = imported(original, tmp_path / "whole")
    parts, _ = imported(base, tmp_path / "parts", vision=tmp_path / "tower", projector=stage / "mm_projector.bin")
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
