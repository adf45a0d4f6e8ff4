"""The question tokenizer's file: BERT's is read, what runs expressions or names other tables is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.bundle.question_tokenizer import QuestionTokenizer
from emo_edge.errors import BundleError

WHOLE = packaged_checkpoint("emo-tiny") / "question_tokenizer.json"
QUESTION = "What is the emotion of this face?"


def split(values: dict[str, Any]) -> None:
    values["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}],
    }


def replaced(values: dict[str, Any]) -> None:
    values["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(a|a)*b"}, "content": ""}


def beyond(values: dict[str, Any]) -> None:
    values["model"]["vocab"]["[PAD]"] = 1 << 40


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an expression to split by": (split, "pre_tokenizer.type: Input should be 'BertPreTokenizer'"),
    "an expression to replace": (replaced, "normalizer.pattern: unknown key"),
    "another model": (lambda values: values.update(model={"type": "BPE"}), "model.type: Input should be 'WordPiece'"),
    "an id beyond any table": (beyond, "model.vocab.[PAD]: Input should be less than"),
    "one id twice": (lambda values: values["model"]["vocab"].update({"a": 6}), "vocab does not count its words from 0"),
    "an unknown that is unknown": (
        lambda values: values["model"].update(unk_token="none"),
        "vocab lacks unk_token 'none'",
    ),
    "a long word": (
        lambda values: values["added_tokens"][0].update(content="a" * 10_000),
        "added_tokens.0.content: String should have at most 256 characters",
    ),
    "endless words": (
        lambda values: values["model"].update(max_input_chars_per_word=1 << 40),
        "model.max_input_chars_per_word: Input should be less than or equal to 1000",
    ),
    "a template of nothing": (
        lambda values: values["post_processor"].update(special_tokens={}),
        "special_tokens lacks a name of the template",
    ),
    "no vocabulary": (
        lambda values: values["model"].update(vocab=[]),
        "model.vocab: Input should be a valid dictionary",
    ),
}


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    values = json.loads(WHOLE.read_text(encoding="utf-8"))
    change(values)
    path = folder / WHOLE.name
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", BAD)
def test_another_tokenizer_is_refused_by_name(name: str, tmp_path: Path) -> None:
    change, reason = BAD[name]
    with pytest.raises(BundleError, match="not a tokenizers file of an uncased BERT: ") as caught:
        QuestionTokenizer(changed(tmp_path, change), 32)
    assert reason in str(caught.value) and len(str(caught.value)) < 500


def test_a_whole_file_is_read_and_its_ids_count_from_0(tmp_path: Path) -> None:
    whole = QuestionTokenizer(WHOLE, 32)
    assert len(whole) == len(json.loads(WHOLE.read_text(encoding="utf-8"))["model"]["vocab"]) + 1  # and [DEC]
    assert max(whole.encode(QUESTION)) < len(whole)
    with pytest.raises(BundleError, match="vocab does not count its words from 0"):
        QuestionTokenizer(changed(tmp_path, lambda values: values["model"]["vocab"].update(zzz=5000)), 32)


def test_a_file_that_names_a_length_to_pad_to_is_refused(tmp_path: Path) -> None:
    padding = {
        **{"strategy": {"Fixed": 1 << 30}, "direction": "Right", "pad_to_multiple_of": None},
        **{"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
    }
    with pytest.raises(BundleError, match="padding: Input should be None"):
        QuestionTokenizer(changed(tmp_path, lambda values: values.update(padding=padding)), 32)
