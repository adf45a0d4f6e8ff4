"""A question's keys and values about another picture: PyTorch's with the same swap, and what may not change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from emo_edge.errors import InputError
from emo_edge.runtimes.base.sessions import CachedQuestion, Chunk, Sampling, ScoreRequest
from emo_edge.runtimes.llama_cpp.decoding import BatchDecoder
from emo_edge.runtimes.llama_cpp.kept_questions import QUESTIONS
from emo_edge.runtimes.llama_cpp.session import LlamaSession

BEFORE, QUESTION = [1, 300, 310, 311], [320, 330, 340, 350, 360, 370, 380, 390, 400, 410, 420, 430]
LABELS = [[300], [301, 302], [301, 303, 304]]
PICTURE = 9
TOLERANCE = 1e-5
"""Of a log-probability: float32 weights and attention cache on both sides, other summation orders."""


def picture(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.1, (PICTURE, 256)).astype(np.float32)


def prompt(seed: int, question: Sequence[int] = QUESTION, before: Sequence[int] = BEFORE) -> list[Chunk]:
    return [list(before), picture(seed), list(question)]


def cached(tail: int, head: int = 0, question: Sequence[int] = QUESTION) -> CachedQuestion:
    return CachedQuestion(len(question), head, tail, lambda: prompt(0, question))


@pytest.fixture
def session(files: dict[str, Path]) -> Iterator[LlamaSession]:
    with LlamaSession(files["f32"], context_size=160, max_branches=128, threads=1, exact_cache=True) as opened:
        yield opened


def swapped_scores(language: Any, seed: int, head: int, tail: int) -> list[NDArray[np.float32]]:
    """Score the labels with the question's keys and values of picture 0 between head and tail, in PyTorch."""
    embed = language.get_input_embeddings()

    def rows(seed: int) -> torch.Tensor:
        parts = [embed(torch.tensor(BEFORE)), torch.from_numpy(picture(seed)), embed(torch.tensor(QUESTION))]
        return torch.cat(parts)[None]

    start, length = len(BEFORE) + PICTURE + head, len(BEFORE) + PICTURE + len(QUESTION)
    with torch.inference_mode():
        own = language(inputs_embeds=rows(seed)[:, :start], use_cache=True).past_key_values
        other = language(inputs_embeds=rows(0), use_cache=True).past_key_values
        joined = DynamicCache()
        for layer, (mine, theirs) in enumerate(zip(own.layers, other.layers, strict=True)):
            pairs = ((mine.keys, theirs.keys), (mine.values, theirs.values))
            keys, values = (torch.cat([a, b[:, :, start : length - tail]], 2) for a, b in pairs)
            joined.update(keys, values, layer)
        scores = []
        for label in LABELS:
            inputs = torch.cat(
                [rows(seed)[:, length - tail :], embed(torch.tensor(label[:-1], dtype=torch.long))[None]], 1
            )
            logits = language(inputs_embeds=inputs, past_key_values=joined, use_cache=True).logits[0, tail - 1 :]
            joined.crop(length - tail)
            scores.append(logits.log_softmax(-1)[torch.arange(len(label)), label].numpy())
    return scores


def distance(one: Sequence[Any], other: Sequence[Any]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("head", "tail"), [(0, 1), (0, 5), (3, 2), (10, 1)])
def test_scores_are_pytorchs_with_the_same_swap(session: LlamaSession, language: Any, head: int, tail: int) -> None:
    session.prefill(prompt(5), cached(tail, head))
    scores = session.score(LABELS)
    assert session.question_cached
    assert distance(scores, swapped_scores(language, 5, head, tail)) < TOLERANCE
    session.prefill(prompt(5))
    assert not session.question_cached
    assert distance(scores, session.score(LABELS)) > 100 * TOLERANCE


def test_only_picture_head_and_tail_are_computed(session: LlamaSession) -> None:
    whole = len(BEFORE) + PICTURE + len(QUESTION)
    # The other prompt once, then this one behind the text they share.
    assert session.prefill(prompt(1), cached(2, 3)) == whole + PICTURE + 3 + 2
    assert session.prefill(prompt(2), cached(2, 3)) == PICTURE + 3 + 2
    assert session.prefill(prompt(2), cached(2, 3)) == 0
    assert session.prefill(prompt(2), cached(1, 3)) == 1
    assert session.prefill(prompt(2)) == len(QUESTION) - 3
    assert session.used == whole


