"""The two protocols every engine stands behind: feed-and-fetch graphs, and a language model with a context.

The public methods check what goes in and out; an engine's own file only computes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import CheckpointError, EmoEdgeError, InputError
from emo_edge.tensors import Tensor, TensorSpec


@dataclass(frozen=True)
class PictureRows:
    """Embeddings of a picture whose places in a prompt are its own."""

    embeddings: NDArray[np.float32]
    """[M, E]."""
    grid: NDArray[np.int32] | None = None
    """[M, 4], time, row, column and a fourth axis from the picture's start on (M-RoPE); None counts on from row to
    row."""
    span: int | None = None
    """Positions between the picture's start and what follows it; None is M."""
    causal: bool = True
    """False lets its rows attend to each other, those behind as well."""

    def __len__(self) -> int:
        return len(self.embeddings)


Chunk = Sequence[int] | NDArray[np.float32] | PictureRows
"""Part of a prompt: token ids, embeddings float32 [M, E], or a picture with places of its own."""


@dataclass(frozen=True)
class CachedQuestion:
    """Text behind a prompt's pictures whose keys and values may be those that it has behind other pictures.

    The first ``head`` and the last ``tail`` of its positions are computed for the prompt itself.
    """

    length: int
    """Positions of the text, at the end of the prompt."""
    head: int
    tail: int
    """1 or more: the last position gives the logits."""
    other: Callable[[], Sequence[Chunk]]
    """Returns the same prompt about other pictures of the same places; called where nothing is kept yet."""
    of_a_person: bool = False
    """The text says something of the person in the picture: nothing of it is kept in a file."""

    def __post_init__(self) -> None:
        if self.head < 0 or self.tail < 1:
            raise InputError(f"a cached question has a head of 0 or more and a tail of 1 or more, not {self}")


@dataclass(frozen=True)
class ScoreRequest:
    """A prompt and the continuations to score after it."""

    prompt: Sequence[Chunk]
    branches: Sequence[Sequence[int]]
    question: CachedQuestion | None = None


