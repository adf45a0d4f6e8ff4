"""Work of several processes: results in order, errors as they are, no process that stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from emo_edge.benchmarks.workload.workers import computed
from emo_edge.errors import DeviceError, InputError

ORPHAN = """
import os, signal
from tests.benchmarks.workload.test_workers import opened
from emo_edge.benchmarks.workload.workers import computed
if __name__ == "__main__":
    for number in computed(opened, range(1000), 1):
        print(os.getpid(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes import this module: pytest alone has the working directory nowhere on the path."""
    root = str(Path(__file__).parents[3])
    monkeypatch.syspath_prepend(root)
    monkeypatch.setenv("PYTHONPATH", root)


def opened() -> Callable[[int], int]:
    return work


def work(number: int) -> int:
    if number == 20:
        raise InputError("20 is no good")
    if number == 90:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_results_come_in_order_and_an_error_as_it_is() -> None:
    results = computed(opened, iter(range(100)), 2)
    assert [next(results) for _ in range(16)] == [number * number for number in range(16)]
    with pytest.raises(InputError, match="20 is no good"):
        list(results)


def test_a_worker_that_ends_is_one_error() -> None:
    with pytest.raises(DeviceError, match=r"a worker process ended, .* fewer `workers`"):
        list(computed(opened, range(84, 100), 1))


def test_workers_end_with_the_process_that_waits_for_them() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, check=False, timeout=60)
    # The pipe of standard output ends with the last process that has it: `run` returns when the worker is gone, too.
    assert done.returncode == -signal.SIGKILL and done.stdout.strip().isdigit()
