"""The whole reference at toy size: scores against naive passes, token order, prompts, faults."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from emo_edge.bundle.prompts import build_prompt, classify_question, demographic_sentence
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.models.facexformer import FaceOutputs
from emo_edge.export.reference.frames import FrameFeatures, as_clip
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration as Model
from emo_edge.export.reference.model import PromptInput
from emo_edge.runtimes.base.sessions import Sampling

Image = NDArray[np.uint8]
QUESTION = "Which facial cues are visible?"
LABELS = ["neutral", "happiness", "bittersweet nostalgia", "fear"]
BOX = (6.0, 4.0, 40.0, 44.0)


def image(seed: int, height: int = 48, width: int = 52) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def clip() -> list[Image]:
    return [image(1), image(2, 60, 40), image(3)]


def changed(config: EmoLlamaConfig, **parts: Any) -> EmoLlamaConfig:
    return EmoLlamaConfig.from_dict({**config.model_dump(), **parts})


def naive_scores(model: Model, frames: list[Image], prompt: tuple[str, str], question: str) -> list[float]:
    """Score each label by its own forward pass over embeddings joined here, one after the other."""
    config, embed, text = model.config, model.language.get_input_embeddings(), model.tokenizer
    tokens: list[Tensor] = [embed(torch.tensor([config.language.bos_token_id, *text.encode(prompt[0])]))]
    ids = torch.tensor([model.question_tokenizer.encode(question)])
    for frame in frames:
        seen, face = model.crops(frame, BOX)
        features = model.vision_features(seen.pixels[None])
        tokens.append(model.connector.context_token(features, ids, torch.ones_like(ids))[0])
        tokens.append(model.connector.content_tokens(features)[0])
        if model.face_info is not None and face is not None:
            outputs = model.face_outputs(face.pixels[None])
            tokens.append(model.face_info(outputs.face_map, outputs.landmarks)[0])
    scores = []
    for label in LABELS:
        before, both = text.encode(prompt[1]), text.encode(f"{prompt[1]} {label}")
        sequence = torch.cat([*tokens, embed(torch.tensor(both))])[None]
        log_probs = model.language(inputs_embeds=sequence).logits[0].log_softmax(-1)
        first = sequence.shape[1] - len(both) + len(before)
        rows = range(first, sequence.shape[1])
        scores.append(sum(float(log_probs[row - 1, both[row - first + len(before)]]) for row in rows))
    return scores


@torch.inference_mode()
@pytest.mark.parametrize("count", [1, 3])
def test_label_scores_equal_naive_forward_passes(toy_model: Model, clip: list[Image], count: int) -> None:
    prompt = build_prompt(toy_model.config.prompt, QUESTION)
    frames = clip[:count]
    actual = toy_model.label_scores(frames, QUESTION, LABELS, boxes=BOX, demographics=False)
    expected = naive_scores(toy_model, frames, (prompt.before, prompt.after), QUESTION)
    assert (actual.dtype, actual.shape) == (np.float32, (4,))
    assert actual.tolist() == pytest.approx(expected, abs=1e-4)
    assert np.ptp(actual) > 1


@torch.inference_mode()
def test_label_scores_equal_naive_forward_passes_with_the_sentence(toy_model: Model, clip: list[Image]) -> None:
    features = toy_model.encode(as_clip(clip[:1], BOX))
    prompt = toy_model.prompt_text(features, PromptInput(slice(0, 1), QUESTION, clip=True))
    assert "The person in the video is a " in prompt.after
    actual = toy_model.label_scores(clip[:1], QUESTION, LABELS, boxes=BOX)
    expected = naive_scores(toy_model, clip[:1], (prompt.before, prompt.after), QUESTION)
    assert actual.tolist() == pytest.approx(expected, abs=1e-4)


@torch.inference_mode()
def test_a_batch_of_prompts_equals_one_by_one(toy_model: Model, clip: list[Image]) -> None:
    features = toy_model.encode(as_clip(clip, None))
    prompts = [
        PromptInput(slice(0, 1), classify_question(toy_model.config.prompt, LABELS)),
        PromptInput(slice(1, 3), "Why?", clip=True, demographics=False),
    ]
    together = toy_model.embed_prompts(features, prompts)
    alone = [
        toy_model.embed_prompts(features.frames(one.frames), [PromptInput(slice(0, None), one.question, *rest)])[0]
        for one, rest in zip(prompts, ([False, None], [True, False]), strict=True)
    ]
    for batched, single in zip(together, alone, strict=True):
        assert batched.prompt == single.prompt
        assert (batched.embeddings - single.embeddings).abs().max() <= 1e-4
    scores = toy_model.score_prompts(together, LABELS)
    assert scores.shape == (2, 4)
    assert np.abs(scores - np.concatenate([toy_model.score_prompts([one], LABELS) for one in alone])).max() <= 1e-3
    sampling = Sampling(max_new_tokens=6)
    assert toy_model.answer_prompts(together, sampling) == [toy_model.answer_prompts([t], sampling)[0] for t in alone]


def test_an_image_is_a_clip_of_one_frame(toy_model: Model) -> None:
    one, frame = image(1), {"boxes": BOX, "demographics": False}
    assert np.array_equal(
        toy_model.label_scores(one, QUESTION, LABELS, **frame), toy_model.label_scores([one], QUESTION, LABELS, **frame)
    )
    assert np.array_equal(
        toy_model.label_scores(one, QUESTION, LABELS, **frame),
        toy_model.label_scores(one[None], QUESTION, LABELS, **frame),
    )


@torch.inference_mode()
def test_an_image_and_a_clip_differ_in_one_word(toy_model: Model) -> None:
    features = toy_model.encode(as_clip(image(1), None))
    texts = [
        toy_model.prompt_text(features, PromptInput(slice(0, 1), "Who?", clip=moving)).after for moving in (False, True)
    ]
    assert texts[0] != texts[1]
    assert texts[0].replace("in the image", "in the video") == texts[1]


@torch.inference_mode()
def test_the_order_is_context_content_face(toy_model: Model, clip: list[Image]) -> None:
    features = toy_model.encode(as_clip(clip, None))
    tokens = toy_model.visual_tokens(features, [QUESTION] * 3)
    ids = toy_model.question_inputs([QUESTION] * 3).values()
    assert features.face is not None
    assert tokens.shape == (3, toy_model.config.tokens_per_frame, 32) == (3, 1 + 4 + 3, 32)
    assert torch.equal(tokens[:, :1], toy_model.connector.context_token(features.vision, *ids))
    assert torch.equal(tokens[:, 1:5], toy_model.connector.content_tokens(features.vision))
    assert torch.equal(tokens[:, 5:], toy_model.face_info(features.face.face_map, features.face.landmarks))


@torch.inference_mode()
def test_frames_follow_one_another_inside_the_prompt(toy_model: Model, clip: list[Image]) -> None:
    features = toy_model.encode(as_clip(clip, None))
    (embedded,) = toy_model.embed_prompts(features, [PromptInput(slice(0, 3), QUESTION, clip=True)])
    embed, text = toy_model.language.get_input_embeddings(), toy_model.tokenizer
    before = embed(torch.tensor([1, *text.encode(embedded.prompt.before)]))
    after = embed(torch.tensor(text.encode(embedded.prompt.after)))
    visual = toy_model.visual_tokens(features, [QUESTION] * 3)
    assert torch.equal(embedded.embeddings, torch.cat([before, *visual, after]))
    assert torch.equal(embedded.visual, visual)


@torch.inference_mode()
def test_ablation_removes_exactly_its_tokens(toy_model: Model, clip: list[Image]) -> None:
    features = toy_model.encode(as_clip(clip, None))
    questions = [QUESTION] * 3
    whole = toy_model.visual_tokens(features, questions)
    assert torch.equal(toy_model.visual_tokens(features, questions, ["vision"]), whole[:, 5:])
    assert torch.equal(toy_model.visual_tokens(features, questions, ["face"]), whole[:, :5])
    assert toy_model.visual_tokens(features, questions, ["face", "vision"]).shape == (3, 0, 32)
    prompt = PromptInput(slice(0, 3), QUESTION, clip=True)
    kept, cut = (toy_model.embed_prompts(features, [prompt], names)[0] for names in ([], ["face", "vision"]))
    assert kept.prompt == cut.prompt
    assert len(kept.embeddings) - len(cut.embeddings) == 3 * 8


def test_ablation_changes_the_scores_of_both_branches(toy_model: Model) -> None:
    cases: list[list[str]] = [[], ["face"], ["vision"], ["vision", "face"]]
    scores = [toy_model.label_scores(image(1), QUESTION, LABELS, ablate=names, demographics=False) for names in cases]
    gaps = [np.abs(one - other).max() for place, one in enumerate(scores) for other in scores[:place]]
    assert min(gaps) > 1e-3
    blind = toy_model.label_scores(image(2), QUESTION, LABELS, ablate=cases[3], demographics=False)
    assert np.array_equal(blind, scores[3])


@torch.inference_mode()
def test_the_sentence_follows_the_config_unless_asked(
    toy_model: Model, build_model: Callable[..., Model], toy_config: EmoLlamaConfig
) -> None:
    silent = build_model(changed(toy_config, prompt={"use_demographics": False}))
    for model, default in ((toy_model, True), (silent, False)):
        features = model.encode(as_clip(image(1), None))
        for asked, told in ((None, default), (True, True), (False, False)):
            prompt = model.prompt_text(features, PromptInput(slice(0, 1), QUESTION, demographics=asked))
            assert ("The person in the image is a " in prompt.after) == told
    asked = toy_model.label_scores(image(1), QUESTION, LABELS, demographics=True)
    assert np.array_equal(asked, silent.label_scores(image(1), QUESTION, LABELS, demographics=True))
    assert not np.array_equal(asked, silent.label_scores(image(1), QUESTION, LABELS))


@torch.inference_mode()
def test_a_clips_person_is_the_mean_of_probabilities_over_its_frames(toy_model: Model, clip: list[Image]) -> None:
    features = toy_model.encode(as_clip(clip, None))
    assert features.face is not None
    # Age: one frame is sure, two lean elsewhere, so votes would say otherwise. Gender: the mean logit would.
    age = torch.zeros(3, 8)
    age[0, 0], age[1:, 1] = 20.0, 0.5
    gender = torch.tensor([[0.0, 3.0], [0.0, 3.0], [9.0, 0.0]])
    race = torch.tensor([[0.0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 0]])
    features = FrameFeatures(features.vision, features.face._replace(age=age, gender=gender, race=race))
    sentence = toy_model.prompt_text(features, PromptInput(slice(0, 3), "?", clip=True)).after
    assert sentence == "\nThe person in the video is a Asian female aged 0-9. ? ASSISTANT:"
    part = toy_model.prompt_text(features, PromptInput(slice(1, 2), "?")).after
    assert part == "\nThe person in the image is a Asian female aged 10-19. ? ASSISTANT:"
    means = [logits.softmax(-1).mean(0).numpy() for logits in (age, gender, race)]
    config = toy_model.config
    assert demographic_sentence(config.prompt, config.face_labels, *means, clip=True) in sentence


def test_a_checkpoint_without_a_face_network_answers(
    build_model: Callable[..., Model], toy_config: EmoLlamaConfig, tmp_path: Path
) -> None:
    model = build_model(changed(toy_config, face=None, face_info=None))
    model.save_pretrained(tmp_path, overwrite=True)
    again = Model.from_pretrained(tmp_path)
    assert not [name for name in again.state_dict() if name.startswith("face")]
    scores = again.label_scores(image(1), QUESTION, LABELS, boxes=BOX)
    assert np.isfinite(scores).all()
    assert np.array_equal(scores, again.label_scores(image(1), QUESTION, LABELS, boxes=BOX, demographics=True))
    assert again.config.tokens_per_frame == 5
    assert isinstance(again.generate([image(1), image(2)], QUESTION, sampling=Sampling(max_new_tokens=3)), str)
    assert again.crops(image(1))[1] is None
    with pytest.raises(InputError, match="this checkpoint has no face network"):
        again.face_outputs(np.zeros((1, 32, 32, 3), np.uint8))


@torch.inference_mode()
def test_a_face_network_without_face_info_still_tells_the_person(
    build_model: Callable[..., Model], toy_config: EmoLlamaConfig
) -> None:
    model = build_model(changed(toy_config, face_info=None))
    features = model.encode(as_clip(image(1), None))
    assert isinstance(features.face, FaceOutputs)
    assert model.visual_tokens(features, [QUESTION]).shape == (1, 5, 32)
    assert "The person in the image is a " in model.prompt_text(features, PromptInput(slice(0, 1), QUESTION)).after


def test_save_and_load_give_identical_scores(toy_model: Model, toy_checkpoint: Path, tmp_path: Path) -> None:
    first = Model.from_pretrained(toy_checkpoint)
    first.save_pretrained(tmp_path / "again")
    second = Model.from_pretrained(tmp_path / "again")
    scores = [model.label_scores([image(1), image(2)], QUESTION, LABELS) for model in (first, second, toy_model)]
    assert np.array_equal(scores[0], scores[1])
    # Same numbers at other addresses: BLAS adds up in another order where memory is aligned otherwise.
    assert scores[0].tolist() == pytest.approx(scores[2].tolist(), abs=1e-4)
    state = toy_model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in first.state_dict().items())
    names = sorted(path.name for path in (tmp_path / "again").iterdir())
    assert names == ["config.json", "model.safetensors", "question_tokenizer.json", "tokenizer.model"]
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (toy_checkpoint / name).read_bytes(), name


def test_bfloat16_loads_and_stays_close(toy_model: Model, toy_checkpoint: Path) -> None:
    model = Model.from_pretrained(toy_checkpoint, dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    scores = model.label_scores(image(1), QUESTION, LABELS, demographics=False)
    expected = toy_model.label_scores(image(1), QUESTION, LABELS, demographics=False)
    assert scores.dtype == np.float32
    assert np.abs(scores - expected).max() < 0.1 * np.abs(expected).max()


def test_a_loaded_model_is_ready_for_inference(toy_checkpoint: Path) -> None:
    model = Model.from_pretrained(toy_checkpoint)
    assert not model.training
    assert not any(part.requires_grad or part.is_meta for part in (*model.parameters(), *model.buffers()))


def test_generating_repeats_and_samples_by_seed(toy_model: Model) -> None:
    def said(seed: int) -> str:
        sampling = Sampling(max_new_tokens=8, temperature=1.0, seed=seed)
        return toy_model.generate(image(1), QUESTION, boxes=BOX, sampling=sampling)

    assert said(1) == said(1)
    assert said(1) != said(2)


def test_boxes_are_one_for_all_or_one_each(toy_model: Model) -> None:
    frames = [image(1), image(2)]
    one = toy_model.label_scores(frames, QUESTION, LABELS, boxes=BOX)
    each = toy_model.label_scores(frames, QUESTION, LABELS, boxes=[BOX, BOX])
    rows = toy_model.label_scores(frames, QUESTION, LABELS, boxes=np.array([BOX, BOX]))  # type: ignore[arg-type]
    row = toy_model.label_scores(frames, QUESTION, LABELS, boxes=np.array(BOX))  # type: ignore[arg-type]
    assert np.array_equal(one, each) and np.array_equal(one, rows) and np.array_equal(one, row)
    assert not np.array_equal(one, toy_model.label_scores(frames, QUESTION, LABELS))


NAN = float("nan")


@pytest.mark.parametrize(
    ("frames", "boxes", "message"),
    [
        (image(1).astype(np.float32) / 255, None, r"uint8 RGB array \[height, width, 3\], not float32"),
        (image(1)[..., 0], None, "uint8 RGB array"),
        (image(1)[..., :2], None, "uint8 RGB array"),
        (np.zeros((4, 4, 4), np.uint8), None, "uint8 RGB array"),
        (np.zeros((0, 4, 3), np.uint8), None, "at least one pixel"),
        ([image(1), np.zeros((4, 0, 3), np.uint8)], None, "at least one pixel"),
        ([], None, "a clip needs at least one frame"),
        (np.zeros((0, 8, 8, 3), np.uint8), None, "a clip needs at least one frame"),
        (None, None, "give an image"),
        ("face.png", None, "uint8 RGB array"),
        (image(1), (60, 4, 70, 20), "lies outside the 52x48 frame"),
        (image(1), (-20, -20, 0, 0), "lies outside the 52x48 frame"),
        (image(1), (NAN, 0, 10, 10), "x1 > x0 and y1 > y0"),
        (image(1), (0, 0, float("inf"), 10), "x1 > x0 and y1 > y0"),
        (image(1), (-1e308, -1e308, 1e308, 1e308), "x1 > x0 and y1 > y0"),
        (image(1), (10, 10, 10, 20), "x1 > x0 and y1 > y0"),
        (image(1), (20, 10, 10, 20), "x1 > x0 and y1 > y0"),
        (image(1), (1, 2, 3), "four numbers"),
        (image(1), "box", "four numbers"),
        (image(1), 7, "give a face box"),
        (image(1), [BOX, BOX], "1 frames but 2 face boxes: give one box, or one a frame"),
        ([image(1), image(2)], [BOX], "2 frames but 1 face boxes"),
        ([image(1), image(2)], [], "2 frames but 0 face boxes"),
    ],
)
def test_input_that_cannot_be_read_is_an_input_error(toy_model: Model, frames: Any, boxes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        toy_model.label_scores(frames, QUESTION, LABELS, boxes=boxes)
    with pytest.raises(InputError, match=message):
        toy_model.generate(frames, QUESTION, boxes=boxes)


def test_questions_about_nothing_are_input_errors(toy_model: Model) -> None:
    with pytest.raises(InputError, match="at least one label"):
        toy_model.label_scores(image(1), QUESTION, [])
    with pytest.raises(InputError, match="ablate knows vision, face, not context, sound"):
        toy_model.label_scores(image(1), QUESTION, LABELS, ablate=["sound", "face", "context"])
    with pytest.raises(InputError, match="the model has 512: use fewer frames or less text"):
        toy_model.label_scores([image(1)] * 60, QUESTION, LABELS)


@pytest.mark.parametrize("name", ["language", "question"])
def test_a_vocabulary_larger_than_the_config_is_refused(
    build_model: Callable[..., Model], toy_model: Model, toy_config: EmoLlamaConfig, name: str
) -> None:
    values = toy_config.model_dump()
    part = values["language"] if name == "language" else values["connector"]["qformer"]
    rows = len(toy_model.tokenizer if name == "language" else toy_model.question_tokenizer) - 1
    part["vocab_size"] = rows
    with pytest.raises(CheckpointError, match=f"has {rows + 1} tokens, the config's vocabulary only {rows}"):
        build_model(EmoLlamaConfig.from_dict(values))


def test_a_config_that_does_not_fit_the_weights_names_the_tensors(toy_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_checkpoint, tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    values = json.loads(path.read_text())
    values["vision"]["num_layers"] += 1
    values["face_info"]["num_tokens"] += 1
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError) as caught:
        Model.from_pretrained(tmp_path / "copy")
    assert "misshapen: face_info.queries is [1, 3, 16], the config asks for [1, 4, 16]" in str(caught.value)
    assert "missing: vision.blocks.1." in str(caught.value)


def test_loading_neither_unpickles_nor_runs_what_lies_beside(
    toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Model.from_pretrained(toy_checkpoint).label_scores(image(1), QUESTION, LABELS)
    directory = tmp_path / "copy"
    shutil.copytree(toy_checkpoint, directory)
    trap = f"import pathlib\npathlib.Path({str(tmp_path / 'sprung')!r}).touch()\n"
    for name in ("modeling_emo_llama.py", "configuration_emo_llama.py", "tokenization_emo_llama.py", "__init__.py"):
        (directory / name).write_text(trap)
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (directory / name).write_bytes(b"\x80\x04cos\nsystem\n(S'touch sprung'\ntR.")

    def unpickled(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(torch, "load", unpickled)
    monkeypatch.setattr("pickle.load", unpickled)
    monkeypatch.setattr("pickle.loads", unpickled)
    monkeypatch.chdir(directory)
    model = Model.from_pretrained(directory)
    assert not (tmp_path / "sprung").exists() and not (directory / "sprung").exists()
    assert np.array_equal(model.label_scores(image(1), QUESTION, LABELS), expected)


@pytest.mark.parametrize("name", ["auto_map", "trust_remote_code", "_target_"])
def test_a_config_cannot_name_code_to_run(toy_checkpoint: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(toy_checkpoint, tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: "os.system"}))
    with pytest.raises(CheckpointError, match=f"{name}: unknown key"):
        Model.from_pretrained(tmp_path / "copy")


def test_saving_over_something_is_refused_unless_asked(toy_model: Model, tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    target.mkdir()
    (target / "mine.txt").write_text("keep me")
    with pytest.raises(CheckpointError, match="not empty"):
        toy_model.save_pretrained(target)
    assert (target / "mine.txt").read_text() == "keep me"
    toy_model.save_pretrained(target, overwrite=True)
    assert sorted(path.name for path in target.iterdir()) == [
        "config.json",
        "model.safetensors",
        "question_tokenizer.json",
        "tokenizer.model",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_text_that_no_encoding_can_write_is_refused(toy_model: Model) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(InputError, match="not valid Unicode"):
        toy_model.label_scores(image, "half a pair \ud83d", ["joy", "fear"])
