"""Steps in processes of their own: their memory is seen, and a failure is an error that says why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from emo_edge.benchmarks.studies import subprocess_step
from emo_edge.benchmarks.studies.subprocess_step import measured, measured_command
from emo_edge.errors import DeviceError, EmoEdgeError

HOLD = "import time; held = bytearray({}); time.sleep(0.2)"


# A fresh process cannot import this file, so a step is its source.
@pytest.mark.parametrize("as_command", [False, True])
def test_the_peak_of_a_step_is_seen(tmp_path: Path, as_command: bool) -> None:
    out = tmp_path / "out"
    out.write_bytes(bytes(20_000_000))
    small, large = (
        measured_command("step", [sys.executable, "-c", HOLD.format(size)], out)
        if as_command
        else measured("step", exec, (HOLD.format(size),), out)
        for size in (1, 300_000_000)
    )
    assert 0.29 < large.peak_anonymous_gb - small.peak_anonymous_gb < 0.32
    assert large.seconds >= 0.2 and large.written_gb == 0.02


def test_a_step_that_fails_is_an_error(tmp_path: Path) -> None:
    measured("step", exec, ("pass",), tmp_path)
    with pytest.raises(EmoEdgeError, match="step: stopped"):
        measured("step", exec, ("raise SystemExit(3)",), tmp_path)


def test_a_command_that_fails_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(EmoEdgeError, match=r"convert: ended with 3:\n(line \d\n){4}no such model$"):
        measured_command("convert", [sys.executable, "-c", _talk("no such model")], tmp_path)
    with pytest.raises(EmoEdgeError, match=r"quantize: cannot be started: .*nowhere"):
        measured_command("quantize", [tmp_path / "nowhere"], tmp_path)


def _talk(last: str) -> str:
    return f"import sys; [print('line', number) for number in range(9)]; print({last!r}); sys.exit(3)"


@pytest.mark.parametrize("as_command", [False, True])
def test_a_system_that_tells_no_memory_is_an_error_and_not_a_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_command: bool
) -> None:
    monkeypatch.setattr(subprocess_step, "PROCESSES", tmp_path / "proc")
    with pytest.raises(DeviceError, match="measure it on Linux"):
        if as_command:
            measured_command("step", [sys.executable, "-c", "pass"], tmp_path)
        else:
            measured("step", exec, ("pass",), tmp_path)
