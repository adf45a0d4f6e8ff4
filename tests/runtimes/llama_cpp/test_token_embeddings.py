"""A prompt of text and embeddings as one call: the rows are llama.cpp's own, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emo_edge.bundle.gguf_types import TENSOR_TYPES
from emo_edge.runtimes.llama_cpp import session as llama
from emo_edge.runtimes.llama_cpp.decoding import BatchDecoder
from emo_edge.runtimes.llama_cpp.library import library
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.runtimes.llama_cpp.token_embeddings import token_embeddings

TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_s", "q4_k_m", "q5_k_m", "q6_k")

TABLES = {"q2_k": "q2_k", "q3_k_s": "q3_k", "q4_k_m": "q4_k", "q5_k_m": "q5_k"}
"""Type of the table where the file's recipe might make another."""
EXACT = ("f32", "f16", "bf16")
"""Types whose kernels do not round what the layers compute to 8 bits."""
PROMPTS = 7
"""An 8-bit rounding that falls the other way moves a prompt now and then, and the three calls alike if they are cut
otherwise; a wrong row or place moves every prompt."""


@pytest.fixture(scope="module", params=TYPES)
def gguf(
    request: pytest.FixtureRequest, short_language: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from emo_edge.export.gguf.quantize import quantize_gguf
    from emo_edge.export.gguf.writer import gguf_from_checkpoint

    (checkpoint, language), folder = short_language, tmp_path_factory.mktemp("gguf")
    plain, wanted = folder / "f32.gguf", folder / f"{request.param}.gguf"
    gguf_from_checkpoint(checkpoint, language, plain, file_type="f32", name="tiny")
    if wanted != plain:
        table = TABLES.get(request.param)
        quantize_gguf(plain, wanted, request.param, types={"token_embd.weight": table} if table else None)
    return wanted


def test_rows_are_what_ggufs_own_package_reads(gguf: Path) -> None:
    import gguf as reference

    (table,) = [one for one in reference.GGUFReader(gguf).tensors if one.name == "token_embd.weight"]
    expected = reference.dequantize(table.data, table.tensor_type)
    rows = token_embeddings(gguf, library())
    assert rows is not None
    chosen = [5, 0, len(expected) - 1, 5]
    np.testing.assert_array_equal(rows(chosen), np.asarray(expected[chosen], np.float32))


def prompt_of(width: int, embeddings: int, after: int, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    seen = rng.normal(0, 0.1, (embeddings, width)).astype(np.float32)
    return [[1, *range(40, 60)], seen, rng.integers(3, 760, after).tolist()]


@pytest.mark.parametrize(("embeddings", "after"), [(9, 30), (600, 20)])
def test_one_call_tells_what_three_told(
    gguf: Path, embeddings: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    computed = BatchDecoder.__call__
    monkeypatch.setattr(
        BatchDecoder, "__call__", lambda self, inputs, *rest: (calls.append(len(inputs)), computed(self, inputs, *rest))
    )
    told: dict[bool, list[Any]] = {True: [], False: []}
    for one in (True, False):
        if not one:
            monkeypatch.setattr(llama, "token_embeddings", lambda path, native: None)
        with LlamaSession(gguf, context_size=1024, exact_cache=True) as session:
            for seed in range(PROMPTS):
                prompt = prompt_of(session.embedding_size, embeddings, after, seed)
                session.prefill([[5]])  # so that nothing of the prompt before is kept
                calls.clear()
                session.prefill(prompt)
                assert len(calls) == (
                    -(-(21 + embeddings + after) // llama.BATCH) if one else 2 + -(-embeddings // llama.BATCH)
                )
                told[one].append(np.concatenate(session.score([[5, 9], [700], [12, 12, 12]])))
                # What is kept of a prompt is what both have in common, whichever way it was computed.
                assert session.prefill([prompt[0], prompt[1], [*prompt[2][:-2], 7, 8, 9]]) == 3
    apart = np.abs(np.array(told[True]) - np.array(told[False])).max(axis=1)
    if gguf.stem in EXACT:
        assert apart.max() <= 1e-4
    assert np.median(apart) <= 3e-3 and apart.max() <= 0.05


def test_text_alone_stays_tokens(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[Any] = []
    computed = BatchDecoder.__call__
    monkeypatch.setattr(
        BatchDecoder,
        "__call__",
        lambda self, inputs, *rest: (kinds.append(inputs.dtype), computed(self, inputs, *rest)),
    )
    with LlamaSession(gguf, context_size=128) as session:
        session.prefill([[1, 5, 6], [7, 8]])
    assert kinds == [np.int32]


class Hidden:
    """A library in which ggml's functions are not to be found."""

    def __getitem__(self, name: str) -> Any:
        raise AttributeError(name)


@pytest.mark.parametrize("change", ["architecture", "scale", "hidden", "type", "short"])
def test_without_known_rows_there_are_none(gguf: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from emo_edge.bundle.gguf_header import read_gguf_header
    from emo_edge.runtimes.llama_cpp import token_embeddings as module

    header = read_gguf_header(gguf)
    table = header.tensors["token_embd.weight"]
    if change == "architecture":
        header.metadata["general.architecture"] = "gemma"
    elif change == "scale":
        header.metadata["llama.embedding_scale"] = 12.0
    elif change == "type":
        header.tensors["token_embd.weight"] = replace(table, type=999)
    elif change == "short":
        header.tensors["token_embd.weight"] = replace(table, bytes=table.bytes // 2)
    monkeypatch.setattr(module, "read_gguf_header", lambda path: header)
    native = SimpleNamespace(_lib=Hidden()) if change == "hidden" else library()
    if change == "hidden" and table.type == TENSOR_TYPES["f32"].number:
        assert token_embeddings(gguf, native) is not None
    else:
        assert token_embeddings(gguf, native) is None


def test_a_file_that_is_no_llama_has_none(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"GGUF")
    assert token_embeddings(tmp_path / "no.gguf", library()) is None
