"""Keys and values of questions, computed once about another picture and kept in sequences of their own.

llama.cpp's attention cache is one for all sequences: a range of positions is given to another sequence by marking its
cells, and nothing is copied. The cells stay until the question is dropped. Files keep them for other processes.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emo_edge.runtimes.llama_cpp.prompt_positions import PromptPositions, Row
from emo_edge.storage.sealed_files import SealedFiles

QUESTIONS = 16
"""Questions whose keys and values are kept, the latest ones."""

FILES_FROM = 32 << 20
"""Bytes of a model below which no question is kept in a file: it is computed as fast as it is read."""
MOST_BYTES = 1 << 30
"""Of all files of questions together; one of LLaMA 7B takes about 50 MB."""

Key = tuple[tuple[int | None, ...], tuple[Row, ...], tuple[tuple[int, int, int, int], ...]]
"""The rows before the question, None for a picture's; the question; the places of all."""


@dataclass(frozen=True)
class KeptQuestion:
    """A sequence of the attention cache that holds a question."""

    sequence: int
    rows: int

    def give(self, native: Any, memory: Any, sequence: int, prompt: PromptPositions, rows: range) -> None:
        """Let a sequence, whose prompt this question belongs to, use the keys and values of some of its rows."""
        start, stop = (prompt.places[row][0] for row in (rows.start, rows.stop))
        native.llama_memory_seq_cp(memory, self.sequence, sequence, start, stop)


class QuestionSequences:
    """The questions that a context holds, by what their keys and values depend on, a picture's content apart."""

    def __init__(self, native: Any, memory: Any, first: int) -> None:
        """Keep them in the sequences from ``first`` on, `QUESTIONS` of them, of llama.cpp's ``memory``."""
        self._native, self._memory = native, memory
        self._free = list(range(first, first + QUESTIONS))
        self._kept: dict[Key, KeptQuestion] = {}

    @property
    def cells(self) -> int:
        """Cells of the attention cache that the questions fill."""
        return sum(question.rows for question in self._kept.values())

    def get(self, key: Key) -> KeptQuestion | None:
        """Return a question that is kept, which makes it the latest; None where it is not."""
        question = self._kept.pop(key, None)
        if question is not None:
            self._kept[key] = question
        return question

    def keep(self, key: Key, prompt: PromptPositions, start: int) -> KeptQuestion:
        """Keep the rows from ``start`` on of the prompt in sequence 0; the question used longest ago gives way."""
        if not self._free:
            self.drop_oldest()
        question = KeptQuestion(self._free.pop(), len(prompt) - start)
        self._native.llama_memory_seq_cp(self._memory, 0, question.sequence, prompt.places[start][0], -1)
        self._kept[key] = question
        return question

    def drop_oldest(self) -> None:
        """Free the cells of the question whose use is longest ago."""
        question = self._kept.pop(next(iter(self._kept)))
        self._native.llama_memory_seq_rm(self._memory, question.sequence, -1, -1)
        self._free.append(question.sequence)

    def leave(self, cells: int, most: int) -> bool:
        """Drop questions until ``cells`` more fit into ``most``; return whether they do."""
        while self._kept and self.cells + cells > most:
            self.drop_oldest()
        return self.cells + cells <= most

    def forget(self) -> None:
        """Drop all, where the context lost what it held."""
        while self._kept:
            self.drop_oldest()


class QuestionFiles:
    """Prompts about another picture, from which questions are kept, in files of this machine."""

    def __init__(self, native: Any, context: Any, memory: Any, files: SealedFiles, made_by: Mapping[str, str]) -> None:
        """Keep them in ``files``; ``made_by`` says all that their keys and values depend on, the prompts apart."""
        self._native, self._context, self._memory = native, context, memory
        self._files, self._made_by = files, dict(made_by)

    def read(self, key: Key) -> bytes | None:
        """Return the prompt of a question, as llama.cpp wrote it; None where there is no file of it."""
        return self._files.read(self._named(key))

    def restore(self, key: Key, content: bytes) -> bool:
        """Put such a prompt alone into sequence 0; return False, the sequence empty, where it does not fit."""
        self._native.llama_memory_seq_rm(self._memory, 0, -1, -1)
        state = (ctypes.c_uint8 * len(content)).from_buffer_copy(content)
        read = self._native.llama_state_seq_set_data(self._context, state, len(content), 0)
        *_, places = key
        if read == len(content) and self._native.llama_memory_seq_pos_max(self._memory, 0) == places[-1][0]:
            return True
        self._native.llama_memory_seq_rm(self._memory, 0, -1, -1)
        return False

    def keep(self, key: Key) -> None:
        """Write the prompt that sequence 0 holds into the file of its question."""
        size = self._native.llama_state_seq_get_size(self._context, 0)
        state = (ctypes.c_uint8 * size)()
        if size and self._native.llama_state_seq_get_data(self._context, state, size, 0) == size:
            self._files.write(self._named(key), bytes(state))

    def _named(self, key: Key) -> dict[str, str]:
        """Return the key of a file, which shows no word of the question."""
        return {**self._made_by, "prompt": hashlib.sha256(repr(key).encode()).hexdigest()}


def question_key(prompt: PromptPositions, start: int) -> Key:
    """Return what the keys and values of the rows from ``start`` on depend on, the content of the pictures apart."""
    before = tuple(row if isinstance(row, int) else None for row in prompt.rows[:start])
    return before, tuple(prompt.rows[start:]), tuple(prompt.places)


def keeps_questions(native: Any, model: Any) -> bool:
    """Return whether a model's past is keys and values of all positions: no recurrent state, no sliding window."""
    recurrent = native.llama_model_is_recurrent(model) or native.llama_model_is_hybrid(model)
    return not (recurrent or native.llama_model_n_swa(model))
