"""A GGUF and its mmproj to a bundle, and what the bundle computes."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import save_file

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.hostile.small_bundle import small_config
from emo_edge.benchmarks.random_vlm.families import FAMILIES
from emo_edge.bundle.manifest import QuestionCache
from emo_edge.bundle.prompts import classify_question
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.app import main
from emo_edge.cli.inspect import described
from emo_edge.diagnostics.trials.llama import compute_prompt
from emo_edge.errors import BundleError, CheckpointError, InputError
from emo_edge.export.configs.checkpoint import FaceXFormerConfig
from emo_edge.export.reference.face_network import FaceNetwork
from emo_edge.export.reference.label_network import LabelNetwork
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.export.vlm.bundle import bundle_from_gguf
from emo_edge.export.vlm.config import VlmConfig, VlmFiles
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.media.crops import square_crop
from emo_edge.runtimes.llama_cpp import session as sessions
from emo_edge.runtimes.llama_cpp.admitted import admit
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.runtimes.mtmd.encoder import MtmdEncoder
from tests.random_vlms import Written, written_vlm

LABELS = ("anger", "fear", "happiness")
BOX = (20.0, 30.0, 150.0, 160.0)


@pytest.fixture(scope="module")
def smolvlm(made_once: Callable[..., Path]) -> Written:
    return written_vlm(made_once, "smolvlm")


@pytest.fixture(scope="module", params=list(FAMILIES))
def imported(
    request: pytest.FixtureRequest, made_once: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Written, Bundle]:
    written = written_vlm(made_once, request.param)
    target = tmp_path_factory.mktemp(request.param) / "bundle"
    config = VlmConfig(picture_size=written.vlm.side)
    return written, bundle_from_gguf(VlmFiles(written.model, written.mmproj), target, config)


def test_probabilities_are_those_of_the_prompt_read_by_hand(imported: tuple[Written, Bundle]) -> None:
    """From the picture on: crop, libmtmd, the chat template's text, the labels' tokens one after another."""
    written, bundle = imported
    admit(written.model)
    image = packaged_samples(1)[0].image
    with EmotionPipeline.open(bundle, device="cpu", threads=1) as pipeline:
        found = pipeline.read(image, Request(labels=LABELS), boxes=[BOX])[0].probabilities
    crop = square_crop(image, BOX, margin=0.25, size=written.vlm.side, fill=(0.5, 0.5, 0.5)).pixels
    question = classify_question(bundle.manifest.prompt, LABELS)
    before, after = written_prompt(written, question)
    space = "" if after.endswith("\n") else " "
    with (
        LlamaSession(written.model, context_size=512, exact_cache=True, threads=1) as language,
        MtmdEncoder(written.mmproj, language, threads=1, exact=True) as encoder,
    ):
        picture = encoder.encode(crop)
        first = language.tokenize(before, control=True)
        begin = [language.begin_token] if written.family in ("llava", "gemma3") else []
        scores = []
        for label in LABELS:
            context = language.tokenize(after, control=True)
            answer = language.tokenize(after + space + label, control=True)[len(context) :]
            total = 0.0
            for index, token in enumerate(answer):
                language.prefill([[*begin, *first], *picture, [*context, *answer[:index]]])
                total += float(language.score([[token]])[0][0])
            scores.append(total)
    expected = np.exp(scores - np.logaddexp.reduce(scores))
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-4)


def test_a_grey_picture_reads_with_a_question_cache_as_without(imported: tuple[Written, Bundle]) -> None:
    """Its keys and values are those that the cache holds, at the places that the family gives to a picture."""
    written, bundle = imported
    profiles = {
        name: profile.model_copy(update={"question_cache": QuestionCache(head=2, tail=1)})
        for name, profile in bundle.manifest.profiles.items()
    }
    cached = Bundle(bundle.directory, bundle.manifest.model_copy(update={"profiles": profiles}))
    grey, boxes = np.full((64, 64, 3), 127, np.uint8), [(0.0, 0.0, 64.0, 64.0)]
    with EmotionPipeline.open(cached, device="cpu", threads=1) as pipeline:
        pipeline.read(packaged_samples(1)[0].image, Request(labels=LABELS), boxes=[BOX])
        found = pipeline.read(grey, Request(labels=LABELS), boxes=boxes)[0]
        expected = pipeline.read(grey, Request(labels=LABELS, question_cache=False), boxes=boxes)[0]
    # Gemma 3 has a sliding window, whose past is not all there: such a model computes its question each time.
    uses = written.family != "gemma3"
    assert (found.settings.question_cache, expected.settings.question_cache) == (uses, False)
    np.testing.assert_allclose(list(found.probabilities.values()), list(expected.probabilities.values()), atol=1e-5)


def test_a_question_of_a_file_is_read_as_it_was_computed(
    imported: tuple[Written, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions on a grid, and a picture whose rows attend to each other, among them."""
    written, bundle = imported
    monkeypatch.setattr(sessions, "FILES_FROM", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    profiles = {
        name: profile.model_copy(update={"question_cache": QuestionCache(head=2, tail=1)})
        for name, profile in bundle.manifest.profiles.items()
    }
    cached = Bundle(bundle.directory, bundle.manifest.model_copy(update={"profiles": profiles}))
    found = []
    for _ in range(2):
        with EmotionPipeline.open(cached, device="cpu", threads=1) as pipeline:
            found.append(pipeline.read(packaged_samples(1)[0].image, Request(labels=LABELS), boxes=[BOX])[0])
    assert found[0].probabilities == found[1].probabilities
    kept = list((tmp_path / "emo-edge" / "questions").glob("*.sealed"))
    assert len(kept) == (written.family != "gemma3")


def written_prompt(written: Written, question: str) -> tuple[str, str]:
    return {
        "llava": ("USER: ", f"{question} ASSISTANT:"),
        "qwen2-vl": ("<|im_start|>user\n", f"{question}<|im_end|>\n<|im_start|>assistant\n"),
        "smolvlm": ("<|im_start|>User: ", f"{question}<end_of_utterance>\nAssistant:"),
        "internvl": ("<|im_start|>user\n", f"{question}<|im_end|>\n<|im_start|>assistant\n"),
        "gemma3": ("<start_of_turn>user\n", f"{question}<end_of_turn>\n<start_of_turn>model\n"),
    }[written.family]


def test_a_bundle_is_verified_described_and_answers(imported: tuple[Written, Bundle]) -> None:
    _, bundle = imported
    manifest = Bundle.open(bundle.directory, use_cache=False).manifest
    assert manifest.components.mmproj and manifest.provenance["reference"] == "none"
    assert ("warning" in manifest.provenance) == (imported[0].family in ("llava", "internvl"))
    image = packaged_samples(1)[0].image
    with EmotionPipeline.open(bundle, device="cpu") as pipeline:
        asked = Request(describe=True, prior_correction=True)
        result = pipeline.read(image, asked, boxes=[BOX])[0]
        assert len(result.answers) == 1 and abs(sum(result.probabilities.values()) - 1) < 1e-6
        one_picture = imported[0].family == "llava"
        assert manifest.components.mmproj.pictures == ("one" if one_picture else "several")
        assert (", so no clips" in described(manifest)) == one_picture
        if one_picture:
            single = pipeline.read_clip([image], boxes=[BOX])
            assert single is not None and single.frames == 1
            for read in (
                lambda: pipeline.read_clip([image, image], boxes=[BOX, BOX]),
                lambda: pipeline.check(Request(), frames=2),
            ):
                with pytest.raises(InputError, match=r"takes one picture, not a clip of 2 frames: read single frames"):
                    read()
            return
        clip = pipeline.read_clip([image, image], boxes=[BOX, BOX])
        assert clip is not None and clip.frames == 2
        with pytest.raises(InputError, match="use fewer frames"):
            pipeline.check(Request(), frames=500)


def test_a_reference_measures_what_quantization_costs(smolvlm: Written, tmp_path: Path) -> None:
    files = VlmFiles(smolvlm.half, smolvlm.mmproj, reference=smolvlm.model)
    bundle = bundle_from_gguf(files, tmp_path / "b", VlmConfig(labels=LABELS), packaged_samples(4))
    profiles = bundle.manifest.profiles
    assert profiles["exact"].language == "f16" and profiles["f32"].language == "f32"
    assert profiles["exact"].evidence["label_agreement"] == 1 and profiles["exact"].evidence["samples"] == 4
    assert next(iter(bundle.manifest.label_sets)) == "own"


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"context": 60}, BundleError, r"need \d+, the context has 60: choose a larger `context`"),
        ({"template": "no picture"}, InputError, "the template needs <image>"),
        ({"labels": ("happy",)}, InputError, "give two or more different ones"),
        ({"labels": ("happy", "sa\nd")}, InputError, "each on one line"),
        ({"classify": "What?"}, InputError, r"lacks \{medium\}, \{labels\}"),
        ({"template": "<image>{demographics}{question}<image>"}, InputError, "must hold <image> exactly once"),
        ({"face": Path("nowhere")}, CheckpointError, "no checkpoint, which is a folder with config.json"),
        ({"labels": ("happy", "<end_of_utterance>")}, InputError, "holds the name of a control token"),
        ({"picture_size": 2048}, BundleError, "fills .* positions, the model was trained for .* every picture"),
    ],
)
def test_choices_that_cannot_be_used(
    smolvlm: Written, tmp_path: Path, changes: dict[str, Any], error: type[Exception], match: str
) -> None:
    config = replace(VlmConfig(), **changes)
    if "picture_size" in changes:
        smolvlm = smolvlm._replace(mmproj=tiled(smolvlm.mmproj, tmp_path))
    with pytest.raises(error, match=match):
        bundle_from_gguf(VlmFiles(smolvlm.model, smolvlm.mmproj), tmp_path / "b", config)
    assert not (tmp_path / "b").exists()


