"""``tokenizer.json`` alone becomes the SentencePiece model that it was made of; added tokens keep their places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from emo_edge.errors import CheckpointError
from emo_edge.export.importers.tokenizers.tokenizer_files import language_tokenizer, trained_length
from tests.transformers_versions import METASPACE, write_tokenizer_json

TEXT = "USER: \nWhat is it? It is 1 naïve 情感 test,  with  spaces. ASSISTANT:"
LEGACY: dict[str, Any] = {
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    },
    "pre_tokenizer": None,
}


def pieces_of(directory: Path) -> list[Any]:
    model = sentencepiece_model_pb2.ModelProto.FromString((directory / "tokenizer.model").read_bytes())
    return list(model.pieces)


def write_json(directory: Path, source: Path, form: dict[str, Any], **model: Any) -> None:
    directory.mkdir()
    write_tokenizer_json(directory, source, form, **model)


@pytest.mark.parametrize("form", [LEGACY, METASPACE], ids=["transformers 4", "transformers 5"])
def test_a_json_alone_reads_as_its_model(form: dict[str, Any], tokenizer_directory: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "json", tokenizer_directory, form)
    lines: list[str] = []
    files = language_tokenizer(tmp_path / "json", 768, lines.append)
    made = sentencepiece.SentencePieceProcessor(model_proto=files["tokenizer.model"])
    own = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer_directory / "tokenizer.model"))
    assert made.encode(TEXT) == own.encode(TEXT)
    assert made.decode(made.encode("joy and fear")) == "joy and fear"
    kinds = [piece.type for piece in sentencepiece_model_pb2.ModelProto.FromString(files["tokenizer.model"]).pieces]
    assert kinds == [piece.type for piece in pieces_of(tokenizer_directory)]
    assert lines == [f"tokenizer.json: written as tokenizer.model, {len(kinds)} pieces; both read the test texts alike"]


def test_added_tokens_keep_their_numbers(tokenizer_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((tokenizer_directory / "tokenizer.model").read_bytes())
    count = len(pieces_of(tokenizer_directory))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<image>": count + 1, "<far>": count + 90}))
    no_limit = 1000000000000000019884624838656
    decoder = {"0": {"content": "<unk>"}, str(count + 2): {"content": "<pad>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": decoder, "model_max_length": no_limit})
    )
    assert trained_length(tmp_path) is None
    lines: list[str] = []
    files = language_tokenizer(tmp_path, count + 8, lines.append)
    made = sentencepiece.SentencePieceProcessor(model_proto=files["tokenizer.model"])
    assert [made.id_to_piece(count + place) for place in range(3)] == [f"[UNUSED{count}]", "<image>", "<pad>"]
    assert len(made) == count + 3
    own = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer_directory / "tokenizer.model"))
    assert made.encode(f"{TEXT} <image>") == own.encode(f"{TEXT} <image>"), "text is never read as an added token"
    assert lines == [
        "  1 added token(s) have no row in the table of embeddings: left out",
        "  2 added token(s): <image>, <pad>; no text is read as one",
    ]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "bytes as letters": ({"byte_fallback": False}, "not a tokenizer of LLaMA's kind"),
    "another algorithm": ({"type": "Unigram"}, "not a tokenizer of LLaMA's kind"),
    "a gap": ({"vocab": {f"<0x{value:02X}>": value + 1 for value in range(256)}}, "not numbered from 0 on"),
    "a merge of three": ({"merges": [["a", "b", "c"]]}, "a merge that is no pair of pieces"),
    "a merge of numbers": ({"merges": [[1, 2]]}, "a merge that is no pair of pieces"),
    "a merge that is none": ({"merges": [3]}, "a merge that is no pair of pieces"),
    "words for numbers": ({"vocab": {f"<0x{value:02X}>": "x" for value in range(256)}}, "not numbered from 0 on"),
    "no prefix of its kind": ({"continuing_subword_prefix": 5}, "no tokenizer: .*; copy it again"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_another_kind_is_refused(kind: str, tokenizer_directory: Path, tmp_path: Path) -> None:
    change, message = BAD[kind]
    write_json(tmp_path / "json", tokenizer_directory, METASPACE, **change)
    with pytest.raises(CheckpointError, match=message):
        language_tokenizer(tmp_path / "json", 768, lambda line: None)


def test_an_added_token_that_is_there_already_keeps_its_row(tokenizer_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((tokenizer_directory / "tokenizer.model").read_bytes())
    pieces = pieces_of(tokenizer_directory)
    twice = {pieces[300].piece: len(pieces), "<a>": len(pieces) + 1, "": len(pieces) + 2}
    (tmp_path / "added_tokens.json").write_text(json.dumps(twice))
    files = language_tokenizer(tmp_path, len(pieces) + 8, lambda line: None)
    made = sentencepiece.SentencePieceProcessor(model_proto=files["tokenizer.model"])
    names = [made.id_to_piece(len(pieces) + place) for place in range(3)]
    assert names == [f"[UNUSED{len(pieces)}]", "<a>", f"[UNUSED{len(pieces) + 2}]"]


def test_a_json_that_reads_otherwise_is_refused(tokenizer_directory: Path, tmp_path: Path) -> None:
    """Text that the tokenizer changes before it reads it is not SentencePiece's."""
    form = {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": METASPACE["pre_tokenizer"]}
    write_json(tmp_path / "json", tokenizer_directory, form)
    with pytest.raises(CheckpointError, match=r"it reads .* otherwise .*; copy tokenizer\.model"):
        language_tokenizer(tmp_path / "json", 768, lambda line: None)


def test_a_tokenizer_of_a_larger_model_is_refused(tokenizer_directory: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "json", tokenizer_directory, METASPACE)
    with pytest.raises(CheckpointError, match="the model has 300 rows; it is another model's"):
        language_tokenizer(tmp_path / "json", 300, lambda line: None)


HOSTILE = {
    "a catastrophic pattern": (
        {
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": "(\\w+\\s?)+$"},
                "behavior": "Isolated",
                "invert": False,
            }
        },
        {},
        "only Qwen2's own pattern",
    ),
    "an empty piece": ({}, {"vocab": "empty"}, "no SentencePiece model can be made of it"),
    "endless padding": (
        {
            "padding": {
                "strategy": {"Fixed": 1 << 40},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "x",
            }
        },
        {},
        "",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_json_is_one_error_or_harmless(name: str, tokenizer_directory: Path, tmp_path: Path) -> None:
    form, model, problem = HOSTILE[name]
    if model:
        vocabulary = {piece.piece: number for number, piece in enumerate(pieces_of(tokenizer_directory))}
        model = {"vocab": vocabulary | {"": len(vocabulary)}}
    write_json(tmp_path / "json", tokenizer_directory, {**LEGACY, **form}, **model)
    if problem:
        with pytest.raises(CheckpointError, match=problem):
            language_tokenizer(tmp_path / "json", 1000, lambda line: None)
    else:
        assert language_tokenizer(tmp_path / "json", 1000, lambda line: None)
