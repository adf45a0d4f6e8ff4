"""emo-tiny's tokenizers: the same seed gives the same files, and every word of a question has a token."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from emo_edge.benchmarks.emo_tiny import tokenizers
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME

WRITE = """
from pathlib import Path
from emo_edge.benchmarks.emo_tiny import tokenizers
tokenizers.CORPUS_LINES = 500
tokenizers.write_tokenizers(Path({!r}), 3)
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """Hash seeds differ from process to process: an order that depends on them would show."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        subprocess.run([sys.executable, "-c", WRITE.format(str(tmp_path / name))], check=True)
    for name in (LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_a_question_has_words_and_letters_and_no_unknown_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizers, "CORPUS_LINES", 500)
    tokenizers.write_tokenizers(tmp_path, 3)
    tokenizer = Tokenizer.from_file(str(tmp_path / QUESTION_MODEL_NAME))
    assert tokenizer.encode("Which FACIAL cues are visible?").tokens == (
        ["[CLS]", "which", "facial", "cues", "are", "visible", "?", "[SEP]"]
    )
    assert tokenizer.encode("a Zx9!").tokens == ["[CLS]", "a", "z", "##x", "##9", "!", "[SEP]"]
    assert tokenizer.token_to_id("[DEC]") == tokenizer.get_vocab_size() - 1
