"""A question comes from the cache where its two short calls take less time than the whole prompt, measured once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emo_edge.planning.probes.language import LanguageProbe
from emo_edge.runtimes.base.sessions import CachedQuestion, Chunk, ScoreRequest
from emo_edge.runtimes.llama_cpp import measured_choices
from emo_edge.runtimes.llama_cpp import session as llama
from emo_edge.runtimes.llama_cpp.measured_choices import CALLS_NAME, TIMED_ROWS, CallTimes, call_times
from emo_edge.runtimes.llama_cpp.session import LlamaSession

WIDTH, Q4_K_M = 256, 15
SYSTEM, QUESTION = list(range(300, 320)), list(range(400, 440))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return LanguageProbe(WIDTH, 512, 2, Q4_K_M).write(tmp_path_factory.mktemp("calls") / "small.gguf")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(measured_choices, "MEASURED_FROM", 0)
    return tmp_path / "emo-edge" / CALLS_NAME


def never(rows: int) -> float:
    pytest.fail("measured")


def prompt(seed: int) -> list[Chunk]:
    picture = 0.02 * np.random.default_rng(seed).standard_normal((9, WIDTH), np.float32)
    return [SYSTEM, picture, QUESTION]


def question() -> CachedQuestion:
    return CachedQuestion(length=len(QUESTION), head=0, tail=1, other=lambda: prompt(0))


def test_times_between_and_beyond_the_measured_ones_lie_on_a_line() -> None:
    known = CallTimes({1: 1.0, 8: 8.0, 16: 10.0})
    assert [known.seconds(rows) for rows in (1, 4, 12, 16, 32)] == [1.0, 4.0, 9.0, 10.0, 14.0]
    assert CallTimes({1: 2.0, 8: 1.0}).seconds(100) == 1.0


def test_the_faster_way_pays() -> None:
    reading = CallTimes({1: 1.0, 64: 1.2})  # every call reads the weights, and computes next to nothing
    computing = CallTimes({1: 1.0, 64: 64.0})
    assert not reading.question_pays([9, 1], [65]) and reading.question_pays([36, 4], 4 * [65])
    assert computing.question_pays([9, 1], [65])
    assert CallTimes({}).question_pays([9, 1], [1]), "nothing is known"


def test_a_file_is_measured_once_and_settings_by_themselves(file: Path, cache: Path) -> None:
    asked: list[int] = []

    def measure(rows: int) -> float:
        asked.append(rows)
        return 0.5 * rows

    first = call_times(file, "2 threads", measure)
    assert first.seconds(64) == call_times(file, "2 threads", never).seconds(64) == 32.0
    call_times(file, "1 threads", measure)
    assert asked == 2 * list(TIMED_ROWS)
    cache.write_text(json.dumps({key: [0.0, -1.0] for key in json.loads(cache.read_text())}))
    assert call_times(file, "2 threads", lambda rows: 1.0).seconds(64) == 1.0, "a broken answer"


def test_a_small_file_is_not_measured(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured_choices, "MEASURED_FROM", file.stat().st_size + 1)
    assert call_times(file, "", never).question_pays([9, 1], [1])
    assert not cache.exists()


@pytest.mark.parametrize(("seconds", "cached"), [(lambda rows: 1.0, False), (lambda rows: float(rows), True)])
def test_a_session_takes_the_faster_way(
    file: Path, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float], cached: bool
) -> None:
    monkeypatch.setattr(LlamaSession, "_call_seconds", lambda self, rows: seconds(rows))
    requests = [ScoreRequest(prompt(seed), [[300], [301]], question()) for seed in (1, 2, 3, 4)]
    with LlamaSession(file, context_size=256, threads=1, cached_questions=True) as session:
        session.prefill(prompt(1), question())
        assert session.question_cached is cached
        scores = session.score([[300], [301]])
        together = session.score_many(requests)
        assert session.question_cached, "four prompts in two calls take less time than four calls"
    assert np.allclose(scores, together[0], atol=0.5)


def test_the_real_calls_are_timed_and_leave_nothing(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # That choice is measured, too, and weights in another order give other last digits.
    monkeypatch.setattr(llama, "repacking_pays", lambda path, threads, ways: True)
    with LlamaSession(file, context_size=256, threads=1) as session:
        session.prefill(prompt(1))
        expected = session.score([[300], [301]])
    assert not cache.exists(), "no question of this session comes from the cache"
    with LlamaSession(file, context_size=256, threads=1, cached_questions=True) as session:
        assert session.prefill(prompt(1)) == len(SYSTEM) + 9 + len(QUESTION)
        assert np.array_equal(session.score([[300], [301]]), expected)
    (measured,) = json.loads(cache.read_text()).values()
    assert len(measured) == len(TIMED_ROWS) and all(value > 0 for value in measured)


def test_a_context_smaller_than_the_sequences_is_no_abort(file: Path) -> None:
    with LlamaSession(file, context_size=8, max_branches=2, threads=1, cached_questions=True) as session:
        assert session.prefill([list(range(300, 307))]) == 7


def test_repacking_is_asked_for_both_ways(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(llama, "fast_path_is_safe", lambda path: True)
    monkeypatch.setattr(llama, "repacking_pays", lambda path, threads, ways: bool(asked.append(ways)))
    for cached in (False, True):
        LlamaSession(file, context_size=64, threads=1, cached_questions=cached).close()
    assert asked == [llama.WHOLE, llama.WHOLE_OR_CACHED]