def tiled(mmproj: Path, folder: Path) -> Path:
    """Let the tower cut a picture into 40 x 40 tiles."""
    content, key = mmproj.read_bytes(), b"clip.vision.preproc_image_size"
    start = content.index(key) + len(key) + 4
    path = folder / "tiled.gguf"
    path.write_bytes(content[:start] + (64 * 40).to_bytes(4, "little") + content[start + 4 :])
    return path


def without_spread(mmproj: Path) -> bytes:
    """Set the deviations that pixels are divided by to zero."""
    content, key = mmproj.read_bytes(), b"clip.vision.image_std"
    start = content.index(key) + len(key) + 16
    return content[:start] + bytes(12) + content[start + 12 :]


def test_files_that_cannot_be_used(smolvlm: Written, tmp_path: Path) -> None:
    missing, pipe = tmp_path / "missing.gguf", tmp_path / "pipe.gguf"
    os.mkfifo(pipe)

    def holding(content: bytes) -> Path:
        path = tmp_path / f"{zlib.crc32(content)}.bin"
        path.write_bytes(content)
        return path

    for model, mmproj, match in (
        (missing, smolvlm.mmproj, "no such file"),
        (smolvlm.model, smolvlm.mmproj.parent, "a folder; name one GGUF file in it, such as half.gguf, mmproj.gguf"),
        (pipe, smolvlm.mmproj, "no plain file, but a pipe"),
        (holding(b"<!DOCTYPE html>"), smolvlm.mmproj, "an HTML page, not the file; fetch it again"),
        (smolvlm.model, holding(b"version https://git-lfs.github.com/spec/v1"), "a Git LFS pointer, not the file"),
        (smolvlm.model, holding(b'{"error": "Invalid credentials"}'), "error message of a server"),
        (smolvlm.model, holding(b"PK\x03\x04" + bytes(99)), "weights of PyTorch, not GGUF; .*convert_hf_to_gguf.py"),
        (holding(b"\x10" + bytes(7) + b"{}"), smolvlm.mmproj, "weights of PyTorch, not GGUF"),
        (holding(b""), smolvlm.mmproj, "an empty file"),
        (smolvlm.model, holding(without_spread(smolvlm.mmproj)), "image_std: '.0.0, .*; numbers above 0 are allowed"),
        (holding(b"GGUF\x09" + bytes(99)), smolvlm.mmproj, "not GGUF of version 2 or 3; download it again"),
        (smolvlm.mmproj, smolvlm.model, "are the two files swapped"),
        (smolvlm.model, smolvlm.model, "a language model, not an mmproj"),
    ):
        with pytest.raises(CheckpointError, match=match):
            bundle_from_gguf(VlmFiles(model, mmproj), tmp_path / "b", VlmConfig())


