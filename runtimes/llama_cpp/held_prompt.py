"""The prompt in sequence 0 of a context: what of it is kept, computed, or taken from a question kept beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.runtimes.base.sessions import CachedQuestion
from emo_edge.runtimes.llama_cpp.decoding import BatchDecoder
from emo_edge.runtimes.llama_cpp.kept_questions import (
    KeptQuestion,
    Key,
    QuestionFiles,
    QuestionSequences,
    keeps_questions,
    question_key,
)
from emo_edge.runtimes.llama_cpp.measured_choices import CallTimes
from emo_edge.runtimes.llama_cpp.prompt_positions import PromptPositions, prompt_batches
from emo_edge.runtimes.llama_cpp.token_embeddings import TokenEmbeddings

GRID_ROPES = (8, 40)
"""``LLAMA_ROPE_TYPE_MROPE`` and ``IMROPE``: a picture's rows have places on a grid."""


class HeldPrompt:
    """The prompt of one context and its logits; questions lie in the sequences behind the forks."""

    def __init__(
        self,
        native: Any,
        model: Any,
        memory: Any,
        decode: BatchDecoder,
        row: Callable[[int], NDArray[np.float32]],
        token_rows: TokenEmbeddings | None,
        times: CallTimes,
        *,
        cells: int,
        questions: int,
        observed: bool,
        files: QuestionFiles | None = None,
    ) -> None:
        """Begin with no prompt.

        Args:
            native: llama.cpp's module.
            model: the model.
            memory: the attention cache of the context.
            decode: computes batches.
            row: gives the logits of one position of the last batch.
            token_rows: gives the embeddings of tokens.
            times: say whether a kept question pays.
            cells: of the attention cache, those of forks among them.
            questions: first sequence of kept questions.
            observed: every row gives logits, else llama.cpp computes the last layer's rest for the last row alone.
            files: keep questions for other processes.
        """
        self._native, self._memory, self._decode, self._row = native, memory, decode, row
        self._token_rows, self._observed, self._cells, self._times = token_rows, observed, cells, times
        self._files = files
        self._grid = native.llama_model_rope_type(model) in GRID_ROPES
        self._can_take = keeps_questions(native, model)
        self.questions = QuestionSequences(native, memory, questions)
        self.prompt = PromptPositions()
        self._taken = range(0)
        """Rows whose keys and values are those of a kept question."""
        self.logits: NDArray[np.float32] = np.empty(0, np.float32)
        """Of the last position; empty where sequence 0 holds no more than the beginning of prompts."""

    def room(self, used: int) -> int:
        """Return the cells that are free beside ``used`` ones and the questions."""
        return self._cells - used - self.questions.cells

    def make_room(self, cells: int) -> bool:
        """Drop questions until ``cells`` fit beside the others; return whether they do."""
        return self.questions.leave(cells, self._cells)

    def compute(self, prompt: PromptPositions) -> int:
        """Hold a prompt, all of it computed for itself; return how many rows were computed now."""
        if prompt == self.prompt and not self._taken and len(self.logits):
            return 0
        self.make_room(len(prompt))
        kept = self._keep_common(prompt, len(prompt) - 1)
        self._compute(prompt, kept, len(prompt))
        self.prompt = prompt
        return len(prompt) - kept

    def compute_cached(
        self, prompt: PromptPositions, question: CachedQuestion, other: Callable[[], PromptPositions]
    ) -> tuple[int, bool]:
        """Hold a prompt that takes its question from the one about ``other`` pictures, where that can be.

        Returns how many rows were computed, those of the other prompt among them, and whether the question was taken.
        """
        taken = self.rows_to_take(prompt, question)
        if not taken:
            return self.compute(prompt), False
        if prompt == self.prompt and taken == self._taken:
            return 0, True
        kept_question, computed = self.kept_question(prompt, question, other)
        if kept_question is None:
            return computed + self.compute(prompt), False
        kept = self._keep_common(prompt, taken.start)
        self._compute(prompt, kept, taken.start)
        kept_question.give(self._native, self._memory, 0, prompt, taken)
        self._compute(prompt, taken.stop, len(prompt))
        self.prompt, self._taken = prompt, taken
        return computed + len(prompt) - kept - len(taken), True

    def hold_beginning(self, prompt: PromptPositions, rows: int) -> None:
        """Hold the first rows of a prompt alone, for sequences that go on from there."""
        kept = self._keep_common(prompt, rows)
        self._compute(prompt, kept, rows)
        self.prompt, self.logits = prompt.first(rows), np.empty(0, np.float32)

    def rows_to_take(self, prompt: PromptPositions, question: CachedQuestion, together: int = 1) -> range:
        """Return the rows that a prompt may take from a kept question, when so many prompts are computed together.

        There are none where the model does not allow it, or where it takes no less time on this machine.
        """
        start = len(prompt) - question.length
        taken = range(start + question.head, len(prompt) - question.tail)
        if not self._can_take or start <= 0:
            return range(0)
        first = prompt.first_picture_row()
        cached = [together * rows for rows in (taken.start - first, question.tail) if rows]
        return taken if self._times.question_pays(cached, together * [len(prompt) - first]) else range(0)

    def kept_question(
        self, prompt: PromptPositions, question: CachedQuestion, other: Callable[[], PromptPositions]
    ) -> tuple[KeptQuestion | None, int]:
        """Return the question of a prompt, None where the context has no room for both; and the rows computed for it.

        Raises ValueError where ``other`` differs in more than the content of its pictures.
        """
        start, computed = len(prompt) - question.length, 0
        key = question_key(prompt, start)
        kept = self.questions.get(key)
        if kept is None and self.make_room(len(prompt) + question.length):
            files = None if question.of_a_person else self._files
            if files is not None and self._restored(key, files):
                kept = self.questions.keep(key, prompt, start)
                self._cut_restored(prompt)
            else:
                about = other()
                if question_key(about, start) != key:
                    raise ValueError("the prompt about other pictures differs from this one in more than their content")
                computed = self.compute(about)
                kept = self.questions.keep(key, about, start)
                if files is not None:
                    files.keep(key)
        fits = kept is not None and self.make_room(len(prompt))
        return (kept if fits else None), computed

    def _restored(self, key: Key, files: QuestionFiles) -> bool:
        """Return whether sequence 0 now holds the prompt of a question, as another process computed it."""
        content = files.read(key)
        if content is None:
            return False
        self.prompt, self._taken, self.logits = PromptPositions(), range(0), np.empty(0, np.float32)
        return files.restore(key, content)

    def _cut_restored(self, prompt: PromptPositions) -> None:
        """Hold of a restored prompt what stands in front of its pictures, where it is the same as ``prompt``."""
        common = prompt.first_picture_row()
        self._native.llama_memory_seq_rm(self._memory, 0, prompt.places[common][0], -1)
        self.prompt = prompt.first(common)

    def _keep_common(self, prompt: PromptPositions, most: int) -> int:
        """Keep of the context what a prompt begins with, ``most`` rows at most; return how many rows stay."""
        own = self._taken.start if self._taken else len(self.prompt)
        kept = prompt.cut(min(prompt.common(self.prompt), own, most))
        self.prompt, self._taken = PromptPositions(), range(0)  # what a failure below leaves
        return self._forgotten(prompt, kept)

    def _forgotten(self, prompt: PromptPositions, kept: int) -> int:
        """Drop all but the first ``kept`` rows of the context; return how many stay, for some models can only drop all.

        A recurrent model has no state of the past, and a sliding window may have left it.
        """
        if self._native.llama_memory_seq_rm(self._memory, 0, prompt.places[kept][0], -1):
            return kept
        self._native.llama_memory_clear(self._memory, True)
        self.questions.forget()
        return 0

    def _compute(self, prompt: PromptPositions, first: int, end: int) -> None:
        """Compute the rows from ``first`` to ``end``, the last of the prompt with its logits."""
        for start, inputs, causal in prompt_batches(prompt, first, end, self._decode.most, self._token_rows):
            stop = start + len(inputs)
            places = np.array(prompt.places[start:stop], np.int32)
            with_logits = np.arange(start, stop) == len(prompt) - 1
            with_logits[:] |= self._observed
            on_grid = self._grid and inputs.ndim == 2
            with self._decode.attending_to_each_other(not causal):
                self._decode(inputs, places.T if on_grid else places[:, 0], np.zeros(len(inputs)), with_logits)
        if end == len(prompt):
            self.logits = self._row(-1).copy()