def test_the_scores_do_not_depend_on_what_was_read_before(files: dict[str, Path]) -> None:
    scores = []
    for history in ([], [1], [2, 3], [5]):
        with LlamaSession(files["f32"], context_size=128, threads=1, exact_cache=True) as session:
            for seed in history:
                session.prefill(prompt(seed), cached(2))
                session.score(LABELS)
                session.prefill(prompt(seed + 10))
            session.prefill(prompt(5), cached(2))
            scores.append(session.score(LABELS))
    assert max(distance(scores[0], other) for other in scores[1:]) < TOLERANCE


def test_the_whole_prompt_is_computed_bit_for_bit_as_without_a_cache(files: dict[str, Path]) -> None:
    found = []
    for cache in (False, True):
        with LlamaSession(files["q8_0"], context_size=128, threads=1) as session:
            session.prefill(prompt(1))
            if cache:
                session.prefill(prompt(3), cached(1))
                session.score(LABELS)
            # The text before the picture stays in both, so that the rest is cut alike.
            session.prefill(prompt(2))
            found.append(session.score(LABELS))
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))


def test_a_question_without_a_middle_is_computed_as_a_whole(session: LlamaSession) -> None:
    assert session.prefill(prompt(1), cached(len(QUESTION) - 2, 2)) == len(BEFORE) + PICTURE + len(QUESTION)
    assert not session.question_cached


def test_other_words_are_another_question(session: LlamaSession, language: Any) -> None:
    longer = [*QUESTION[:4], 500, *QUESTION[4:]]
    session.prefill(prompt(5, longer), cached(1, question=longer))
    session.prefill(prompt(5), cached(1))
    assert distance(session.score(LABELS), swapped_scores(language, 5, 0, 1)) < TOLERANCE


def test_more_questions_than_are_kept_replace_the_one_used_longest_ago(session: LlamaSession) -> None:
    questions = [[500 + index, *QUESTION] for index in range(QUESTIONS + 1)]
    kept = PICTURE + 1
    for question in questions[:-1]:
        session.prefill(prompt(1, question), cached(1, question=question))
    assert session.prefill(prompt(2, questions[0]), cached(1, question=questions[0])) == kept
    session.prefill(prompt(2, questions[-1]), cached(1, question=questions[-1]))
    assert session.prefill(prompt(3, questions[0]), cached(1, question=questions[0])) == kept
    assert session.prefill(prompt(3, questions[1]), cached(1, question=questions[1])) > kept


def test_a_context_without_room_for_both_computes_the_whole_prompt(files: dict[str, Path], language: Any) -> None:
    length = len(BEFORE) + PICTURE + len(QUESTION)
    with LlamaSession(files["f32"], context_size=length + 3, max_branches=1, threads=1, exact_cache=True) as session:
        assert session.prefill(prompt(1), cached(1)) == length
        assert not session.question_cached
        assert len(session.score(LABELS)) == 3


def test_long_answers_and_labels_take_the_room_of_kept_questions(files: dict[str, Path]) -> None:
    length = len(BEFORE) + PICTURE + len(QUESTION)
    with LlamaSession(files["f32"], context_size=length + 40, max_branches=2, threads=1) as session:
        session.prefill(prompt(1), cached(1))
        assert session.question_cached
        assert len(session.score([[300] * 40, [301] * 30])[0]) == 40
        session.prefill(prompt(2), cached(1))
        assert session.question_cached
        list(session.generate(Sampling(max_new_tokens=40)))
        session.prefill(prompt(3), cached(1))
        assert session.question_cached


def test_another_prompt_that_differs_in_more_than_its_picture_is_refused(session: LlamaSession) -> None:
    other = CachedQuestion(len(QUESTION), 0, 1, lambda: prompt(0, before=[1, 300]))
    with pytest.raises(ValueError, match="differs from this one in more than their content"):
        session.prefill(prompt(1), other)
    assert session.prefill(prompt(1)) > 0


@pytest.mark.parametrize(("head", "tail"), [(-1, 1), (0, 0)])
def test_impossible_parts_are_refused(head: int, tail: int) -> None:
    with pytest.raises(InputError, match="head of 0 or more and a tail of 1 or more"):
        CachedQuestion(4, head, tail, list)


