"""llama.cpp computes in a thread of its own where other libraries would release its matrix units' tiles."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from emo_edge.planning.probes.language import LanguageProbe
from emo_edge.runtimes.base.compute_thread import ComputeThread
from emo_edge.runtimes.llama_cpp import session as llama
from emo_edge.runtimes.llama_cpp.library import fast_path_is_safe, library, uses_amx
from emo_edge.runtimes.llama_cpp.session import LlamaSession

Q4_K_M = 15
AFTER_PYTORCH = """
import sys, torch
from pathlib import Path
from emo_edge.runtimes.llama_cpp.session import LlamaSession
with LlamaSession(Path(sys.argv[1]), context_size=128, threads=2) as session:
    session.prefill([list(range(300, 340))])
    first = session.score([[300], [301]])
    square = torch.ones(256, 256, dtype=torch.bfloat16)
    square @ square
    session.prefill([list(range(200, 230))])
    session.prefill([list(range(300, 340))])
    assert [float(value[0]) for value in first] == [float(value[0]) for value in session.score([[300], [301]])]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return LanguageProbe(256, 512, 2, Q4_K_M).write(tmp_path_factory.mktemp("thread") / "small.gguf")


def test_work_runs_in_one_thread_of_its_own_or_in_the_callers() -> None:
    with ComputeThread(True) as compute:
        names = {compute(lambda: threading.current_thread().name) for _ in range(3)}
        assert len(names) == 1 and names != {threading.current_thread().name}
        with pytest.raises(ZeroDivisionError):
            compute(lambda: 1 // 0)
        assert compute(lambda: 2) == 2
    compute.close()
    assert ComputeThread(False)(threading.current_thread) is threading.current_thread()


def test_an_interruption_is_raised_once_the_work_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller closes its context then."""
    began, ended = threading.Event(), threading.Event()
    waits = iter([KeyboardInterrupt, SystemExit])

    def work() -> None:
        began.set()
        time.sleep(0.2)
        ended.set()

    def interrupted(futures: list[object]) -> None:
        assert began.wait(10)
        if error := next(waits, None):
            raise error
        assert ended.wait(10)

    monkeypatch.setattr("emo_edge.runtimes.base.compute_thread.wait", interrupted)
    with ComputeThread(True) as compute, pytest.raises(KeyboardInterrupt):
        compute(work)
    assert ended.is_set()


def test_a_session_computes_the_same_in_a_thread_of_its_own(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama, "fast_path_is_safe", lambda path: False)
    scores, threads = [], []
    for wanted in (False, True):
        monkeypatch.setattr(llama, "ComputeThread", lambda _, wanted=wanted: ComputeThread(wanted))
        with LlamaSession(file, context_size=64, threads=1) as session:
            session.prefill([list(range(300, 340))])
            scores.append(session.score([[300], [301]]))
            threads.append([thread.name for thread in threading.enumerate() if thread.name.startswith("llama.cpp")])
    assert np.array_equal(scores[0], scores[1])
    assert [len(names) for names in threads] == [0, 1]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("llama.cpp")]


def test_only_a_build_with_amx_on_a_cpu_with_amx_needs_one() -> None:
    for words, needed in ((b"AVX2 = 1 | AMX_INT8 = 1 |", True), (b"AVX2 = 1 |", False)):
        assert uses_amx(SimpleNamespace(llama_print_system_info=lambda words=words: words)) is needed


def test_pytorchs_bfloat16_does_not_end_llama_cpps_process(file: Path) -> None:
    if not uses_amx(library()) or not fast_path_is_safe(file):
        pytest.skip("no AMX unit that llama.cpp uses here")
    subprocess.run([sys.executable, "-c", AFTER_PYTORCH, str(file)], check=True, timeout=120)
