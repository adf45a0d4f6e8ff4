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
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.question_tokenizer import KEPT_TEXTS
from emo_edge.errors import DeviceError, EmoEdgeError, InputError
from emo_edge.machine.cpus import usable_cpus
from emo_edge.runtimes.base.compute_thread import ComputeThread
from emo_edge.runtimes.base.sessions import CachedQuestion, Chunk, LanguageSession, Sampling, ScoreRequest
from emo_edge.runtimes.llama_cpp.branches import BranchDecoder, branches_after
from emo_edge.runtimes.llama_cpp.decoding import BatchDecoder
from emo_edge.runtimes.llama_cpp.held_prompt import HeldPrompt
from emo_edge.runtimes.llama_cpp.kept_questions import (
    FILES_FROM,
    MOST_BYTES,
    QUESTIONS,
    QuestionFiles,
    keeps_questions,
    question_key,
)
from emo_edge.runtimes.llama_cpp.library import (
    build_key,
    fast_path_is_safe,
    library,
    load_model,
    native_errors,
    uses_amx,
)
from emo_edge.runtimes.llama_cpp.limits import check_cache_memory, check_sizes, check_trained
from emo_edge.runtimes.llama_cpp.matmul_inputs import MatmulInputs
from emo_edge.runtimes.llama_cpp.measured_choices import (
    CALLS,
    WHOLE,
    WHOLE_OR_CACHED,
    CallTimes,
    call_times,
    repacking_pays,
)
from emo_edge.runtimes.llama_cpp.prompt_group import (
    PROMPTS,
    GroupedPrompt,
    PromptGroup,
    own_cells,
    shared_rows,
)
from emo_edge.runtimes.llama_cpp.prompt_positions import PromptPositions
from emo_edge.runtimes.llama_cpp.sampling import choose
from emo_edge.runtimes.llama_cpp.token_embeddings import token_embeddings
from emo_edge.runtimes.llama_cpp.vocabulary import token_ids
from emo_edge.storage.sealed_files import SealedFiles
from emo_edge.utils.cache import user_cache
from emo_edge.utils.memory import require_memory

