"""OpenBLAS under a limit of the address space."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emo_edge.assets.packaged import SAMPLES
from emo_edge.machine.blas_threads import THREADS, limit_blas_threads

resource = pytest.importorskip("resource", reason="waits for a system with limits")
LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_AS, ({0}, {0}))
from emo_edge.cli import main
main()
"""


@pytest.mark.parametrize("limit", [2**40, -1])
def test_one_thread_is_chosen_under_a_limit_alone(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.delenv(THREADS, raising=False)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    limit_blas_threads()
    assert os.environ.get(THREADS) == (None if limit == resource.RLIM_INFINITY else "1")


def test_the_users_own_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS, "3")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**30, 2**30))
    limit_blas_threads()
    assert os.environ[THREADS] == "3"


@pytest.mark.parametrize("megabytes", [400, 450])
def test_a_command_that_lacks_memory_says_so(tiny_bundle: Path, megabytes: int) -> None:
    code = LIMITED.format(megabytes << 20)
    words = ["infer", str(tiny_bundle), str(SAMPLES / "078-happiness.jpg"), "--whole-image"]
    environment = {name: value for name, value in os.environ.items() if name != THREADS}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 6 and "not enough memory" in done.stderr and not done.stdout, done.stderr
