"""A GGUF file's vocabulary: tokens of a text, without the weights."""

from __future__ import annotations

import ctypes
import weakref
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError
from emo_edge.runtimes.base.sessions import Session
from emo_edge.runtimes.llama_cpp.library import library, load_model
from emo_edge.utils.text import writable


class Vocabulary(Session):
    """The vocabulary of a file that llama.cpp may open."""

    def __init__(self, path: Path) -> None:
        """Open it; raises what `load_model` raises."""
        self._native = library()
        model = load_model(path, vocabulary_only=True)
        self._vocabulary = self._native.llama_model_get_vocab(model)
        self._free = weakref.finalize(self, self._native.llama_model_free, model)

    def close(self) -> None:
        """Free it; a second call does nothing."""
        self._free()

    @property
    def begin_token(self) -> int:
        """Id of the begin-of-sequence token."""
        return int(self._native.llama_vocab_bos(self._vocabulary))

    @property
    def adds_begin(self) -> bool:
        """True if the file says that a prompt begins with that token."""
        return bool(self._native.llama_vocab_get_add_bos(self._vocabulary))

    def is_control(self, token: int) -> bool:
        """Return True for a control token."""
        return bool(self._native.llama_vocab_is_control(self._vocabulary, token))

    def tokenize(self, text: str, *, control: bool = False) -> list[int]:
        """Token ids of one chunk of text; see `LanguageSession.tokenize`."""
        return list(token_ids(self._native, self._vocabulary, text, control))


def token_ids(native: Any, vocabulary: Any, text: str, control: bool) -> tuple[int, ...]:
    """Return llama.cpp's token ids of a text, without begin-of-sequence; ``control`` reads names of control tokens."""
    data = writable(text).encode()
    ids = (ctypes.c_int32 * (len(data) + 8))()
    count = native.llama_tokenize(vocabulary, data, len(data), ids, len(ids), False, control)
    if count < 0:
        raise CheckpointError(f"the tokenizer makes {-count} tokens of {len(data)} bytes: more than it can")
    return tuple(ids[:count])
