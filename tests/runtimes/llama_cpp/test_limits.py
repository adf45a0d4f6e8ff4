"""Limits of llama.cpp, beyond which it ends the process: the largest legal call, and one more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.bundle.gguf_header import EMBEDDING, read_gguf_header
from emo_edge.errors import CheckpointError, InputError
from emo_edge.planning.probes.language import F16, VOCABULARY, LanguageProbe
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.runtimes.llama_cpp.session import BATCH, FORKS, LlamaSession

WIDTH, CONTEXT = 256, 1024


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return LanguageProbe(WIDTH, 512, 1, F16).write(tmp_path_factory.mktemp("model") / "random.gguf")


@pytest.fixture
def session(model: Path) -> Iterator[LlamaSession]:
    with LlamaSession(model, context_size=CONTEXT, threads=1) as opened:
        yield opened


def tokens(count: int) -> list[int]:
    return [(7 * step) % VOCABULARY for step in range(count)]


def frames(count: int) -> Any:
    return np.random.default_rng(count).normal(0, 0.1, (count, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("rows", [1, BATCH - 1, BATCH])
def test_the_largest_batch_is_computed_and_a_larger_one_refused(session: LlamaSession, rows: int) -> None:
    decode, zeros = session._decode, np.zeros
    assert decode.most == BATCH
    decode(np.array(tokens(rows)), np.arange(rows), zeros(rows), zeros(rows))
    for wrong in (0, BATCH + 1):
        with pytest.raises(ValueError, match=f"1 to {BATCH} positions, not {wrong}"):
            decode(np.array(tokens(wrong)), np.arange(wrong), zeros(wrong), zeros(wrong))
        with pytest.raises(ValueError, match=f"1 to {BATCH} positions, not {wrong}"):
            decode(frames(wrong), np.arange(wrong), zeros(wrong), zeros(wrong))


@pytest.mark.parametrize("length", [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH - 1, CONTEXT])
def test_prompts_of_every_kind_up_to_the_whole_context(session: LlamaSession, length: int) -> None:
    half = length // 2
    for prompt in (
        [tokens(length)],
        [frames(length)],
        [tokens(half), frames(length - half)],
        [[5], frames(length - 1)],
    ):
        session.prefill([[3]])  # so that nothing of the prompt before is kept
        assert session.prefill(prompt) == length
        if length < CONTEXT:
            (score,) = session.score([[9]])
            assert np.isfinite(score).all()
    for prompt in ([tokens(CONTEXT + 1)], [frames(CONTEXT + 1)], [tokens(CONTEXT), frames(1)]):
        with pytest.raises(InputError, match=f"needs {CONTEXT + 1} positions, the context has {CONTEXT}"):
            session.prefill(prompt)


@pytest.mark.parametrize(
    ("count", "length"), [(1, BATCH + 2), (FORKS, 9), (FORKS, 10), (FORKS + 1, 2), (300, 3), (3, CONTEXT - 20)]
)
def test_many_and_long_labels_are_scored(session: LlamaSession, count: int, length: int) -> None:
    session.prefill([tokens(20)])
    branches = [[(index + step) % VOCABULARY for step in range(length)] for index in range(count)]
    scores = session.score(branches)
    assert [len(one) for one in scores] == [length] * count
    alone = session.score([branches[-1]])[0]
    assert np.abs(scores[-1] - alone).max() < 0.05
    with pytest.raises(InputError, match="the context has"):
        session.score([*branches, tokens(CONTEXT - 19)])


def test_a_context_smaller_than_a_batch(model: Path) -> None:
    with LlamaSession(model, context_size=16, max_branches=1, threads=1) as small:
        assert 0 < small._decode.most <= BATCH
        assert small.prefill([tokens(16)]) == 16
        with pytest.raises(InputError, match="needs 17 positions"):
            small.prefill([tokens(17)])


def test_more_sequences_than_llama_cpp_takes(model: Path) -> None:
    with LlamaSession(model, context_size=64, max_branches=10_000, threads=1) as session:
        session.prefill([tokens(5)])
        assert len(session.score([[one, one + 1] for one in range(400)])) == 400


def test_an_answer_ends_with_the_context(session: LlamaSession) -> None:
    session.prefill([tokens(CONTEXT - 1)])
    assert len(list(session.generate(Sampling(max_new_tokens=50)))) <= 1
    session.prefill([tokens(CONTEXT)])
    with pytest.raises(InputError, match="the context has"):
        list(session.generate(Sampling()))


def test_numbers_that_are_not_finite_are_no_score_and_no_answer(model: Path, tmp_path: Path) -> None:
    header, bad = read_gguf_header(model), tmp_path / "bad.gguf"
    data = bytearray(model.read_bytes())
    start = header.tensors[EMBEDDING].start + 300 * WIDTH * 2
    data[start : start + 2 * WIDTH] = np.full(WIDTH, np.nan, np.float16).tobytes()
    bad.write_bytes(data)
    with LlamaSession(bad, context_size=64, threads=1) as session:
        session.prefill([tokens(5)])
        assert np.isfinite(session.score([[8, 9]])[0]).all()
        with pytest.raises(CheckpointError, match="not finite"):
            session.score([[8, 9], [300, 9]])
        assert np.isfinite(session.score([[8, 9]])[0]).all()
        with pytest.raises(CheckpointError, match="not finite"):
            session.prefill([[5, 300]])