logger = logging.getLogger(__name__)
CONTEXT_HEADROOM = 256 << 20
"""Bytes besides a context's own: llama.cpp aborts the process where an allocation of its graph fails."""
BATCH = 512
"""Positions computed at once, fewer where the context is smaller; llama.cpp ends the process if there are more
sequences than that (256 at most)."""
FORKS, FORK_CELLS = 64, 2
"""Branches scored in one call, and attention-cache cells set aside for each; longer branches take more calls."""


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
        cached_questions: bool = False,
        made_by: Mapping[str, str] | None = None,
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
            cached_questions: labels are to take their questions from the cache, where that pays on this machine.
            made_by: all that the embeddings of a prompt's pictures depend on, such as hashes and versions: questions
                of a large file are kept for other processes under it. None keeps none.
            observer: sees the inputs of all matrices; it takes time.

        Raises CheckpointError for an unreadable file, InputError for sizes the model has not, DeviceError when the
        GPU is missing or the memory is not enough.
        """
        native = self._native = library()
        check_sizes(native, context_size, max_branches, gpu_layers)
        self._observer = observer
        self._forks = min(max_branches, native.llama_max_parallel_sequences() - 1 - QUESTIONS)
        # llama.cpp ends the process where a context has fewer cells than sequences.
        self._cells = max(context_size + FORK_CELLS * self._forks, self._forks + 1 + QUESTIONS)
        cores, ways = threads or usable_cpus(), WHOLE_OR_CACHED if cached_questions else WHOLE
        repack = fast_path_is_safe(path) and (gpu_layers != 0 or repacking_pays(path, cores, ways))
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
        compute = ComputeThread(repack and uses_amx(native))
        self._decode = BatchDecoder(native, context, compute)
        self._branches = BranchDecoder(native, self._memory, self._decode, self._finite_row)
        self._vocabulary = native.llama_model_get_vocab(model)
        self._token_rows = token_embeddings(path, native)
        self._group = PromptGroup(native, self._memory, self._decode, self._branches, self._token_rows)
        self._tokenized = lru_cache(KEPT_TEXTS)(partial(token_ids, native, self._vocabulary))
        self._rows = native.llama_vocab_n_tokens(self._vocabulary)
        self._on_gpu = gpu_layers != 0
        self._free = weakref.finalize(self, _release, native, context, model, compute)
        self._held = HeldPrompt(
            native,
            model,
            self._memory,
            self._decode,
            self._finite_row,
            self._token_rows,
            CallTimes({})
            if not cached_questions
            else self._call_times(path, f"{cores} threads, {gpu_layers}, {repack}"),
            cells=self._cells,
            questions=self._forks + 1,
            observed=observer is not None,
            files=self._question_files(path, made_by, f"{cores} {gpu_layers} {repack} {exact_cache} {small_cache}"),
        )
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
        # Each sequence of a recurrent model takes memory.
        parameters.n_seq_max = self._forks + 1 + (QUESTIONS if keeps_questions(native, model) else 0)
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

    def _question_files(self, path: Path, made_by: Mapping[str, str] | None, settings: str) -> QuestionFiles | None:
        """Return the files of questions of a large model; None where none are to be kept, or there is no cache."""
        if made_by is None or path.stat().st_size < FILES_FROM:
            return None
        native, directory = self._native, user_cache("questions")
        if directory is None:
            return None
        build = build_key(native.llama_print_system_info().decode())
        everything = {**made_by, "build": build, "settings": settings}
        return QuestionFiles(native, self._context, self._memory, SealedFiles(directory, MOST_BYTES), everything)

    def _call_times(self, path: Path, settings: str) -> CallTimes:
        return call_times(path, settings, self._call_seconds)

    def _call_seconds(self, rows: int) -> float:
        """Time a call of so many tokens in the context, which holds nothing yet and nothing afterwards."""
        rows = min(rows, self._decode.most, self._cells)
        logits = np.arange(rows) == rows - 1
        seconds = []
        for _ in range(CALLS):
            started = time.perf_counter()
            self._decode(np.zeros(rows, np.int32), np.arange(rows, dtype=np.int32), np.zeros(rows), logits)
            self._native.llama_synchronize(self._context)
            seconds.append(time.perf_counter() - started)
            self._native.llama_memory_clear(self._memory, True)
        return min(seconds)

    def _prefill(self, chunks: Sequence[Chunk]) -> int:
        self._begin()
        prompt = self._positions(chunks)
        self.used = 0  # what a failure below leaves
        return self._held.compute(prompt)

    def _prefill_cached(self, chunks: Sequence[Chunk], question: CachedQuestion) -> int:
        self._begin()
        prompt = self._positions(chunks)
        self.used = 0
        computed, self.question_cached = self._held.compute_cached(prompt, question, partial(self._other, question))
        return computed

    def _other(self, question: CachedQuestion) -> PromptPositions:
        return self._positions([self._checked(chunk) for chunk in question.other()])

    def _positions(self, chunks: Sequence[Chunk]) -> PromptPositions:
        prompt = PromptPositions()
        for chunk in chunks:
            prompt.append(chunk, self._require_known)
        return prompt

    def _score(self, branches: list[list[int]]) -> list[NDArray[np.float32]]:
        self._begin()
        for branch in branches:
            self._require_known(branch)
        self._held.make_room(self.used + max(map(len, branches)))
        scored = branches_after(self._held.logits, branches, 0, self._held.prompt.next)
        self._branches.fill(scored, range(1, self._forks + 1), self._held.room(self.used))
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
        shared = shared_rows(grouped) if grouped else 0
        cells = self._held.room(shared + own_cells(grouped, shared))
        longest = max((len(branch) for request in requests for branch in request.branches), default=0)
        if not grouped or cells < longest or len(grouped) >= self._forks:
            return super().score_many(requests)
        self.used = 0
        self._held.hold_beginning(grouped[0].prompt, shared)
        sequences = range(1, len(grouped) + 1)
        try:
            branches = [
                branches_after(logits, request.branches, one.sequence, one.prompt.next)
                for logits, request, one in zip(self._group.logits(grouped, shared), requests, grouped, strict=True)
            ]
            forks = range(sequences.stop, self._forks + 1)
            self._branches.fill([branch for own in branches for branch in own], forks, cells)
        finally:
            self._branches.drop(sequences)
        self.question_cached = True
        return [[branch.scores for branch in own] for own in branches]

    def _grouped(self, requests: Sequence[ScoreRequest]) -> list[GroupedPrompt]:
        """Return the prompts with their kept questions; none where some prompt cannot be computed with the others."""
        self._begin()
        prompts: list[tuple[PromptPositions, CachedQuestion]] = []
        for request in requests:
            chunks, length = self._checked_prompt(request.prompt)
            for branch in self._checked_branches(request.branches, length):
                self._require_known(branch)
            prompt = self._positions(chunks)
            if request.question is None or not self._group.can_join(prompt):
                return []
            prompts.append((prompt, request.question))
        taken = [self._held.rows_to_take(prompt, question, len(prompts)) for prompt, question in prompts]
        if len(prompts) < 2 or not all(taken):
            return []
        self.used = 0
        for prompt, question in prompts:
            self._held.kept_question(prompt, question, partial(self._other, question))
        # The first ones may have given way to the last.
        kept = [self._held.questions.get(question_key(prompt, len(prompt) - one.length)) for prompt, one in prompts]
        return [
            GroupedPrompt(prompt, sequence, question, rows)
            for sequence, ((prompt, _), question, rows) in enumerate(zip(prompts, kept, taken, strict=True), 1)
            if question is not None and all(kept)
        ]

    def _generate(self, sampling: Sampling) -> Iterator[str]:
        call = self._begin()
        self._held.make_room(self.used + sampling.max_new_tokens)
        return self._write(sampling, call)

    def _write(self, sampling: Sampling, call: int) -> Iterator[str]:
        """Decode on a fork of the prompt, and drop the fork when the answer ends or is no longer wanted."""
        self._require_current(call)
        random = np.random.default_rng(sampling.seed)
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        logits, text, begun = self._held.logits, "", False
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
                self._branches.decode([(token, self._held.prompt.next + step, 1)])
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


def _release(native: Any, context: Any, model: Any, compute: ComputeThread) -> None:
    compute.close()
    native.llama_free(context)
    native.llama_model_free(model)
