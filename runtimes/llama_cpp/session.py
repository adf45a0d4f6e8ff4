"""LLaMA through llama.cpp's C functions: the prompt is kept, labels are scored on forks of it.

A prompt of text and pictures is one call of embeddings, text alone one of tokens: each call reads every weight.
Positions, not chunks, are compared with the prompt before: a position is a token id or the bytes of an embedding. The
same prompt again computes nothing; else at least the last position is computed, for its logits. Numbers are the same
bit for bit if the rest of the prompt is cut as before, else to rounding: kernels differ by row count.
Sequence 0 holds the prompt; forks use its cells of the attention cache and add their own. The sequences behind them
hold questions, whose keys and values a prompt about another picture may take.
"""

from __future__ import annotations

import codecs
import ctypes
import logging
import weakref
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.question_tokenizer import KEPT_TEXTS
from emo_edge.errors import DeviceError, EmoEdgeError, InputError
from emo_edge.machine.cpus import usable_cpus
from emo_edge.runtimes.base.sessions import CachedQuestion, Chunk, LanguageSession, Sampling, ScoreRequest
from emo_edge.runtimes.llama_cpp.branches import BranchDecoder, branches_after
from emo_edge.runtimes.llama_cpp.decoding import BatchDecoder
from emo_edge.runtimes.llama_cpp.library import fast_path_is_safe, library, load_model, native_errors
from emo_edge.runtimes.llama_cpp.limits import check_cache_memory, check_sizes, check_trained
from emo_edge.runtimes.llama_cpp.matmul_inputs import MatmulInputs
from emo_edge.runtimes.llama_cpp.prompt_batches import prompt_batches
from emo_edge.runtimes.llama_cpp.prompt_group import PROMPTS, GroupedPrompt, PromptGroup
from emo_edge.runtimes.llama_cpp.prompt_positions import PromptPositions
from emo_edge.runtimes.llama_cpp.question_cache import (
    QUESTIONS,
    KeptQuestion,
    QuestionSequences,
    keeps_questions,
    question_key,
)
from emo_edge.runtimes.llama_cpp.repacking import repacking_pays
from emo_edge.runtimes.llama_cpp.sampling import choose
from emo_edge.runtimes.llama_cpp.token_embeddings import token_embeddings
from emo_edge.runtimes.llama_cpp.vocabulary import token_ids
from emo_edge.utils.memory import require_memory

logger = logging.getLogger(__name__)
CONTEXT_HEADROOM = 256 << 20
"""Bytes besides a context's own: llama.cpp aborts the process where an allocation of its graph fails."""
BATCH = 512
"""Positions computed at once, fewer where the context is smaller; llama.cpp ends the process if there are more
sequences than that (256 at most)."""
FORKS, FORK_CELLS = 64, 2
"""Branches scored in one call, and attention-cache cells set aside for each; longer branches take more calls."""
GRID_ROPES = (8, 40)
"""``LLAMA_ROPE_TYPE_MROPE`` and ``IMROPE``: a picture's rows have places on a grid."""


