"""Train emo-tiny's two tokenizers on its own instruction corpus."""

from __future__ import annotations

import random
import string
from collections import Counter
from pathlib import Path

from emo_edge.benchmarks.emo_tiny.config import LANGUAGE_VOCABULARY, QUESTION_VOCABULARY, TINY
from emo_edge.benchmarks.emo_tiny.instructions import corpus
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME
from emo_edge.taxonomy import AGE_BINS, GENDERS, RACES
from emo_edge.utils.files import replaced_file

CORPUS_LINES = 20_000
SPECIAL_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_tokenizers(directory: Path, seed: int) -> None:
    """Write ``tokenizer.model`` and ``question_tokenizer.json``; the same seed gives the same vocabularies."""
    lines = [_conversation(line) for line in corpus(CORPUS_LINES, seed, _sentences())]
    random.Random(seed).shuffle(lines)
    _write_language_model(lines, directory / LANGUAGE_MODEL_NAME)
    _write_question_model(lines, directory / QUESTION_MODEL_NAME)


def _sentences() -> list[str]:
    template = TINY.prompt.demographics
    return [
        template.format(medium=medium, race=race, gender=gender.lower(), age=age)
        for medium in ("image", "video")
        for race in RACES
        for gender in GENDERS
        for age in AGE_BINS
    ]


def _conversation(line: str) -> str:
    return TINY.prompt.template.replace("<image>\n", "").format(demographics="", question=line)


def _write_language_model(lines: list[str], path: Path) -> None:
    """BPE with byte fallback and digits split, in LLaMA's id order: unknown 0, begin 1, end 2, then bytes."""
    import sentencepiece

    with replaced_file(path) as partial, partial.open("wb") as stream:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=stream,
            vocab_size=LANGUAGE_VOCABULARY,
            model_type="bpe",
            byte_fallback=True,
            split_digits=True,
            character_coverage=0.99995,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            num_threads=1,
            minloglevel=2,
        )


def _write_question_model(lines: list[str], path: Path) -> None:
    """WordPiece, lower-cased, [CLS] text [SEP]; LLaMA-VID's extra [DEC] is the last token.

    Its vocabulary is the corpus's words and ASCII's characters: the library's trainer breaks ties in another order
    each time.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for line in lines for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(line)))
    letters = string.ascii_lowercase + string.digits
    pieces = [*SPECIAL_PIECES, *letters, *string.punctuation, *(f"##{letter}" for letter in letters)]
    pieces += sorted(words.keys() - set(pieces), key=lambda word: (-words[word], word))
    vocabulary = {piece: place for place, piece in enumerate(pieces[: QUESTION_VOCABULARY - 1])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.add_special_tokens([*SPECIAL_PIECES, "[DEC]"])
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.save(str(path))
