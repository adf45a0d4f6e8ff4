"""The one form of a question tokenizer's file that is opened: an uncased BERT's, as the importers write it.

The ``tokenizers`` library runs regular expressions of a file, pads to lengths that a file names, and panics on ids that
do not fit each other. A closed set of parts leaves none of that to a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from emo_edge.errors import BundleError
from emo_edge.utils.json_values import json_values
from emo_edge.utils.settings import Section, problem_list, require

LARGEST_FILE = 16 << 20
"""Bytes: 30,000 words take less than one million."""
MOST_WORDS = 1 << 18
TokenId = Annotated[int, Field(ge=0, lt=MOST_WORDS, strict=True)]
Piece = Annotated[str, Field(min_length=1, max_length=256)]


class AddedToken(Section):
    """A token that the splitter leaves whole."""

    id: TokenId
    content: Piece
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool


class Normalizer(Section):
    """BERT's: lower case, no accents."""

    type: Literal["BertNormalizer"]
    clean_text: bool
    handle_chinese_chars: bool
    strip_accents: bool | None
    lowercase: bool


class Splitter(Section):
    """BERT's: at spaces and punctuation."""

    type: Literal["BertPreTokenizer"]


class End(Section):
    """A special token that the template adds."""

    id: Piece
    ids: Annotated[list[TokenId], Field(min_length=1, max_length=4)]
    tokens: Annotated[list[Piece], Field(min_length=1, max_length=4)]


class Place(Section):
    """A name in the template and its segment."""

    id: Piece
    type_id: Annotated[int, Field(ge=0, le=1, strict=True)]


class TemplatePart(Section):
    """A special token, or the text."""

    SpecialToken: Place | None = None
    Sequence: Place | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> TemplatePart:
        text = self.Sequence
        require(
            ((self.SpecialToken is None) != (text is None), "needs SpecialToken or Sequence"),
            (text is None or text.id in ("A", "B"), "Sequence is A or B"),
        )
        return self


Parts = Annotated[list[TemplatePart], Field(min_length=1, max_length=8)]


class Template(Section):
    """[CLS] text [SEP]."""

    type: Literal["TemplateProcessing"]
    single: Parts
    pair: Parts
    special_tokens: Annotated[dict[Piece, End], Field(max_length=16)]

    @model_validator(mode="after")
    def _known_names(self) -> Template:
        named = {part.SpecialToken.id for part in (*self.single, *self.pair) if part.SpecialToken}
        texts = [part.Sequence.id for part in self.single if part.Sequence]
        require(
            (named <= self.special_tokens.keys(), "special_tokens lacks a name of the template"),
            (texts == ["A"], "single needs the text A once"),
            *((end.id == name, f"special_tokens.{name} has another id") for name, end in self.special_tokens.items()),
        )
        return self


class WordPiece(Section):
    """Words and pieces of words, by their numbers."""

    type: Literal["WordPiece"]
    unk_token: Piece
    continuing_subword_prefix: Annotated[str, Field(max_length=16)]
    max_input_chars_per_word: Annotated[int, Field(ge=1, le=1000, strict=True)]
    vocab: Annotated[dict[Piece, TokenId], Field(min_length=1, max_length=MOST_WORDS)]

    @model_validator(mode="after")
    def _numbers_fit(self) -> WordPiece:
        require(
            (self.unk_token in self.vocab, f"vocab lacks unk_token {self.unk_token!r}"),
            (sorted(self.vocab.values()) == [*range(len(self.vocab))], "vocab does not count its words from 0"),
        )
        return self


class QuestionTokenizerFile(Section):
    """The whole file."""

    version: Literal["1.0"]
    truncation: None
    padding: None
    added_tokens: Annotated[list[AddedToken], Field(max_length=1024)]
    normalizer: Normalizer
    pre_tokenizer: Splitter
    post_processor: Template
    decoder: None
    model: WordPiece

    @model_validator(mode="after")
    def _tokens_fit(self) -> QuestionTokenizerFile:
        numbers = dict(self.model.vocab)
        for token in self.added_tokens:
            known = numbers.setdefault(token.content, len(numbers))
            require((known == token.id, f"added_tokens: {token.content!r} has number {token.id}, not {known}"))
        for name, end in self.post_processor.special_tokens.items():
            fits = [numbers.get(token) for token in end.tokens] == end.ids
            require((fits, f"post_processor.special_tokens.{name} has other numbers than the vocabulary"))
        return self


def read_question_tokenizer(path: Path) -> str:
    """Return the text of a file that may be opened; raise BundleError naming each part that may not."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BundleError(f"{path}: larger than {LARGEST_FILE >> 20} MiB, no question tokenizer of ours")
        text = path.read_bytes().decode("utf-8")
        values: Any = json_values(text)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: not a tokenizers file: {error}") from error
    try:
        QuestionTokenizerFile.model_validate(values)
    except ValidationError as error:
        raise BundleError(
            f"{path}: not a tokenizers file of an uncased BERT: "
            f"{problem_list(path.name, QuestionTokenizerFile, values, error)}"
        ) from error
    return text
