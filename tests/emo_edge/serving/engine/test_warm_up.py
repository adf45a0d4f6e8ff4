"""The first reading of a server leaves nothing behind that slows the later ones."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.serving.engine.warm_up import warm_up

TASKS = Path("/proc/self/task")
PATIENCE_S = 20.0
SETTLED_S = 2.0
THREADS = 2


def threads_that_stay() -> int:
    """Return the threads of this process once their number has not changed for `SETTLED_S`."""
    count, since_s = len(os.listdir(TASKS)), time.monotonic()
    while time.monotonic() - since_s < SETTLED_S:
        time.sleep(0.05)
        if (now := len(os.listdir(TASKS))) != count:
            count, since_s = now, time.monotonic()
    return count


def threads_at_rest(most: int) -> int:
    """Return the threads of this process once there are no more than ``most``, or after a while."""
    until_s = time.monotonic() + PATIENCE_S
    while (count := len(os.listdir(TASKS))) > most and time.monotonic() < until_s:
        time.sleep(0.05)
    return count


@pytest.mark.skipif(not TASKS.is_dir(), reason="waits for Linux, which lists a process's threads")
def test_no_team_of_threads_stays_after_the_first_reading(tiny_bundle: Path) -> None:
    with EmotionPipeline.open(tiny_bundle, device="cpu", threads=THREADS) as pipeline:
        # Every other library opens its threads with this one.
        first = threading.Thread(target=warm_up, args=(pipeline, Request()))
        first.start()
        first.join()
        before = threads_that_stay()
        warm_up(pipeline, Request())
        assert threads_at_rest(before) <= before
