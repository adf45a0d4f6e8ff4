"""Questions in files: another process reads what one computed, bit for bit, and nothing that is not its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.runtimes.base.sessions import CachedQuestion, Chunk, ScoreRequest
from emo_edge.runtimes.llama_cpp import session as sessions
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.storage.sealed_files import SUFFIX, SealedFiles
from tests.runtimes.llama_cpp.test_kept_questions import LABELS, PICTURE, QUESTION, cached, prompt

MADE_BY = {"bundle": "one"}
WHOLE = len(prompt(0)[0]) + PICTURE + len(QUESTION)


@pytest.fixture(autouse=True)
def small_models_keep_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sessions, "FILES_FROM", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def stored(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "emo-edge" / "questions").glob(f"*{SUFFIX}"))


def opened(path: Path, made_by: dict[str, str] | None = MADE_BY, **settings: Any) -> LlamaSession:
    return LlamaSession(path, context_size=128, threads=1, made_by=made_by, **settings)


def scores(session: LlamaSession, seed: int, question: CachedQuestion) -> tuple[int, list[np.ndarray]]:
    computed = session.prefill(prompt(seed), question)
    return computed, session.score(LABELS)


def unasked() -> Sequence[Chunk]:
    raise AssertionError("the other picture is not needed")


@pytest.mark.parametrize("name", ["f32", "q8_0"])
@pytest.mark.parametrize("settings", [{}, {"exact_cache": True}, {"small_cache": True}])
def test_another_process_computes_the_picture_alone_and_the_same_bits(
    name: str, settings: dict[str, Any], files: dict[str, Path], tmp_path: Path
) -> None:
    with opened(files[name], **settings) as session:
        computed, first = scores(session, 5, cached(2, 3))
        assert computed == WHOLE + PICTURE + 3 + 2
    assert len(stored(tmp_path)) == 1
    with opened(files[name], **settings) as session:
        computed, second = scores(session, 5, CachedQuestion(len(QUESTION), 3, 2, unasked))
        assert session.question_cached and computed == PICTURE + 3 + 2, "the text in front of the picture comes with it"
        assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
        _, third = scores(session, 6, CachedQuestion(len(QUESTION), 3, 2, unasked))
        assert session.prefill(prompt(6)) == len(QUESTION) - 3
    with opened(files[name], None, **settings) as session:
        scores(session, 5, cached(2, 3))
        _, alone = scores(session, 6, cached(2, 3))
    assert all(np.array_equal(one, other) for one, other in zip(third, alone, strict=True))


def test_a_question_without_a_file_computes_no_more_than_without_files(files: dict[str, Path]) -> None:
    """Rows in front of the picture stay, whatever the question."""
    computed = []
    for made_by in (None, MADE_BY):
        with opened(files["f32"], made_by) as session:
            questions = [QUESTION, [*QUESTION[:-1], 431], [*QUESTION[:-1], 432]]
            computed.append([session.prefill(prompt(5, one), cached(2, question=one)) for one in questions])
    assert computed[0] == computed[1] and computed[0][1] < computed[0][0]


def test_several_prompts_at_once_take_it_too(files: dict[str, Path], tmp_path: Path) -> None:
    def together(session: LlamaSession, other: Callable[[], Sequence[Chunk]]) -> list[list[np.ndarray]]:
        question = CachedQuestion(len(QUESTION), 0, 2, other)
        return session.score_many([ScoreRequest(prompt(seed), LABELS, question) for seed in (5, 6, 7)])

    with opened(files["f32"]) as session:
        first = together(session, lambda: prompt(0))
    with opened(files["f32"]) as session:
        second = together(session, unasked)
        assert session.question_cached
    assert all(
        np.array_equal(*pair) for one, other in zip(first, second, strict=True) for pair in zip(one, other, strict=True)
    )
    assert len(stored(tmp_path)) == 1


@pytest.mark.parametrize("change", ["model", "bundle", "cache type", "question", "text in front"])
def test_what_it_depends_on_makes_another_file(change: str, files: dict[str, Path], tmp_path: Path) -> None:
    with opened(files["f32"]) as session:
        scores(session, 5, cached(2))
    path = files["q8_0" if change == "model" else "f32"]
    made_by = {**MADE_BY, "language": path.name} if change in ("model", "bundle") else MADE_BY
    before = [1, 300, 310, 312] if change == "text in front" else prompt(0)[0]
    question = [*QUESTION[:-1], 431] if change == "question" else QUESTION
    asked: list[int] = []

    def other() -> list[Chunk]:
        asked.append(1)
        return prompt(0, question, before)

    with opened(path, made_by, small_cache=change == "cache type") as session:
        session.prefill(prompt(5, question, before), CachedQuestion(len(question), 0, 2, other))
        assert session.question_cached and asked == [1]
    assert len(stored(tmp_path)) == 2


def test_a_changed_file_is_computed_again_and_said_once(
    files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(files["f32"]) as session:
        _, first = scores(session, 5, cached(2))
    (path,) = stored(tmp_path)
    old = path.read_bytes()
    path.write_bytes(old[: len(old) // 2])
    with opened(files["f32"]) as session:
        computed, second = scores(session, 5, cached(2))
        scores(session, 6, cached(2))
    assert computed == WHOLE + PICTURE + 2 and path.read_bytes() == old
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert [message for message in caplog.messages if "was changed" in message] == [
        f"{path} was changed, cut off or made elsewhere: it is not used, and made again"
    ]


@pytest.mark.parametrize("content", [b"", b"no state of llama.cpp's", bytes(4096)])
def test_a_sealed_file_that_is_no_state_is_computed_again(
    content: bytes, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a build of another form of states would leave it, were its name the same."""
    with opened(files["f32"]) as session:
        _, first = scores(session, 5, cached(2))
    monkeypatch.setattr(SealedFiles, "read", lambda self, key: content)
    with opened(files["f32"]) as session:
        session.prefill(prompt(9))
        computed, second = scores(session, 5, cached(2))
        assert session.question_cached and computed == WHOLE + PICTURE + 2
        assert all(np.allclose(one, other, atol=1e-6) for one, other in zip(first, second, strict=True))


def test_nothing_is_kept_of_a_small_model_or_without_a_maker(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(files["f32"], None) as session:
        scores(session, 5, cached(2))
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with opened(files["f32"]) as session:
        scores(session, 5, cached(2))
    assert not stored(tmp_path)


def test_a_user_without_a_home_reads_all_the_same(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with opened(files["f32"]) as session:
        scores(session, 5, cached(2))
        assert session.question_cached
