"""LLaVA on a Qwen2: biases, a byte-level tokenizer, a chat template; equal to transformers from the file on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import gguf
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from emo_edge.bundle.checks.gguf import check_gguf
from emo_edge.cli.app import main
from emo_edge.errors import CheckpointError
from emo_edge.export.gguf.vocabulary import QWEN2_PATTERN
from emo_edge.export.gguf.writer import gguf_from_checkpoint
from emo_edge.export.importers.llava.llava import LlavaPieces, checkpoint_from_llava
from emo_edge.export.reference.frames import as_clip
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, PromptInput
from emo_edge.export.reference.tokenizer import language_tokenizer_of
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from tests.export.importers.llava.conftest import IMAGE, VOCABULARY, Llava, make_llava, picture

QUESTION, LABELS = "What is the emotion?", ["joy", "fear", "surprise"]
CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CORPUS = [
    "You are a helpful assistant. What is the facial expression of the person in the image?",
    "Choose one from the following options: surprise, fear, disgust, joy, sadness, anger, neutral.",
    "system user assistant emotion happiness The person looks surprised",
]
TEXTS = ["don't x=3.14 (50 %)  two\n\nlines", "naïve «так» 情感 😀", "<|im_start|>user\nHi<|im_end|>\n"]


def write_tokenizer(directory: Path) -> None:
    """A tokenizer of Qwen2's form, learnt from a few sentences by ``tokenizers`` itself."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    tokenizer.add_special_tokens(CONTROLS)
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory: pytest.TempPathFactory) -> Llava:
    """Tied embeddings, as Qwen2's smaller models have."""
    model = make_llava(qwen2=True, tie_word_embeddings=True)
    directory = tmp_path_factory.mktemp("qwen2") / "llava-qwen2"
    model.save_pretrained(directory)
    write_tokenizer(directory)
    return Llava(model, directory)


@pytest.fixture(scope="module")
def checkpoint(qwen2: Llava, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("imported") / "qwen2"
    checkpoint_from_llava(LlavaPieces(qwen2.directory), target)
    return target


@pytest.fixture(scope="module")
def f32(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    language = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint).config.language
    out = tmp_path_factory.mktemp("gguf") / "language.gguf"
    return gguf_from_checkpoint(checkpoint, language, out, file_type="f32", name="qwen2")


@torch.inference_mode()
def test_reference_and_gguf_score_as_transformers_does(qwen2: Llava, checkpoint: Path, f32: Path) -> None:
    model, image = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint), picture(1)
    (asked,) = model.embed_prompts(model.encode(as_clip(image, None)), [PromptInput(slice(0, 1), QUESTION)])
    before, after = (model.tokenizer.encode(text) for text in (asked.prompt.before, asked.prompt.after))
    assert before[0] == model.tokenizer.encode("<|im_start|>")[0], "there is no begin-of-sequence token"
    answers = model.answer_branches(asked.prompt, LABELS)
    assert answers == [model.tokenizer.encode(label) for label in LABELS], "no space after the template's last line"
    expected = [qwen2.log_probs(image, before, after, answer) for answer in answers]
    assert model.label_scores(image, QUESTION, LABELS) == pytest.approx(expected, abs=1e-4)
    check_gguf(f32)
    with LlamaSession(f32, context_size=256, exact_cache=True, threads=1) as session:
        session.prefill([np.ascontiguousarray(asked.embeddings.numpy())])
        scores = [float(tokens.sum()) for tokens in session.score(answers)]
    assert scores == pytest.approx(expected, abs=1e-4)


def test_llama_cpp_reads_texts_as_the_tokenizer_does(checkpoint: Path, f32: Path) -> None:
    tokenizer = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint).tokenizer
    with LlamaSession(f32, context_size=64, threads=1) as session:
        for text in (*TEXTS, *CORPUS):
            assert session.tokenize(text, control=True) == tokenizer.encode(text), text
    assert tokenizer.decode([*tokenizer.encode(" joy "), *tokenizer.encode("<|im_end|>")]) == "joy"


