"""LLaMA's ``tokenizer.json`` as a SentencePiece model, for checkpoints that transformers 5 saved.

SentencePiece merges the pair whose piece has the highest score, ``tokenizers`` the pair that its list names first. So
the score of a piece is minus the place of its first merge. Both then read the same tokens, which is tried here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from emo_edge.bundle.prompts import PromptConfig
from emo_edge.errors import CheckpointError
from emo_edge.export.reference.tokenizer import ByteLevelTokenizer
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.files import read_json

SPACE = "▁"
_BPE = 2
_BYTES = frozenset(f"<0x{value:02X}>" for value in range(256))
TEXTS = (
    "The person looks surprised: raised brows, 2 open eyes, a dropped jaw!",
    "\nNaïve café, größer – «так» 情感 感情 😀 ﬁ",
    "two  spaces,\ttabs and\n\nlines  ",
    "don't; x=3.14159/1024 (50 %) <b>&amp;</b> $A_1$",
)
"""Read by both tokenizers, besides the prompts and the labels.

None begins with a space: transformers 5 puts no other before it, SentencePiece and transformers 4 do.
"""


def sentencepiece_from_json(path: Path) -> tuple[bytes, int]:
    """Return a ``tokenizer.json`` as a SentencePiece model, and the number of its pieces.

    Raises CheckpointError for a tokenizer of another kind than LLaMA's, or one that reads a text otherwise.
    """
    from sentencepiece import sentencepiece_model_pb2

    content = read_json(path, "it is the tokenizer")
    vocabulary, merges, controls = _parts(path, content)
    model = sentencepiece_model_pb2.ModelProto()
    kinds = type(model).SentencePiece
    scores = _scores(merges)
    for text, _ in sorted(vocabulary.items(), key=lambda item: item[1]):
        kind = kinds.BYTE if text in _BYTES else kinds.CONTROL if text in controls else kinds.NORMAL
        model.pieces.add(piece=text, score=scores.get(text, 0.0), type=kind)
    unknown = vocabulary.get(str(content["model"].get("unk_token") or "<unk>"), 0)
    model.pieces[unknown].type = kinds.UNKNOWN
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.unk_id, trainer.byte_fallback = _BPE, unknown, True
    trainer.vocab_size = len(model.pieces)
    trainer.bos_id, trainer.eos_id = vocabulary.get("<s>", -1), vocabulary.get("</s>", -1)
    normalizer.name, normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces = "identity", True, False
    whole: bytes = model.SerializeToString(deterministic=True)
    _require_alike(path, whole)
    return whole, len(model.pieces)


def _parts(path: Path, content: Any) -> tuple[dict[str, int], list[tuple[str, str]], set[str]]:
    """Return vocabulary, merges and special tokens; raise CheckpointError for a tokenizer that is not LLaMA's."""
    whole = content if isinstance(content, dict) else {}
    model: Any = whole.get("model") if isinstance(whole.get("model"), dict) else {}
    vocabulary: Any = model.get("vocab")
    merges: Any = model.get("merges")
    listed = isinstance(vocabulary, dict) and isinstance(merges, list)
    if not listed or model.get("type") != "BPE" or not model.get("byte_fallback") or not vocabulary.keys() >= _BYTES:
        raise CheckpointError(
            f"{path}: not a tokenizer of LLaMA's kind (BPE that falls back to bytes); "
            "copy tokenizer.model from the model's own directory"
        )
    if set(map(type, vocabulary.values())) != {int} or sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise CheckpointError(f"{path}: its pieces are not numbered from 0 on; fetch it again")
    pairs: list[Any] = [tuple(pair.split(" ", 1)) if isinstance(pair, str) else _listed(pair) for pair in merges]
    if any(len(pair) != 2 or not all(isinstance(one, str) for one in pair) for pair in pairs):
        raise CheckpointError(f"{path}: a merge that is no pair of pieces; fetch it again")
    added = whole.get("added_tokens")
    tokens = [token for token in (added if isinstance(added, list) else []) if isinstance(token, dict)]
    return vocabulary, pairs, {str(token.get("content")) for token in tokens}


def _listed(pair: Any) -> tuple[Any, ...]:
    return tuple(pair) if isinstance(pair, list) else (pair,)


def _scores(merges: list[tuple[str, str]]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for place, (left, right) in enumerate(merges):
        scores.setdefault(left + right, -float(place))
    return scores


def _require_alike(path: Path, content: bytes) -> None:
    import sentencepiece

    own = ByteLevelTokenizer(path.parent)
    try:
        made = sentencepiece.SentencePieceProcessor(model_proto=content)
    except (RuntimeError, ValueError) as error:  # an empty piece, or one that is there twice
        raise CheckpointError(f"{path}: no SentencePiece model can be made of it: {error}; copy it again") from error
    for text in _texts():
        expected, given = own.encode(text), made.encode(text)
        if expected != given:
            raise CheckpointError(
                f"{path}: as a SentencePiece model it reads {text[:40]!r} otherwise ({given[:6]}, not {expected[:6]}); "
                "copy tokenizer.model from the model's own directory"
            )


def _texts(labels: Mapping[str, tuple[str, ...]] = LABEL_SETS) -> Iterator[str]:
    prompt = PromptConfig()
    yield from (*TEXTS, *prompt.template.split("<image>"), prompt.classify, prompt.describe)
    yield from dict.fromkeys(chain.from_iterable(labels.values()))
