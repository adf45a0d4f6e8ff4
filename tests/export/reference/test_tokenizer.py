"""Both tokenizers on the real files that emo-tiny's corpus gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import example, given
from hypothesis import strategies as st

from emo_edge.bundle.question_tokenizer import QuestionTokenizer
from emo_edge.errors import CheckpointError
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME, LanguageTokenizer
from emo_edge.taxonomy import LABEL_SETS

CONTEXT = "\nWhat is the facial expression of the person? ASSISTANT:"
LABELS = sorted({label for labels in LABEL_SETS.values() for label in labels})


@pytest.fixture(scope="module")
def tokenizer(tokenizer_directory: Path) -> LanguageTokenizer:
    return LanguageTokenizer(tokenizer_directory)


def question_tokenizer(directory: Path, max_tokens: int = 48) -> QuestionTokenizer:
    return QuestionTokenizer(directory / QUESTION_MODEL_NAME, max_tokens)


# "▁" is SentencePiece's own mark for a space, so it alone cannot be told from one.
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=40))
@example("a smile 😀, 👩‍👩‍👧 and ﷽")
@example("two  spaces\tand\r\nlines\n\n")
@example("<s> </s> <unk> <0x41> [INST]")
@example("e\u0301 is not é, ﬁ is not fi, Å is not Å")
@example("\x00\x01\x7f\u200b\ufeff\U0010ffff")
def test_text_survives_encoding_but_for_surrounding_space(tokenizer_directory: Path, text: str) -> None:
    tokenizer = LanguageTokenizer(tokenizer_directory)
    assert tokenizer.decode(tokenizer.encode(text)) == text.strip()


def test_text_never_becomes_a_control_token(tokenizer: LanguageTokenizer) -> None:
    assert not {0, 1, 2} & set(tokenizer.encode("<unk> <s> </s> \x00 漢字"))


def test_no_text_has_no_tokens(tokenizer: LanguageTokenizer) -> None:
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""
    padded = [*tokenizer.encode("a smile"), len(tokenizer), len(tokenizer) + 63]
    assert tokenizer.decode(padded) == "a smile", "a vocabulary may be padded beyond its pieces"


def test_a_chunk_starts_with_sentencepieces_space(tokenizer: LanguageTokenizer, tokenizer_directory: Path) -> None:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer_directory / LANGUAGE_MODEL_NAME))
    assert pieces.id_to_piece(tokenizer.encode("happiness")[0]).startswith("▁")
    assert len(tokenizer) == pieces.vocab_size()


@pytest.mark.parametrize("answer", [*LABELS, "bittersweet nostalgia", "😀", "3 of 4"])
def test_an_answer_is_tokenised_together_with_its_context(tokenizer: LanguageTokenizer, answer: str) -> None:
    ids = tokenizer.encode_answer(CONTEXT, answer)
    assert tokenizer.encode(CONTEXT) + ids == tokenizer.encode(f"{CONTEXT} {answer}")
    assert tokenizer.decode(ids) == answer
    alone = tokenizer.encode(answer)
    assert ids == alone, "a word after a space is the same pieces as a word on its own"


def test_labels_may_have_several_tokens(tokenizer: LanguageTokenizer) -> None:
    lengths = [len(tokenizer.encode_answer(CONTEXT, label)) for label in (*LABELS, "bittersweet nostalgia")]
    assert min(lengths) >= 1
    assert max(lengths) > 2


def test_a_context_that_merges_with_its_answer_is_refused(tmp_path: Path) -> None:
    with (tmp_path / LANGUAGE_MODEL_NAME).open("wb") as stream:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["mood of joy"] * 50),
            model_writer=stream,
            vocab_size=22,
            model_type="bpe",
            split_by_whitespace=False,
            minloglevel=2,
        )
    tokenizer = LanguageTokenizer(tmp_path)
    with pytest.raises(CheckpointError, match="'joy' merges with its context; end the context in ':'"):
        tokenizer.encode_answer("mood of", "joy")


def test_a_question_is_wrapped_and_lower_cased(tokenizer_directory: Path) -> None:
    tokenizer = question_tokenizer(tokenizer_directory)
    content = json.loads((tokenizer_directory / QUESTION_MODEL_NAME).read_text())["model"]["vocab"]
    ids = tokenizer.encode("What is the facial expression?")
    assert (ids[0], ids[-1]) == (content["[CLS]"], content["[SEP]"])
    assert ids == tokenizer.encode("WHAT IS THE FACIAL EXPRESSION?")
    assert tokenizer.encode("") == [content["[CLS]"], content["[SEP]"]]


@pytest.mark.parametrize("limit", [3, 4, 8, 16])
def test_a_long_question_loses_its_left(tokenizer_directory: Path, limit: int) -> None:
    question = "What is the facial expression of the person in the image, or of the other person in the video?"
    whole = question_tokenizer(tokenizer_directory, 1000).encode(question)
    cut = question_tokenizer(tokenizer_directory, limit).encode(question)
    assert len(whole) > 16
    assert cut == [whole[0], *whole[-(limit - 1) :]]


def test_the_question_vocabulary_counts_the_added_token(tokenizer_directory: Path) -> None:
    content = json.loads((tokenizer_directory / QUESTION_MODEL_NAME).read_text())
    added = [token["content"] for token in content["added_tokens"]]
    assert added[-1] == "[DEC]"
    assert len(question_tokenizer(tokenizer_directory)) == 1 + max(token["id"] for token in content["added_tokens"])


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{LANGUAGE_MODEL_NAME}: no such file"):
        LanguageTokenizer(tmp_path)
    with pytest.raises(CheckpointError, match=f"{QUESTION_MODEL_NAME}: no such file"):
        QuestionTokenizer(tmp_path / QUESTION_MODEL_NAME, 48)


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 40, b"{}", b"[" * 500, b"\x80\x04cos\nsystem\n(S'true'\ntR."])
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    for name in (LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="not a SentencePiece model"):
        LanguageTokenizer(tmp_path)
    with pytest.raises(CheckpointError, match="not a tokenizers file"):
        QuestionTokenizer(tmp_path / QUESTION_MODEL_NAME, 48)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused_or_complete(tmp_path: Path, tokenizer_directory: Path, share: float) -> None:
    for name in (LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME):
        content = (tokenizer_directory / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError):
        LanguageTokenizer(tmp_path)
    with pytest.raises(CheckpointError):
        QuestionTokenizer(tmp_path / QUESTION_MODEL_NAME, 48)
