"""The Q-Former's tokenizer, from the vocabulary of an uncased BERT."""

from __future__ import annotations

from pathlib import Path

from emo_edge.errors import CheckpointError
from emo_edge.utils.files import substitute

BEGIN = "[DEC]"
"""LLaMA-VID and BLIP-2 add it as the last token; no question contains it."""
_NEEDED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def question_tokenizer(vocabulary: Path, rows: int) -> bytes:
    """Make the tokenizer of an uncased BERT from its ``vocab.txt``, as the JSON of the ``tokenizers`` library.

    Raises CheckpointError for a file that is no such list, or one that does not fit the embedding table's rows.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = _words(vocabulary)
    if len(words) + 1 != rows:
        raise CheckpointError(f"{vocabulary}: {len(words)} words and {BEGIN} do not fit the model's {rows} rows")
    tokenizer = Tokenizer(models.WordPiece({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([word for word in (*_NEEDED, "[MASK]", BEGIN) if word in words or word == BEGIN])
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    text: str = tokenizer.to_str()
    return text.encode()


def _words(path: Path) -> list[str]:
    try:
        words = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; it is bert-base-uncased's vocab.txt") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not readable as a list of words: {error}") from error
    words = words[:-1] if words[-1] == "" else words
    words = [word.removesuffix("\r") for word in words]
    lacking = [word for word in _NEEDED if word not in words]
    if lacking or len(set(words)) < len(words):
        if what := substitute(path):
            raise CheckpointError(f"{path}: {what}")
        raise CheckpointError(f"{path}: no BERT vocabulary: {', '.join(lacking) or 'a word stands there twice'}")
    return words