def test_every_tensor_has_gguf_pys_name_and_transformers_values(qwen2: Llava, f32: Path) -> None:
    """Names by gguf-py's own map of tensors, values in the order of transformers: a Qwen2's rows are not permuted."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, 2)
    state = qwen2.model.model.language_model.state_dict()
    expected = {names.get_name(f"model.{name}", (".weight", ".bias")): value.numpy() for name, value in state.items()}
    reader = gguf.GGUFReader(f32)
    stored = {tensor.name: tensor.data for tensor in reader.tensors}
    assert stored.keys() == expected.keys()
    assert all(np.array_equal(stored[name], expected[name]) for name in stored)
    fields = {name: field.contents() for name, field in reader.fields.items() if name.startswith(("qwen2.", "tok"))}
    assert fields["qwen2.attention.head_count_kv"] == 2 and fields["qwen2.rope.freq_base"] == 500.0
    assert fields["tokenizer.ggml.model"] == "gpt2" and fields["tokenizer.ggml.pre"] == "qwen2"
    assert fields["tokenizer.ggml.tokens"][fields["tokenizer.ggml.eos_token_id"]] == "<|im_end|>"
    assert len(fields["tokenizer.ggml.tokens"]) == VOCABULARY > IMAGE


def test_it_goes_on_to_a_bundle_that_reads_a_picture(qwen2: Llava, tmp_path: Path) -> None:
    image = picture(2)
    cv2.imwrite(str(tmp_path / "face.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    walk = [
        f"import llava --model {qwen2.directory} --out {checkpoint}",
        f"export {checkpoint} --out {bundle} --vision fp32 --language f32 --limit 4",
        f"verify {bundle}",
        f"infer {bundle} {tmp_path / 'face.png'} --whole-image --json --profile exact",
    ]
    for line in walk:
        done = CliRunner().invoke(main, line.split())
        assert done.exit_code == 0, done.output
    (reading,) = json.loads(done.stdout)[0]["readings"]
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)
    asked = PromptInput(slice(0, 1), reading["settings"]["question"])
    prompt = model.prompt_text(model.encode(as_clip(image, None)), asked)
    before, after = (model.tokenizer.encode(text) for text in (prompt.before, prompt.after))
    answers = model.answer_branches(prompt, list(reading["probabilities"]))
    scores = np.array([qwen2.log_probs(image, before, after, answer) for answer in answers])
    expected = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    assert list(reading["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-4)


def changed(content: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    return {**content, key: value}


BAD: dict[str, tuple[str, Any, str]] = {
    "another pattern": ("pre_tokenizer", {"type": "ByteLevel"}, "cuts words otherwise than Qwen2"),
    "a changed text": ("normalizer", {"type": "Lowercase"}, "normalizes its text by Lowercase"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_a_tokenizer_that_llama_cpp_reads_otherwise_is_refused(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    key, value, message = BAD[kind]
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    content = json.loads((copy / "tokenizer.json").read_text())
    if key == "pre_tokenizer":
        value = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (copy / "tokenizer.json").write_text(json.dumps(changed(content, key, value)))
    language = EmoLlamaForConditionalGeneration.from_pretrained(copy).config.language
    with pytest.raises(CheckpointError, match=message):
        gguf_from_checkpoint(copy, language, tmp_path / "out.gguf", file_type="f32", name="x")


def slow_files(directory: Path) -> None:
    """Replace ``tokenizer.json`` by the files of transformers' slow tokenizer."""
    content = json.loads((directory / "tokenizer.json").read_text())
    (directory / "tokenizer.json").unlink()
    (directory / "vocab.json").write_text(json.dumps(content["model"]["vocab"], ensure_ascii=False))
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in content["model"]["merges"]]
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs, ""]))
    tokens = {str(token["id"]): {"content": token["content"], "special": True} for token in content["added_tokens"]}
    settings = {"eos_token": "<|im_end|>", "added_tokens_decoder": tokens}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


def test_vocabulary_and_merges_alone_are_the_same_tokenizer(qwen2: Llava, checkpoint: Path, tmp_path: Path) -> None:
    from transformers import Qwen2Tokenizer

    copy, lines = Path(shutil.copytree(qwen2.directory, tmp_path / "copy")), list[str]()
    slow_files(copy)
    checkpoint_from_llava(LlavaPieces(copy), tmp_path / "new", report=lines.append)
    assert any(line.startswith("vocab.json, merges.txt: written as tokenizer.json, ") for line in lines), lines
    own, made = (language_tokenizer_of(folder) for folder in (checkpoint, tmp_path / "new"))
    upstream = Qwen2Tokenizer.from_pretrained(copy)
    for text in (*TEXTS, *CORPUS):
        assert made.encode(text) == own.encode(text) == upstream.encode(text), text
    assert made.decode(made.encode("joy<|im_end|>")) == "joy"
    settings = [json.loads((folder / "config.json").read_text()) for folder in (checkpoint, tmp_path / "new")]
    assert settings[0]["language"] == settings[1]["language"], "the end token is found in either"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", "[]", "vocab.json: no vocabulary"),
        ("vocab.json", '{"a": 0, "b": 7}', "vocab.json: no vocabulary"),
        ("merges.txt", "a b c\n", "merges.txt: no merge of two tokens: 'a b c'"),
        ("merges.txt", "<html>\n<body>Sign in to go on\n", "merges.txt: an HTML page, not the file"),
        ("merges.txt", "nowhere there\n", "merges.txt: not the merges of vocab.json"),
        ("added_tokens.json", '{"<|far|>": 700}', "the added token '<|far|>' does not follow its"),
    ],
)
def test_files_that_are_no_tokenizer_are_one_error(
    name: str, content: str, message: str, qwen2: Llava, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(qwen2.directory, tmp_path / "copy"))
    slow_files(copy)
    (copy / name).write_text(content)
    done = CliRunner().invoke(main, ["import", "llava", "--model", str(copy), "--out", str(tmp_path / "out")])
    assert (done.exit_code, message in done.stderr) == (5, True), done.output
    assert len(done.stderr.strip().splitlines()) == 1


def test_without_its_tokenizer_it_is_refused(qwen2: Llava, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(qwen2.directory, tmp_path / "copy"))
    (copy / "tokenizer.json").unlink()
    done = CliRunner().invoke(main, ["import", "llava", "--model", str(copy), "--out", str(tmp_path / "out")])
    assert done.exit_code == 5 and "tokenizer.json: no such file, nor vocab.json and merges.txt" in done.stderr