def test_a_reference_must_be_the_same_model_unquantized(
    smolvlm: Written, made_once: Callable[..., Path], tmp_path: Path
) -> None:
    other = written_vlm(made_once, "llava").model
    with pytest.raises(BundleError, match="other sizes than the model's"):
        bundle_from_gguf(VlmFiles(smolvlm.half, smolvlm.mmproj, other), tmp_path / "b", VlmConfig())
    with pytest.raises(InputError, match="another type than the model, not f16"):
        bundle_from_gguf(VlmFiles(smolvlm.half, smolvlm.mmproj, smolvlm.half), tmp_path / "b", VlmConfig())


def test_what_a_file_says_of_itself_is_kept_on_one_line(smolvlm: Written, tmp_path: Path) -> None:
    odd = tmp_path / "odd.gguf"
    odd.write_bytes(smolvlm.model.read_bytes().replace(b"random weights", b"ran\nom \x1b[1m it"))
    bundle = bundle_from_gguf(VlmFiles(odd, smolvlm.mmproj), tmp_path / "b", VlmConfig())
    assert bundle.manifest.name == r"ran om \u001b[1m it"


def test_doctor_computes_a_prompt_with_it(smolvlm: Written, tmp_path: Path) -> None:
    bundle = bundle_from_gguf(VlmFiles(smolvlm.model, smolvlm.mmproj), tmp_path / "b", VlmConfig())
    assert compute_prompt(bundle.directory, amx=False) == {"model": "f32 of b computes a prompt"}