def test_an_answer_follows_the_prompt_about_its_own_picture(session: LlamaSession, write: Callable[..., Path]) -> None:
    session.prefill(prompt(1))
    expected = "".join(session.generate(Sampling(max_new_tokens=8)))
    session.prefill(prompt(2), cached(1))
    session.score(LABELS)
    session.prefill(prompt(1))
    assert "".join(session.generate(Sampling(max_new_tokens=8))) == expected


def alone(session: LlamaSession, requests: Sequence[ScoreRequest]) -> list[list[NDArray[np.float32]]]:
    scores = []
    for request in requests:
        session.prefill(request.prompt, request.question)
        scores.append(session.score(request.branches))
    return scores


@pytest.mark.parametrize("count", [2, 5, 9])
def test_prompts_computed_together_score_as_alone(session: LlamaSession, language: Any, count: int) -> None:
    requests = [ScoreRequest(prompt(seed), LABELS, cached(2, 3)) for seed in range(1, 1 + count)]
    together = session.score_many(requests)
    assert session.question_cached
    assert session.used == 0
    for one, other in zip(together, alone(session, requests), strict=True):
        assert distance(one, other) < TOLERANCE
    assert distance(together[0], swapped_scores(language, 1, 3, 2)) < TOLERANCE


def test_prompts_together_take_two_calls_and_one_for_the_labels(
    session: LlamaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [ScoreRequest(prompt(seed), LABELS, cached(2, 3)) for seed in (1, 2, 3, 4)]
    session.score_many(requests)
    sizes: list[int] = []
    compute = BatchDecoder.__call__

    def counted(self: BatchDecoder, inputs: Any, *rest: Any) -> None:
        sizes.append(len(inputs))
        compute(self, inputs, *rest)

    monkeypatch.setattr(BatchDecoder, "__call__", counted)
    session.score_many([ScoreRequest(prompt(seed), LABELS, cached(2, 3)) for seed in (5, 6, 7, 8)])
    labels = sum(len(label) - 1 for label in LABELS)
    assert sizes == [4 * (PICTURE + 3), 4 * 2, 4 * labels]


def test_prompts_of_several_questions_are_computed_together(session: LlamaSession) -> None:
    longer = [*QUESTION[:4], 500, *QUESTION[4:]]
    requests = [
        ScoreRequest(prompt(1), LABELS, cached(1)),
        ScoreRequest(prompt(2, longer), LABELS[:2], cached(4, question=longer)),
        ScoreRequest(prompt(3), LABELS[1:], cached(1, 2)),
    ]
    together = session.score_many(requests)
    for one, other in zip(together, alone(session, requests), strict=True):
        assert distance(one, other) < TOLERANCE


def test_prompts_without_a_cache_are_computed_one_by_one_bit_for_bit(session: LlamaSession) -> None:
    requests = [ScoreRequest(prompt(seed), LABELS) for seed in (1, 2, 3)]
    together = session.score_many(requests)
    assert not session.question_cached
    session.prefill(prompt(3))
    for one, other in zip(together[1:], alone(session, requests)[1:], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("context", "forks"), [(60, 128), (160, 2)])
def test_little_room_computes_them_one_by_one(files: dict[str, Path], context: int, forks: int) -> None:
    requests = [ScoreRequest(prompt(seed), [[300] * 20, [301]], cached(1)) for seed in range(1, 7)]
    with LlamaSession(files["f32"], context_size=context, max_branches=forks, threads=1, exact_cache=True) as session:
        together = session.score_many(requests)
        for one, other in zip(together, alone(session, requests), strict=True):
            assert distance(one, other) < TOLERANCE


def test_after_prompts_together_the_context_holds_none(session: LlamaSession) -> None:
    session.score_many([ScoreRequest(prompt(seed), LABELS, cached(1)) for seed in (1, 2)])
    with pytest.raises(InputError, match="no prompt yet"):
        session.score(LABELS)
    session.prefill([BEFORE])
    expected = session.score([[300]])
    session.prefill(prompt(4))
    session.prefill([BEFORE])
    assert distance(expected, session.score([[300]])) < TOLERANCE


@pytest.mark.parametrize("branches", [[], [[]], [[300] * 200]])
def test_impossible_branches_of_one_prompt_are_refused(session: LlamaSession, branches: list[list[int]]) -> None:
    with pytest.raises(InputError, match=r"at least one branch|positions"):
        session.score_many([ScoreRequest(prompt(1), LABELS, cached(1)), ScoreRequest(prompt(2), branches, cached(1))])
    assert session.prefill(prompt(1)) > 0