class LlamaSession(LanguageSession):
    """A GGUF file behind the language protocol. One thread at a time; any call ends an answer being written."""

    def __init__(
        self,
        path: Path,
        *,
        context_size: int,
        max_branches: int = FORKS,
        threads: int | None = None,
        gpu_layers: int = 0,
        exact_cache: bool = False,
        small_cache: bool = False,
        observer: MatmulInputs | None = None,
    ) -> None:
        """Load the model and set its context up.

        Args:
            path: the GGUF file.
            context_size: positions of prompt and answer together.
            max_branches: continuations scored in one call.
            threads: CPU threads; None takes every CPU this process may use.
            gpu_layers: layers computed on the GPU; negative means all.
            exact_cache: keep attention's keys and values in float32, without flash attention.
            small_cache: keep them in q8_0, with flash attention, where they are not to be exact.
            observer: sees the inputs of all matrices; it takes time.

        Raises CheckpointError for an unreadable file, InputError for sizes the model has not, DeviceError when the
        GPU is missing or the memory is not enough.
        """
        native = self._native = library()
        check_sizes(native, context_size, max_branches, gpu_layers)
        self._observer = observer
        self._forks = min(max_branches, native.llama_max_parallel_sequences() - 1 - QUESTIONS)
        self._cells = context_size + FORK_CELLS * self._forks
        repack = fast_path_is_safe(path) and (gpu_layers != 0 or repacking_pays(path, threads or usable_cpus()))
        model = _loaded(path, gpu_layers, repack)
        context = None
        try:
            check_trained(native, model, path, context_size)
            if not gpu_layers:
                check_cache_memory(native, model, self._cells, 4 if exact_cache else 1 if small_cache else 2)
            context = self._open_context(model, threads, gpu_layers != 0, exact_cache, small_cache)
        finally:
            if not context:
                native.llama_model_free(model)
        self.model = model
        """llama.cpp's, for a picture encoder that writes its embeddings; valid until `close`."""
        self._context, self._memory = context, native.llama_get_memory(context)
        self._decode = BatchDecoder(native, context)
        self._branches = BranchDecoder(native, self._memory, self._decode, self._finite_row)
        self._vocabulary = native.llama_model_get_vocab(model)
        self._token_rows = token_embeddings(path, native)
        self._group = PromptGroup(native, self._memory, self._decode, self._branches, self._token_rows)
        self._tokenized = lru_cache(KEPT_TEXTS)(partial(token_ids, native, self._vocabulary))
        self._rows = native.llama_vocab_n_tokens(self._vocabulary)
        self._grid = native.llama_model_rope_type(model) in GRID_ROPES
        self._on_gpu = gpu_layers != 0
        self._free = weakref.finalize(self, _release, native, context, model)
        self._questions = QuestionSequences(native, self._memory, self._forks + 1)
        self._keeps_questions = keeps_questions(native, model)
        self._prompt = PromptPositions()
        self._taken = range(0)
        """Rows of the prompt whose keys and values are those of a kept question."""
        self._logits: NDArray[np.float32] = np.empty(0, np.float32)
        self._call = 0
        super().__init__(context_size, native.llama_model_n_embd_inp(model))

    def close(self) -> None:
        """Free the context and the model; a second call does nothing."""
        self._free()
        self._token_rows = None

    @property
    def begin_token(self) -> int:
        """Id of the begin-of-sequence token."""
        self._require_open()
        return int(self._native.llama_vocab_bos(self._vocabulary))

    def tokenize(self, text: str, *, control: bool = False) -> list[int]:
        """Token ids of one chunk of text, without begin-of-sequence; see `LanguageSession.tokenize`."""
        self._require_open()
        return list(self._tokenized(text, control))

    def _open_context(self, model: Any, threads: int | None, gpu: bool, exact_cache: bool, small_cache: bool) -> Any:
        native = self._native
        parameters = native.llama_context_default_params()
        parameters.n_ctx = self._cells
        parameters.n_batch = parameters.n_ubatch = BATCH
        parameters.n_seq_max = self._forks + 1 + QUESTIONS
        parameters.n_outputs_max_per_seq = 0
        parameters.kv_unified = True
        parameters.n_threads = parameters.n_threads_batch = threads or usable_cpus()
        parameters.offload_kqv = parameters.op_offload = gpu
        if exact_cache:
            parameters.type_k = parameters.type_v = native.GGML_TYPE_F32
            parameters.flash_attn_type = native.LLAMA_FLASH_ATTN_TYPE_DISABLED
        elif small_cache:
            parameters.type_k = parameters.type_v = native.GGML_TYPE_Q8_0
            parameters.flash_attn_type = native.LLAMA_FLASH_ATTN_TYPE_ENABLED
        if self._observer is not None:
            parameters.cb_eval = self._observer.callback
        native_errors()
        require_memory(CONTEXT_HEADROOM, f"llama.cpp's context of {self._cells} positions")
        context = native.llama_init_from_model(model, parameters)
        if not context:
            raise DeviceError(f"no memory for a context of {self._cells} positions: {native_errors()}")
        return context

    def _prefill(self, chunks: Sequence[Chunk]) -> int:
        self._begin()
        return self._computed(self._positions(chunks))

    def _computed(self, prompt: PromptPositions) -> int:
        """Make a prompt the context, all of it computed for itself; return how many rows were computed now."""
        if prompt == self._prompt and not self._taken and len(self._logits):
            return 0
        self._questions.leave(len(prompt), self._cells)
        kept = self._keep_common(prompt, len(prompt) - 1)
        self._compute(prompt, kept, len(prompt))
        self._prompt = prompt
        return len(prompt) - kept

    def _prefill_cached(self, chunks: Sequence[Chunk], question: CachedQuestion) -> int:
        self._begin()
        prompt = self._positions(chunks)
        start, taken = len(prompt) - question.length, self._taken_rows(prompt, question)
        if not taken:
            return self._computed(prompt)
        if prompt == self._prompt and taken == self._taken:
            self.question_cached = True
            return 0
        kept_question, computed = self._kept_question(prompt, start, question)
        if kept_question is None:
            return computed + self._computed(prompt)
        kept = self._keep_common(prompt, taken.start)
        self._compute(prompt, kept, taken.start)
        places = [prompt.places[row][0] for row in (taken.start, taken.stop)]
        self._native.llama_memory_seq_cp(self._memory, kept_question.sequence, 0, *places)
        self._compute(prompt, taken.stop, len(prompt))
        self._prompt, self._taken, self.question_cached = prompt, taken, True
        return computed + len(prompt) - kept - len(taken)

    def _taken_rows(self, prompt: PromptPositions, question: CachedQuestion) -> range:
        """Return the rows that a prompt may take from a kept question; none where the model does not allow it."""
        start = len(prompt) - question.length
        taken = range(start + question.head, len(prompt) - question.tail)
        return taken if self._keeps_questions and start > 0 else range(0)

    def _kept_question(
        self, prompt: PromptPositions, start: int, question: CachedQuestion
    ) -> tuple[KeptQuestion | None, int]:
        """Return the question of a prompt, None where the context has no room for both; and the rows computed for it.

        Raises ValueError for another prompt that differs in more than the content of its pictures.
        """
        key, computed = question_key(prompt, start), 0
        kept = self._questions.get(key)
        if kept is None and self._questions.leave(len(prompt) + question.length, self._cells):
            other = self._positions([self._checked(chunk) for chunk in question.other()])
            if question_key(other, start) != key:
                raise ValueError("the prompt about other pictures differs from this one in more than their content")
            computed = self._computed(other)
            kept = self._questions.keep(key, other, start)
        fits = kept is not None and self._questions.leave(len(prompt), self._cells)
        return (kept if fits else None), computed

    def _positions(self, chunks: Sequence[Chunk]) -> PromptPositions:
        prompt = PromptPositions()
        for chunk in chunks:
            prompt.append(chunk, self._require_known)
        return prompt

    def _keep_common(self, prompt: PromptPositions, most: int) -> int:
        """Keep of the context what a prompt begins with, ``most`` rows at most; return how many rows stay."""
        own = self._taken.start if self._taken else len(self._prompt)
        kept = prompt.cut(min(prompt.common(self._prompt), own, most))
        self._prompt, self._taken, self.used = PromptPositions(), range(0), 0  # what a failure below leaves
        return self._forgotten(prompt, kept)

    def _compute(self, prompt: PromptPositions, first: int, end: int) -> None:
        """Compute the rows from ``first`` to ``end``, the last of the prompt with its logits."""
        for start, inputs, causal in prompt_batches(prompt, first, end, self._decode.most, self._token_rows):
            stop = start + len(inputs)
            places = np.array(prompt.places[start:stop], np.int32)
            with_logits = np.arange(start, stop) == len(prompt) - 1
            if self._observer is not None:
                # Else llama.cpp computes the last layer's rest for the last row alone.
                with_logits[:] = True
            on_grid = self._grid and inputs.ndim == 2
            with self._decode.attending_to_each_other(not causal):
                self._decode(inputs, places.T if on_grid else places[:, 0], np.zeros(len(inputs)), with_logits)
        if end == len(prompt):
            self._logits = self._finite_row(-1).copy()

    def _forgotten(self, prompt: PromptPositions, kept: int) -> int:
        """Drop all but the first ``kept`` rows of the context; return how many stay, for some models can only drop all.

        A recurrent model has no state of the past, and a sliding window may have left it.
        """
        if self._native.llama_memory_seq_rm(self._memory, 0, prompt.places[kept][0], -1):
            return kept
        self._native.llama_memory_clear(self._memory, True)
        self._questions.forget()
        return 0

    def _score(self, branches: list[list[int]]) -> list[NDArray[np.float32]]:
        self._begin()
        for branch in branches:
            self._require_known(branch)
        self._questions.leave(self.used + max(map(len, branches)), self._cells)
        scored = branches_after(self._logits, branches, 0, self._prompt.next)
        cells = self._cells - self.used - self._questions.cells
        self._branches.fill(scored, range(1, self._forks + 1), cells)
        return [branch.scores for branch in scored]

    def score_many(self, requests: Sequence[ScoreRequest]) -> list[list[NDArray[np.float32]]]:
        """Compute prompts that take their questions from the cache together; see `LanguageSession.score_many`."""
        if len(requests) > PROMPTS:
            scores, cached = [], True
            for start in range(0, len(requests), PROMPTS):
                scores += self.score_many(requests[start : start + PROMPTS])
                cached = cached and self.question_cached
            self.question_cached = cached
            return scores
        grouped = self._grouped(requests)
        if not grouped:
            return super().score_many(requests)
        shared = min(one.prompt.common(grouped[0].prompt) for one in grouped)
        shared = min(shared, *(one.taken.start for one in grouped))
        own = sum(len(one.prompt) - shared - len(one.taken) for one in grouped)
        longest = max(len(branch) for request in requests for branch in request.branches)
        cells = self._cells - shared - own - self._questions.cells
        if cells < longest or len(grouped) >= self._forks:
            return super().score_many(requests)
        kept = self._keep_common(grouped[0].prompt, shared)
        self._compute(grouped[0].prompt, kept, shared)
        self._prompt, self._logits = grouped[0].prompt.first(shared), np.empty(0, np.float32)
        sequences = range(1, len(grouped) + 1)
        try:
            branches = [
                branches_after(logits, request.branches, one.sequence, one.prompt.next)
                for logits, request, one in zip(self._group.logits(grouped, shared), requests, grouped, strict=True)
            ]
            forks = range(sequences.stop, self._forks + 1)
            self._branches.fill([branch for own_branches in branches for branch in own_branches], forks, cells)
        finally:
            self._branches.drop(sequences)
        self.question_cached = True
        return [[branch.scores for branch in own_branches] for own_branches in branches]

    def _grouped(self, requests: Sequence[ScoreRequest]) -> list[GroupedPrompt]:
        """Return the prompts with their kept questions; none where some prompt cannot be computed with the others."""
        prompts: list[tuple[PromptPositions, CachedQuestion]] = []
        self._begin()
        for request in requests:
            chunks, length = self._checked_prompt(request.prompt)
            for branch in self._checked_branches(request.branches, length):
                self._require_known(branch)
            prompt = self._positions(chunks)
            if request.question is None or not self._group.can_mix(prompt, range(len(prompt))):
                return []
            prompts.append((prompt, request.question))
        taken = [self._taken_rows(prompt, question) for prompt, question in prompts]
        if len(prompts) < 2 or not all(taken):
            return []
        for prompt, question in prompts:
            self._kept_question(prompt, len(prompt) - question.length, question)
        kept = [self._questions.get(question_key(prompt, len(prompt) - one.length)) for prompt, one in prompts]
        return [
            GroupedPrompt(prompt, sequence, question, rows)
            for sequence, ((prompt, _), question, rows) in enumerate(zip(prompts, kept, taken, strict=True), 1)
            if question is not None and all(kept)
        ]

    def _generate(self, sampling: Sampling) -> Iterator[str]:
        call = self._begin()
        self._questions.leave(self.used + sampling.max_new_tokens, self._cells)
        return self._write(sampling, call)

    def _write(self, sampling: Sampling, call: int) -> Iterator[str]:
        """Decode on a fork of the prompt, and drop the fork when the answer ends or is no longer wanted."""
        self._require_current(call)
        random = np.random.default_rng(sampling.seed)
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        logits, text, begun = self._logits, "", False
        self._branches.fork(0, 1)
        try:
            for step in range(sampling.max_new_tokens):
                token = choose(logits, sampling, random)
                last = step + 1 == sampling.max_new_tokens
                ended = bool(self._native.llama_vocab_is_eog(self._vocabulary, token))
                text = decoder.decode(b"" if ended else self._piece(token), final=ended or last)
                text = text if begun else text.lstrip()
                if text:
                    begun = True
                    yield text
                    self._require_current(call)
                if ended or last:
                    return
                self._branches.decode([(token, self._prompt.next + step, 1)])
                logits = self._finite_row(-1)
        finally:
            if self._free.alive and self._call == call:
                self._branches.drop([1])

    def _piece(self, token: int) -> bytes:
        """Bytes of a token as text; control tokens have none."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            written = self._native.llama_token_to_piece(self._vocabulary, token, buffer, size, 0, False)
            if written >= 0:
                return buffer.raw[:written]
            size = -written

    def _row(self, index: int) -> NDArray[np.float32]:
        """Logits of one position of the last batch; valid until the next one."""
        pointer = self._native.llama_get_logits_ith(self._context, index)
        return np.ctypeslib.as_array(pointer, shape=(self._rows,))

    def _finite_row(self, index: int) -> NDArray[np.float32]:
        """Return `_row`, whose numbers can be used."""
        row = self._row(index)
        if not np.isfinite(row).all():
            raise self._nonsense()
        return row

    def _nonsense(self) -> EmoEdgeError:
        if not self._on_gpu:
            return super()._nonsense()
        return DeviceError("the GPU computes values of the language model that are not finite: use `device` cpu")

    def _begin(self) -> int:
        """Start a call: an answer that is still being written ends here."""
        self._require_open()
        self._call += 1
        self._branches.drop([1])
        return self._call

    def _require_known(self, tokens: Sequence[int]) -> None:
        unknown = [token for token in tokens if not 0 <= token < self._rows]
        if unknown:
            raise InputError(f"token {unknown[0]} is outside the vocabulary of {self._rows}")

    def _require_open(self) -> None:
        if not self._free.alive:
            raise RuntimeError("this language session is closed")

    def _require_prompt(self) -> None:
        self._require_open()
        super()._require_prompt()

    def _require_current(self, call: int) -> None:
        self._require_open()
        if call != self._call:
            raise RuntimeError("this answer ended when the session was used again")


def _loaded(path: Path, gpu_layers: int, repack: bool) -> Any:
    """Load with repacked weights where they pay and fit, else with plain ones, which stay in the file's pages."""
    if repack and not gpu_layers:
        try:
            return load_model(path, gpu_layers=0, extra_buffers=True)
        except DeviceError as error:
            logger.warning("%s: weights are not repacked, so prompts may take longer: %s", path.name, error)
    return load_model(path, gpu_layers=gpu_layers, extra_buffers=repack and gpu_layers != 0)


def _release(native: Any, context: Any, model: Any) -> None:
    native.llama_free(context)
    native.llama_model_free(model)