def test_a_model_without_a_chat_template_asks_for_one(smolvlm: Written, tmp_path: Path) -> None:
    key = b"tokenizer.chat_template"
    plain = tmp_path / "plain.gguf"
    plain.write_bytes(smolvlm.model.read_bytes().replace(key, b"tokenizer.chat_templatf"))
    with pytest.raises(BundleError, match="no chat template; give `template`"):
        bundle_from_gguf(VlmFiles(plain, smolvlm.mmproj), tmp_path / "b", VlmConfig())
    config = VlmConfig(template="User: <image>{demographics}{question} Answer:")
    bundle = bundle_from_gguf(VlmFiles(plain, smolvlm.mmproj), tmp_path / "b", config)
    assert bundle.manifest.prompt.template == config.template


def test_an_mmproj_of_another_bundle_is_refused_on_the_device(imported: tuple[Written, Bundle], tmp_path: Path) -> None:
    _, bundle = imported
    group = bundle.manifest.frames_segment.groups[0]
    frames = bundle.manifest.frames_segment.model_copy(update={"groups": (group.model_copy(update={"count": 3}),)})
    layout = tuple(frames if one.kind == "frames" else one for one in bundle.manifest.layout)
    changed = Bundle(bundle.directory, bundle.manifest.model_copy(update={"layout": layout}))
    image = packaged_samples(1)[0].image
    with (
        EmotionPipeline.open(changed, device="cpu") as pipeline,
        pytest.raises(BundleError, match="the layout has 3: import the files again"),
    ):
        pipeline.read(image, boxes=[BOX])