@dataclass(frozen=True)
class Sampling:
    """Decoding of an answer; temperature 0 is greedy. Raises InputError for values that cannot be used."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or not 0 <= self.temperature < math.inf or not 0 < self.top_p <= 1 or self.seed < 0:
            raise InputError(
                "sampling needs max_new_tokens >= 1, a finite temperature >= 0, 0 < top_p <= 1 and seed >= 0, "
                f"not {self}"
            )


class Session(ABC):
    """An engine that holds native memory until it is closed; use it as a context manager."""

    @abstractmethod
    def close(self) -> None:
        """Free the engine; a second call does nothing."""

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TensorSession(Session):
    """A graph: named arrays in, named arrays out. The returned arrays belong to the caller."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)

    def run(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute every output from exactly the inputs; raise InputError naming every input that does not fit."""
        names = {spec.name for spec in self.inputs}
        problems = [f"{name} is no input" for name in feed.keys() - names]
        problems += [f"{name} is missing" for name in names - feed.keys()]
        sizes: dict[str, int] = {}
        for spec in self.inputs:
            if spec.name in feed:
                problems += spec.problems(feed[spec.name], sizes)
        if problems:
            raise InputError(f"the graph cannot be fed: {'; '.join(sorted(problems))}")
        return self._run(feed)

    @abstractmethod
    def _run(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]: ...


class Tokenizer(Protocol):
    """The part of a language model that turns text into tokens."""

    @property
    def begin_token(self) -> int:
        """Id of the begin-of-sequence token."""

    def tokenize(self, text: str, *, control: bool = False) -> list[int]:
        """Token ids of one chunk of text; see `LanguageSession.tokenize`."""


class PictureEncoder(Session):
    """A vision tower with its projector, which writes a picture as a part of a prompt."""

    @abstractmethod
    def encode(self, image: Tensor) -> list[Chunk]:
        """Return the chunks of a picture, uint8 RGB [H, W, 3]: its embeddings, and the tokens around them."""


class LanguageSession(Session):
    """A causal language model that holds one prompt in its context, scores continuations and writes answers."""

    def __init__(self, context_size: int, embedding_size: int) -> None:
        self.context_size, self.embedding_size = context_size, embedding_size
        self.used = 0
        """Positions the prompt fills."""
        self.question_cached = False
        """True if keys and values of the prompt are those about another picture."""

    def prefill(self, prompt: Sequence[Chunk], question: CachedQuestion | None = None) -> int:
        """Make ``prompt`` the context and return how many of its positions had to be computed.

        The positions that the new prompt has in common with the one before, from the start on, are kept. With a
        ``question`` those between its head and its tail are taken from the prompt about other pictures, where the
        model and the context allow it: `question_cached` says whether. Raises InputError if the prompt is empty, holds
        embeddings of the wrong width or is longer than the context.
        """
        chunks, length = self._checked_prompt(prompt)
        self.question_cached = False
        computed = self._prefill(chunks) if question is None else self._prefill_cached(chunks, question)
        self.used = length
        return computed

    def score(self, branches: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Log-probability of every token of each branch (token ids) after the prompt; the prompt stays."""
        self._require_prompt()
        scores = self._score(self._checked_branches(branches, self.used))
        if not all(np.isfinite(values).all() for values in scores):
            raise self._nonsense()
        return scores

    def score_many(self, requests: Sequence[ScoreRequest]) -> list[list[NDArray[np.float32]]]:
        """Return what `prefill` and `score` give for each request, computed together where the engine can.

        `question_cached` says whether all prompts took their question from the cache. The context holds no prompt then.
        """
        scores, cached = [], True
        for request in requests:
            self.prefill(request.prompt, request.question)
            scores.append(self.score(request.branches))
            cached = cached and self.question_cached
        self.used, self.question_cached = 0, cached
        return scores

    def generate(self, sampling: Sampling) -> Iterator[str]:
        """Write the answer after the prompt piece by piece, up to the end-of-sequence token; the prompt stays.

        Where the context ends before ``max_new_tokens``, the answer ends there. Raises InputError if nothing fits.
        """
        self._require_prompt()
        self._require_positions(self.used + 1)
        free = self.context_size - self.used
        return self._generate(replace(sampling, max_new_tokens=min(sampling.max_new_tokens, free)))

    @abstractmethod
    def tokenize(self, text: str, *, control: bool = False) -> list[int]:
        """Token ids of one chunk of text, without begin-of-sequence.

        ``control`` reads names of control tokens in the text, such as a chat template's, as these tokens.
        """

    @property
    @abstractmethod
    def begin_token(self) -> int:
        """Id of the begin-of-sequence token."""

    @abstractmethod
    def _prefill(self, chunks: Sequence[Chunk]) -> int: ...

    def _prefill_cached(self, chunks: Sequence[Chunk], question: CachedQuestion) -> int:
        """Compute all of a prompt with a cached question; an engine that can keep one does less."""
        return self._prefill(chunks)

    @abstractmethod
    def _score(self, branches: list[list[int]]) -> list[NDArray[np.float32]]: ...

    @abstractmethod
    def _generate(self, sampling: Sampling) -> Iterator[str]: ...

    def _nonsense(self) -> EmoEdgeError:
        """Create the error of values that are not finite."""
        return CheckpointError("the language model computes values that are not finite: another `profile` may do")

    def _checked_prompt(self, prompt: Sequence[Chunk]) -> tuple[list[Chunk], int]:
        """Return the chunks that are not empty and their positions together; raise InputError as `prefill` does."""
        chunks = [self._checked(chunk) for chunk in prompt if len(chunk)]
        length = sum(len(chunk) for chunk in chunks)
        if not length:
            raise InputError("the prompt is empty")
        self._require_positions(length)
        return chunks, length

    def _checked_branches(self, branches: Sequence[Sequence[int]], used: int) -> list[list[int]]:
        """Return the branches after a prompt of ``used`` positions; raise InputError for none, or ones too long."""
        if not branches or not all(len(branch) for branch in branches):
            raise InputError("score needs at least one branch, and no empty one")
        self._require_positions(used + max(len(branch) for branch in branches))
        return [list(branch) for branch in branches]

    def _checked(self, chunk: Chunk) -> Chunk:
        if isinstance(chunk, PictureRows):
            self._checked(chunk.embeddings)
            return chunk
        if isinstance(chunk, np.ndarray) and chunk.dtype == np.float32:
            if chunk.ndim != 2 or chunk.shape[1] != self.embedding_size:
                shape = list(chunk.shape)
                raise InputError(f"embeddings have shape {shape}, the model reads [M, {self.embedding_size}]")
            return chunk
        if isinstance(chunk, np.ndarray) and not np.issubdtype(chunk.dtype, np.integer):
            raise InputError(f"a chunk of a prompt is token ids, or embeddings in float32, not {chunk.dtype}")
        return [int(token) for token in chunk]

    def _require_prompt(self) -> None:
        if not self.used:
            raise InputError("there is no prompt yet: call prefill first")

    def _require_positions(self, needed: int) -> None:
        if needed > self.context_size:
            raise InputError(
                f"the prompt needs {needed} positions, the context has {self.context_size}: "
                "use fewer frames, fewer or shorter labels, less text or a shorter answer"
            )
