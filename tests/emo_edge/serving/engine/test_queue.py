"""The queue: bounded, in turn between clients, cancelled and late jobs left out, batches of what belongs together."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.inference.results import Request
from emo_edge.serving.engine.jobs import DeadlineError, Job, QueueFullError
from emo_edge.serving.engine.queue import FairQueue

PICTURE = np.zeros((8, 8, 3), np.uint8)
MANY = 16


def job(client: str = "a", pictures: int = 1, **options: object) -> Job:
    return Job(client, [PICTURE] * pictures, Request(), **options)  # type: ignore[arg-type]


def put_all(queue: FairQueue, *jobs: Job) -> None:
    for one in jobs:
        queue.put(one)


def test_clients_take_turns() -> None:
    queue, busy, other = FairQueue(MANY), [job("busy") for _ in range(3)], job("other")
    put_all(queue, *busy, other)
    order = [queue.take(1, 0.0)[0] for _ in range(4)]
    assert order == [busy[0], other, busy[1], busy[2]]
    assert queue.take(1, 0.0) == []


def test_jobs_of_one_client_share_a_batch() -> None:
    queue, jobs = FairQueue(MANY), [job() for _ in range(5)]
    put_all(queue, *jobs)
    assert queue.take(MANY, 0.0) == jobs
    assert len(queue) == 0


def test_a_batch_holds_so_many_pictures() -> None:
    queue, jobs = FairQueue(MANY), [job(pictures=3), job(pictures=3), job(pictures=2)]
    put_all(queue, *jobs)
    assert queue.take(5, 0.0) == [jobs[0]]
    assert queue.take(5, 0.0) == jobs[1:]


def test_a_job_of_more_pictures_than_a_batch_is_alone() -> None:
    queue, large = FairQueue(MANY), job(pictures=9)
    put_all(queue, large, job("b"))
    assert queue.take(5, 0.0) == [large]


@pytest.mark.parametrize(
    "other",
    [
        job("b", clip=True),
        job("b", boxes=[(0.0, 0.0, 8.0, 8.0)]),
        job("b", faces="largest"),
        Job("b", [PICTURE], Request(labels=("joy", "fear"))),
        Job("b", [PICTURE], Request(on_piece=print)),
    ],
)
def test_only_equal_questions_share_a_batch(other: Job) -> None:
    queue, first = FairQueue(MANY), job("a")
    put_all(queue, first, other)
    assert queue.take(MANY, 0.0) == [first]
    assert queue.take(MANY, 0.0) == [other]


def test_more_than_may_wait_are_refused_but_a_live_frame_is_not() -> None:
    queue = FairQueue(2)
    put_all(queue, job(), job())
    with pytest.raises(QueueFullError, match="2 readings wait"):
        queue.put(job("b"))
    live = job("live", boxes=[(0.0, 0.0, 8.0, 8.0)])
    queue.put(live)
    assert len(queue) == 3


def test_cancelled_jobs_give_their_places_back() -> None:
    queue, gone = FairQueue(1), job()
    queue.put(gone)
    gone.future.cancel()
    kept = job("b")
    queue.put(kept)
    assert queue.take(MANY, 0.0) == [kept]


def test_a_cancelled_job_is_never_read() -> None:
    queue, jobs = FairQueue(MANY), [job() for _ in range(3)]
    put_all(queue, *jobs)
    jobs[1].future.cancel()
    assert queue.take(MANY, 0.0) == [jobs[0], jobs[2]]
    assert not jobs[0].future.cancel(), "it is being read"


def test_a_late_job_gets_an_error() -> None:
    queue, late, kept = FairQueue(MANY), job(deadline_s=5.0), job()
    put_all(queue, late, kept)
    assert queue.take(MANY, 5.1) == [kept]
    assert isinstance(late.future.exception(timeout=0), DeadlineError)


def test_drain_takes_all() -> None:
    queue, jobs = FairQueue(MANY), [job("a"), job("b"), job("a")]
    put_all(queue, *jobs)
    assert set(queue.drain()) == set(jobs)
    assert len(queue) == 0
