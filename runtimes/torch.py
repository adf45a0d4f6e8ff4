"""The full-precision reference behind the runtimes' protocols.

It is handed the modules (`emo_edge.export.reference.outputs` makes them of a checkpoint), so that a device needs no
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.runtimes.base.sessions import Chunk, LanguageSession, PictureRows, Sampling, TensorSession
from emo_edge.tensors import Tensor, TensorSpec


class TextTokenizer(Protocol):
    """The tokenizer of a language session."""

    def encode(self, text: str) -> list[int]:
        """Token ids of one chunk of text, without begin-of-sequence."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, without surrounding space."""


class TorchSession(TensorSession):
    """A function of torch tensors as a graph."""

    def __init__(
        self, compute: Callable[[Mapping[str, Any]], Mapping[str, Any]], inputs: Sequence[TensorSpec], outputs: Any
    ) -> None:
        super().__init__(inputs, outputs)
        self._compute: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = compute

    def _run(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        import torch

        if self._compute is None:
            raise ValueError("the session is closed")
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in feed.items()}
            outputs = self._compute(inputs)
        return {name: value.float().cpu().numpy() for name, value in outputs.items()}

    def close(self) -> None:
        """Forget the module, which belongs to its creator; a second call does nothing."""
        self._compute = None


class TorchLanguageSession(LanguageSession):
    """A transformers causal language model; every score is a plain forward pass over prompt and branch."""

    def __init__(self, language: Any, tokenizer: TextTokenizer) -> None:
        config = language.config
        super().__init__(config.max_position_embeddings, config.hidden_size)
        self._language, self._tokenizer = language, tokenizer
        self._prompt: Any = None
        self._call = 0

    @property
    def begin_token(self) -> int:
        """Id of the begin-of-sequence token."""
        return int(self._language.config.bos_token_id)

    def tokenize(self, text: str, *, control: bool = False) -> list[int]:
        """Token ids of one chunk of text, without begin-of-sequence; SentencePiece reads no control token in it."""
        return self._tokenizer.encode(text)

    def close(self) -> None:
        """Forget the prompt; the module belongs to its creator."""
        self._prompt, self.used = None, 0

    def _prefill(self, chunks: Sequence[Chunk]) -> int:
        import torch

        self._call += 1
        embed = self._language.get_input_embeddings()
        parts = []
        for chunk in chunks:
            if isinstance(chunk, PictureRows):
                raise InputError("pictures of libmtmd's are for its own language model")
            parts.append(torch.from_numpy(chunk) if isinstance(chunk, np.ndarray) else embed(torch.tensor(list(chunk))))
        self._prompt = torch.cat(parts)
        return len(self._prompt)

    def _score(self, branches: list[list[int]]) -> list[NDArray[np.float32]]:
        import torch

        scores = []
        with torch.inference_mode():
            for branch in branches:
                ids = torch.tensor(branch)
                embedded = torch.cat([self._prompt, self._language.get_input_embeddings()(ids)])[None]
                logits = self._language(inputs_embeds=embedded, use_cache=False).logits[0].float()
                before = logits[len(self._prompt) - 1 : -1].log_softmax(-1)
                scores.append(before.gather(-1, ids[:, None])[:, 0].numpy())
        return scores

    def _generate(self, sampling: Sampling) -> Iterator[str]:
        import torch

        ids: list[int] = []
        embed, written, call = self._language.get_input_embeddings(), "", self._call
        generator = torch.Generator().manual_seed(sampling.seed)
        for _ in range(sampling.max_new_tokens):
            if call != self._call:
                raise RuntimeError("this answer ended when the session was used again")
            with torch.inference_mode():
                tokens = torch.cat([self._prompt, embed(torch.tensor(ids, dtype=torch.long))])[None]
                logits = self._language(inputs_embeds=tokens, use_cache=False).logits[0, -1].float()
            ids.append(_next_token(logits, sampling, generator))
            if ids[-1] == self._language.config.eos_token_id:
                return
            text = self._tokenizer.decode(ids)
            # A byte of an unfinished character shows as the replacement mark: wait for the rest.
            if text.startswith(written) and not text.endswith("\ufffd"):
                yield text[len(written) :]
                written = text


def _next_token(logits: Any, sampling: Sampling, generator: Any) -> int:
    import torch

    if sampling.temperature == 0:
        return int(logits.argmax())
    # In double precision, shifted first: a temperature near 0 is greedy.
    shifted = logits.double() - logits.max()
    probabilities, order = (shifted / sampling.temperature).softmax(-1).sort(descending=True)
    kept = probabilities.cumsum(-1) - probabilities < sampling.top_p
    return int(order[torch.multinomial(probabilities * kept, 1, generator=generator)])
