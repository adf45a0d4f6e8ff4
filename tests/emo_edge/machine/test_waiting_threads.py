"""OpenMP's own report of how its threads wait, in programs of ours and of users."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="waits for a system with libgomp")
PROGRAM = "import emo_edge.cli.app"
"""A command of ours begins so."""
LLAMA = "from emo_edge.runtimes.llama_cpp.library import library; library()"
FORGOTTEN = "import os; assert 'GOMP_SPINCOUNT' not in os.environ"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LLAMA!r}], check=True)"


def reported(code: str, **environment: str) -> str:
    """Run a program and return the wait policy that libgomp prints when it is loaded."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"OMP_DISPLAY_ENV": "VERBOSE"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    values = dict(re.findall(r"(OMP_WAIT_POLICY|GOMP_SPINCOUNT) = '(\w+)'", done.stderr))
    return f"{values['OMP_WAIT_POLICY']} {values['GOMP_SPINCOUNT']}"


@pytest.mark.parametrize(
    "code", [f"{LLAMA}; {FORGOTTEN}", f"{PROGRAM}; {LLAMA}", f"{PROGRAM}; import torch; {LLAMA}", f"{PROGRAM}; {CHILD}"]
)
def test_threads_spin_for_a_moment_only(code: str) -> None:
    assert reported(code) == "PASSIVE 1000"


@pytest.mark.parametrize("code", [LLAMA, f"{PROGRAM}; {LLAMA}"])
@pytest.mark.parametrize(
    ("name", "value", "report"),
    [("OMP_WAIT_POLICY", "active", "ACTIVE 30000000000"), ("GOMP_SPINCOUNT", "77", "PASSIVE 77")],
)
def test_a_users_own_choice_is_kept(code: str, name: str, value: str, report: str) -> None:
    assert reported(code, **{name: value}) == report


def test_a_users_own_libraries_keep_their_way() -> None:
    assert reported("import emo_edge, torch") == reported("import torch")
