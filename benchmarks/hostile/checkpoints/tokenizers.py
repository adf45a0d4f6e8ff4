"""The two tokenizers of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.hostile.mutate import mutated_bytes, mutated_json
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.bundle.question_tokenizer import QuestionTokenizer
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME, LanguageTokenizer

MODEL = "emo-tiny"
QUESTION_TEXT = "What is the emotion of this face? Ärger, 怒り, 1234567890"
MOST_TOKENS = 64


def _packaged(name: str) -> Sequence[bytes]:
    return [(packaged_checkpoint(MODEL) / name).read_bytes()]


def _read_question(path: Path) -> None:
    ids = QuestionTokenizer(path, MOST_TOKENS).encode(QUESTION_TEXT)
    if len(ids) > MOST_TOKENS:
        raise AssertionError(f"{len(ids)} tokens")


def _read_language(path: Path) -> None:
    tokenizer = LanguageTokenizer(path.parent)
    tokenizer.decode(tokenizer.encode(QUESTION_TEXT))


QUESTION = Kind(QUESTION_MODEL_NAME, lambda: _packaged(QUESTION_MODEL_NAME), mutated_json, _read_question)
LANGUAGE = Kind(LANGUAGE_MODEL_NAME, lambda: _packaged(LANGUAGE_MODEL_NAME), mutated_bytes, _read_language)
