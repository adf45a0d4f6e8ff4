"""A profile with a question cache: what it computes, what it may not change, and several faces at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emo_edge.assets.packaged import Sample, packaged_samples
from emo_edge.bundle.manifest import QuestionCache
from emo_edge.bundle.reader import Bundle
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.metrics.label_agreement import kl_divergence
from emo_edge.runtimes.llama_cpp import session as sessions

PROFILE = "exact"
GREY = np.full((64, 64, 3), 127, np.uint8)
ROUNDING = 1e-4
"""Largest difference of a probability between two orders of the same sums: float16 weights round their inputs, too."""


def with_cache(bundle: Bundle, profile: str, cache: QuestionCache) -> Bundle:
    profiles = dict(bundle.manifest.profiles)
    profiles[profile] = profiles[profile].model_copy(update={"question_cache": cache})
    return Bundle(bundle.directory, bundle.manifest.model_copy(update={"profiles": profiles}))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return packaged_samples(6)


@pytest.fixture(scope="module")
def cached(tiny_bundle: Path) -> Iterator[EmotionPipeline]:
    bundle = with_cache(Bundle.open(tiny_bundle), PROFILE, QuestionCache(head=7, tail=2))
    with EmotionPipeline.open(bundle, device="cpu", profile=PROFILE) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def plain(tiny_bundle: Path) -> Iterator[EmotionPipeline]:
    with EmotionPipeline.open(tiny_bundle, device="cpu", profile=PROFILE) as pipeline:
        yield pipeline


def probabilities(result: EmotionResult) -> np.ndarray:
    return np.array(list(result.probabilities.values()))


def read(pipeline: EmotionPipeline, sample: Sample, request: Request | None = None) -> EmotionResult:
    assert sample.box is not None
    return pipeline.read(sample.image, request, boxes=[sample.box])[0]


def test_a_reading_says_that_it_used_the_cache_and_stays_near_the_whole_computation(
    cached: EmotionPipeline, plain: EmotionPipeline, samples: list[Sample]
) -> None:
    for sample in samples:
        with_it, without = read(cached, sample), read(plain, sample)
        assert (with_it.settings.question_cache, without.settings.question_cache) == (True, False)
        found, expected = probabilities(with_it), probabilities(without)
        assert np.abs(found - expected).max() > 0
        assert kl_divergence(expected[None], found[None])[0] < 0.05
    assert cached.settings().question_cache and not plain.settings().question_cache


def test_a_request_without_it_gets_what_the_profile_without_a_cache_computes(
    cached: EmotionPipeline, plain: EmotionPipeline, samples: list[Sample]
) -> None:
    request = Request(question_cache=False)
    assert not cached.settings(request).question_cache
    for sample in samples[:3]:
        result = read(cached, sample, request)
        assert not result.settings.question_cache
        assert np.abs(probabilities(result) - probabilities(read(plain, sample))).max() < ROUNDING


def test_the_next_process_reads_the_same_with_the_question_of_a_file(
    tiny_bundle: Path, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "FILES_FROM", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bundle, found = with_cache(Bundle.open(tiny_bundle), PROFILE, QuestionCache(head=7, tail=2)), []
    for _ in range(2):
        with EmotionPipeline.open(bundle, device="cpu", profile=PROFILE, threads=1) as pipeline:
            found.append([read(pipeline, sample, Request(demographics=False)) for sample in samples[:2]])
        assert len(list((tmp_path / "emo-edge" / "questions").glob("*.sealed"))) == 1
    for first, second in zip(*found, strict=True):
        assert first.settings.question_cache and first.probabilities == second.probabilities


def test_no_file_holds_a_prompt_with_a_sentence_about_a_person(
    tiny_bundle: Path, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "FILES_FROM", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bundle = with_cache(Bundle.open(tiny_bundle), PROFILE, QuestionCache(head=7, tail=2))
    with EmotionPipeline.open(bundle, device="cpu", profile=PROFILE, threads=1) as pipeline:
        assert read(pipeline, samples[0]).settings.question_cache
        assert len(pipeline.read(samples[0].image, boxes=[box for one in samples[:2] if (box := one.box)])) == 2
    assert not list(tmp_path.rglob("*.sealed"))


@pytest.mark.parametrize("labels", ["rafdb7", "mafw11", ("joy", "rage")])
def test_a_grey_picture_has_the_keys_and_values_that_the_cache_holds(
    cached: EmotionPipeline, plain: EmotionPipeline, labels: str | tuple[str, ...]
) -> None:
    request, whole = Request(labels=labels), [(0.0, 0.0, 64.0, 64.0)]
    found = cached.read(GREY, request, boxes=whole)[0]
    assert found.settings.question_cache
    expected = plain.read(GREY, request, boxes=whole)[0]
    assert np.abs(probabilities(found) - probabilities(expected)).max() < ROUNDING


def test_faces_of_one_picture_are_read_as_if_each_were_alone(cached: EmotionPipeline, samples: list[Sample]) -> None:
    image = np.concatenate([np.asarray(sample.image) for sample in samples[:3]], axis=1)
    shifts = np.cumsum([0, *(np.asarray(sample.image).shape[1] for sample in samples[:2])])
    boxes = [
        (sample.box[0] + shift, sample.box[1], sample.box[2] + shift, sample.box[3])
        for sample, shift in zip(samples, shifts, strict=False)
        if sample.box
    ]
    request = Request(describe=True)
    together = cached.read(image, request, boxes=boxes)
    alone = [cached.read(image, request, boxes=[box])[0] for box in boxes]
    assert [one.settings for one in together] == [one.settings for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(probabilities(one) - probabilities(other)).max() < ROUNDING
        assert one.answers == other.answers
        assert one.stage_ms.keys() >= {"connector", "prefill", "answer"}


def test_prior_correction_and_answers_are_those_without_a_cache(
    cached: EmotionPipeline, plain: EmotionPipeline, samples: list[Sample]
) -> None:
    asked = Request(describe=True, prior_correction=True)
    with_it, without = read(cached, samples[0], asked), read(plain, samples[0], asked)
    assert with_it.answers == without.answers
    assert kl_divergence(probabilities(without)[None], probabilities(with_it)[None])[0] < 0.05


def test_a_clip_of_grey_frames_has_a_question_of_its_own(cached: EmotionPipeline, plain: EmotionPipeline) -> None:
    whole = [(0.0, 0.0, 64.0, 64.0)] * 3
    found, expected = (one.read_clip([GREY] * 3, boxes=whole) for one in (cached, plain))
    assert found and expected and found.settings.question_cache
    assert np.abs(probabilities(found) - probabilities(expected)).max() < ROUNDING


def test_a_context_with_little_room_reads_as_well(tiny_bundle: Path, samples: list[Sample]) -> None:
    bundle = with_cache(Bundle.open(tiny_bundle), PROFILE, QuestionCache(tail=1))
    with EmotionPipeline.open(bundle, device="cpu", profile=PROFILE, context=128) as pipeline:
        results = [read(pipeline, sample, Request(demographics=value)) for sample in samples for value in (True, False)]
    assert all(one.settings.question_cache for one in results)
