"""Files of a question tokenizer that would hang, end or panic in the library, refused before it opens them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_edge.bundle import question_tokenizer_file
from emo_edge.bundle.question_tokenizer import QuestionTokenizer
from emo_edge.errors import BundleError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "what", "##s"]
SPLIT = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Removed", "invert": False}
REPLACE = {"type": "Replace", "pattern": {"Regex": "(a|a)*b"}, "content": ""}
PADDING = {
    "strategy": {"Fixed": 1 << 45},
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "[PAD]",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a small file of the library's own, after a change of its values."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece({word: row for row, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([*WORDS[:4], "[DEC]"])
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)

    def made(change: Callable[[dict[str, Any]], object] = lambda values: None) -> Path:
        values = json.loads(tokenizer.to_str())
        change(values)
        path = tmp_path / "question_tokenizer.json"
        path.write_text(json.dumps(values))
        return path

    return made


def test_the_importers_form_is_read(write: Callable[..., Path]) -> None:
    tokenizer = QuestionTokenizer(write(), 16)
    assert tokenizer.encode("Whats what [DEC]") == [2, 4, 5, 4, 6, 3]
    assert len(tokenizer) == 7


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda v: v.update(pre_tokenizer=SPLIT), "pre_tokenizer.type"),
        (lambda v: v.update(normalizer=REPLACE), "normalizer.type"),
        (lambda v: v.update(normalizer={"type": "Sequence", "normalizers": [REPLACE]}), "normalizer.type"),
        (lambda v: v.update(padding=PADDING), "padding"),
        (lambda v: v.update(decoder={"type": "Fuse"}), "decoder"),
        (lambda v: v["post_processor"].update(special_tokens={}), "special_tokens lacks a name"),
        (lambda v: v["post_processor"]["single"].extend(v["post_processor"]["single"] * 4), "post_processor.single"),
        (lambda v: v["post_processor"]["special_tokens"]["[CLS]"].update(ids=[900]), "special_tokens.[CLS]"),
        (lambda v: v["model"].update(type="BPE"), "model.type"),
        (lambda v: v["model"].update(unk_token="[none]"), "unk_token"),
        (lambda v: v["model"]["vocab"].update(what=5000), "vocab does not count"),
        (lambda v: v["model"]["vocab"].update(what=5), "vocab does not count"),
        (lambda v: v["model"].update(max_input_chars_per_word=1 << 40), "max_input_chars_per_word"),
        (lambda v: v["added_tokens"][0].update(id=3), "added_tokens"),
        (lambda v: v["added_tokens"][4].update(id=1 << 17), "added_tokens"),
        (lambda v: v["added_tokens"][4].update(content=""), "added_tokens.4.content"),
        (lambda v: v.update(more=1), "more: unknown key"),
    ],
)
def test_other_parts_are_one_error(write: Callable[..., Path], change: Any, named: str) -> None:
    with pytest.raises(BundleError) as raised:
        QuestionTokenizer(write(change), 16)
    assert "question_tokenizer.json: not a tokenizers file" in str(raised.value)
    assert named in str(raised.value)


def test_a_panic_of_the_library_is_one_error(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(lambda v: v["post_processor"].update(special_tokens={}))
    monkeypatch.setattr(
        "emo_edge.bundle.question_tokenizer.read_question_tokenizer", lambda path: path.read_text(encoding="utf-8")
    )
    tokenizer = QuestionTokenizer(path, 16)
    with pytest.raises(BundleError, match="no entry found for key"):
        tokenizer.encode("what")


def test_a_large_file_is_not_read(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_tokenizer_file, "LARGEST_FILE", 1 << 20)
    path = write(lambda v: v.update(more="x" * (1 << 20)))
    with pytest.raises(BundleError, match="larger than 1 MiB"):
        QuestionTokenizer(path, 16)
