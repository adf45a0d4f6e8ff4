"""One pipeline and several threads, a fork, a closed pipeline, and a callback that reads."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emo_edge import EmotionPipeline, EmotionResult, InputError, PipelineStateError, Request, stream
from emo_edge.assets.packaged import SAMPLES, Sample, packaged_samples
from emo_edge.inference.exclusive_use import ExclusiveUse
from emo_edge.inference.label_scoring import BLANK_SCORES
from emo_edge.runtimes.base.sessions import Sampling


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: Path) -> Iterator[EmotionPipeline]:
    with EmotionPipeline.open(tiny_bundle, device="cpu", profile="small", threads=1) as opened:
        yield opened


def read(pipeline: EmotionPipeline, sample: Sample) -> EmotionResult:
    assert sample.box is not None
    return pipeline.read(sample.image, boxes=[sample.box])[0]


def test_two_threads_read_what_one_reads(pipeline: EmotionPipeline) -> None:
    samples = packaged_samples(7)
    expected = [read(pipeline, sample).probabilities for sample in samples]
    with ThreadPoolExecutor(2) as threads:
        backward = threads.submit(lambda: [read(pipeline, sample).probabilities for sample in samples[::-1]])
        forward = threads.submit(lambda: [read(pipeline, sample).probabilities for sample in samples])
    for values, wanted in zip(forward.result() + backward.result()[::-1], expected * 2, strict=True):
        assert values == pytest.approx(wanted, abs=1e-4)


def test_a_callback_must_not_use_the_pipeline(pipeline: EmotionPipeline) -> None:
    sample = packaged_samples(1)[0]
    uses = [lambda: read(pipeline, sample), pipeline.close, lambda: pipeline.read_clip([sample.image])]
    for use in uses:
        request = Request(ask="Why?", sampling=Sampling(max_new_tokens=2), on_piece=lambda _, use=use: use())
        with pytest.raises(PipelineStateError, match="`on_piece` must not use it"):
            pipeline.read(sample.image, request, boxes=[(0, 0, 224, 224)])
    assert read(pipeline, sample).label, "the pipeline still works"


def test_a_closed_pipeline_is_one_clear_error(tiny_bundle: Path) -> None:
    sample = packaged_samples(1)[0]
    closed = EmotionPipeline.open(tiny_bundle, device="cpu", profile="small")
    closed.close()
    closed.close()
    for use in (
        lambda: closed.read(sample.image),
        lambda: closed.read_clip([sample.image]),
        lambda: closed.check(Request()),
        lambda: stream(closed, SAMPLES),
    ):
        with pytest.raises(PipelineStateError, match=r"closed: open it again with EmotionPipeline\.open"):
            use()


FORK = """
import os, sys
from emo_edge import EmotionPipeline, PipelineStateError
from emo_edge.assets.packaged import packaged_samples

image = packaged_samples(1)[0].image
with EmotionPipeline.open(sys.argv[1], device="cpu", profile="small") as pipeline:
    assert pipeline.read(image, boxes=[(0, 0, 224, 224)])
    child = os.fork()
    if child == 0:
        try:
            pipeline.read(image, boxes=[(0, 0, 224, 224)])
        except PipelineStateError as error:
            print(error, flush=True)
            pipeline.close()
        try:
            EmotionPipeline.open(sys.argv[1], device="cpu", profile="small")
        except PipelineStateError as error:
            print(error, flush=True)
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert pipeline.read(image, boxes=[(0, 0, 224, 224)]), "the parent's engines still work"
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="waits for a system that forks")
def test_a_forked_child_is_one_clear_error(tiny_bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, str(tiny_bundle)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "opened before a fork" in done.stdout and "would wait for ever" in done.stdout
    assert 'get_context("spawn")' in done.stdout


def test_a_close_waits_for_the_thread_that_reads() -> None:
    use, inside, leave, events = ExclusiveUse(), threading.Event(), threading.Event(), []

    def reading() -> None:
        with use.hold():
            inside.set()
            leave.wait(60)
            events.append("read")

    threads = [threading.Thread(target=reading)]
    threads[0].start()
    assert inside.wait(60)
    threads.append(threading.Thread(target=use.close, args=(lambda: events.append("closed"),)))
    threads[1].start()
    leave.set()
    for thread in threads:
        thread.join(60)
    assert events == ["read", "closed"]


def test_scores_of_blank_images_are_kept_for_a_bounded_number_of_prompts(pipeline: EmotionPipeline) -> None:
    scorer, sample = pipeline.label_scorer, packaged_samples(1)[0]
    assert scorer is not None and sample.box is not None
    scorer._blank_scores.clear()
    scorer._blank_scores.update({(str(number),): 0 for number in range(BLANK_SCORES)})  # type: ignore[misc]
    for labels in (("joy", "rage"), ("joy", "fear"), ("joy", "rage")):
        pipeline.read(sample.image, Request(labels=labels, prior_correction=True), boxes=[sample.box])
    kept = list(scorer._blank_scores)
    assert len(kept) == BLANK_SCORES
    assert [key[-1] for key in kept[-2:]] == ["fear", "rage"], "the last used is the last to go"
    assert ("0",) not in kept and ("1",) not in kept and ("2",) in kept


def test_a_request_is_still_checked(pipeline: EmotionPipeline) -> None:
    with pytest.raises(InputError):
        pipeline.check(Request(labels="nothing"))