def test_a_face_network_beside_the_model_gives_face_facts_and_the_sentence(
    smolvlm: Written, toy_model: Any, tmp_path: Path
) -> None:
    face = face_checkpoint(toy_model, tmp_path / "face")
    config = VlmConfig(face=face, use_demographics=True, face_precisions=("fp32",))
    bundle = bundle_from_gguf(VlmFiles(smolvlm.model, smolvlm.mmproj), tmp_path / "b", config, packaged_samples(2))
    assert bundle.manifest.profiles["exact"].face == "fp32"
    image = packaged_samples(1)[0].image
    with EmotionPipeline.open(bundle, device="cpu") as pipeline:
        with_sentence = pipeline.read(image, boxes=[BOX])[0]
        without = pipeline.read(image, Request(demographics=False), boxes=[BOX])[0]
    assert with_sentence.face is not None and with_sentence.settings.demographics
    assert with_sentence.probabilities != without.probabilities


@pytest.mark.usefixtures("traced_once")
def test_the_face_network_of_a_whole_checkpoint_stands_beside_the_model(smolvlm: Written, tmp_path: Path) -> None:
    """emo-tiny by its name: its language model is left alone, its face network and its action units are taken."""
    words = ["import", "gguf", "--model", smolvlm.model, "--mmproj", smolvlm.mmproj, "--face", "emo-tiny"]
    words += ["--demographic-sentence", "--limit", 4, "--out", tmp_path / "b"]
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == 0, done.output
    manifest = Bundle.open(tmp_path / "b").manifest
    assert manifest.components.mmproj and manifest.components.face and manifest.action_units
    assert manifest.provenance["face_network"] == "emo-tiny"
    assert "; age, gender and race in the prompt" in described(manifest)
    sample = packaged_samples(1)[0]
    read = ["infer", tmp_path / "b", sample.source, "--face-facts", "--demographics", "--device", "cpu"]
    shown = CliRunner().invoke(main, list(map(str, read)))
    assert shown.exit_code == 0, shown.output
    assert "    pose: pitch " in shown.stdout and "    attributes: " in shown.stdout and "    age " in shown.stdout


def test_a_checkpoint_without_a_face_network_is_named(
    smolvlm: Written, toy_model: EmoLlamaForConditionalGeneration, tmp_path: Path
) -> None:
    plain = toy_model.config.model_copy(update={"face": None, "face_info": None, "action_units": None})
    plain.save_pretrained(tmp_path)
    files, config = VlmFiles(smolvlm.model, smolvlm.mmproj), VlmConfig(face=tmp_path)
    with pytest.raises(CheckpointError, match="a checkpoint without a face network"):
        bundle_from_gguf(files, tmp_path / "b", config, packaged_samples(1))


def test_the_sentence_needs_a_face_network(smolvlm: Written, tmp_path: Path) -> None:
    config = VlmConfig(use_demographics=True)
    with pytest.raises(InputError, match="comes from a face network: name one with `face`"):
        bundle_from_gguf(VlmFiles(smolvlm.model, smolvlm.mmproj), tmp_path / "b", config)


def test_a_network_of_labels_is_no_face_network(smolvlm: Written, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    network = LabelNetwork(small_config())
    write_network(network, labels)
    files, config = VlmFiles(smolvlm.model, smolvlm.mmproj), VlmConfig(face=labels)
    with pytest.raises(InputError, match="a network of labels; beside a language model"):
        bundle_from_gguf(files, tmp_path / "b", config, packaged_samples(1))


def face_checkpoint(toy_model: Any, folder: Path) -> Path:
    network = FaceNetwork(FaceXFormerConfig(face=toy_model.config.face))
    network.face.load_state_dict(toy_model.face.state_dict())
    return write_network(network, folder)


def write_network(network: FaceNetwork | LabelNetwork, folder: Path) -> Path:
    folder.mkdir()
    network.config.save_pretrained(folder)
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder
