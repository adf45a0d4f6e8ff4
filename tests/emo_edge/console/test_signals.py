"""SIGTERM and SIGHUP end a command as Ctrl-C does: everything is closed, nothing half written stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from emo_edge.console.signals import EndingSignal, ending_signals, exit_code_of

COMMAND = """
import signal, sys
from pathlib import Path
import click
from emo_edge.storage.directories import replaced_directory
from emo_edge.console.commands import EdgeCommand, LazyCommand, LazyGroup
from emo_edge.utils.files import replaced_file
from emo_edge.utils.processes import run_bounded

CHILD = "import os, signal, sys; open(sys.argv[1], 'w').write(str(os.getpid())); signal.pause()"

@click.command(cls=EdgeCommand)
@click.argument("folder", type=click.Path(path_type=Path))
def write(folder):
    with replaced_file(folder / "file") as file, replaced_directory(folder / "directory"):
        file.touch()
        run_bounded([sys.executable, "-c", CHILD, str(folder / "pipe")], 600)

module = type(sys)("commands_of_the_test")
module.write = write
sys.modules["commands_of_the_test"] = module
# A run in the background may start with SIGINT ignored, and its children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in map(int, sys.argv.pop(1).split()):
    signal.signal(number, signal.SIG_IGN)
LazyGroup("edge", lazy={"write": LazyCommand("commands_of_the_test:write", "")}).main()
"""


def started(folder: Path, ignored: str = "") -> tuple[subprocess.Popen[str], int]:
    """Start a command that writes a file and a directory while its child runs; return it and the child's number."""
    os.mkfifo(folder / "pipe")
    command = [sys.executable, "-c", COMMAND, ignored, "write", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return process, int((folder / "pipe").read_text())


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_children_and_removes_what_is_half_written(tmp_path: Path, name: str, code: int) -> None:
    process, child = started(tmp_path)
    with process:
        process.send_signal(getattr(signal, name))
        output, errors = process.communicate()
    assert (process.returncode, output, errors) == (code, "", "interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As under ``nohup``."""
    process, _ = started(tmp_path, ignored=str(int(signal.SIGHUP)))
    with process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143


def test_the_handlers_are_put_back_and_a_second_signal_does_not_interrupt_the_cleaning_up() -> None:
    before = [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)]
    cleaned = False
    try:
        with pytest.raises(EndingSignal) as raised, ending_signals():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGHUP)
                cleaned = True
        assert (cleaned, exit_code_of(raised.value)) == (True, 143)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGHUP), before, strict=True):
            signal.signal(number, handler)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_what_a_callback_of_native_code_drops_is_raised_after_it(name: str) -> None:
    code = (
        "import ctypes, signal\nfrom emo_edge.console.signals import ending_signals, exit_code_of\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"callback = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.{name}))\n"
        "try:\n    with ending_signals():\n        callback()\n        signal.pause()\n"
        "except KeyboardInterrupt as error:\n    print(exit_code_of(error))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == (f"{128 + getattr(signal, name)}\n", "")


DROPPED = """
import signal, sys
import click
from emo_edge.console.commands import EdgeCommand

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)

@click.command(cls=EdgeCommand)
def main():
    try:
        signal.raise_signal(NUMBER)
        signal.pause()
    except:
        CAUGHT
    for second in range(60):
        signal.pause()

main([])
"""


@pytest.mark.parametrize(
    "caught", ["pass", "raise ImportError('no such library')", "raise RuntimeError", "sys.exit(3)"]
)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interruption_that_a_library_drops_or_turns_into_an_error_is_one(name: str, caught: str) -> None:
    """As the bare ``except:`` around an optional import does."""
    code = DROPPED.replace("NUMBER", f"signal.{name}").replace("CAUGHT", caught)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    errors = "" if "exit" in caught else "interrupted\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + getattr(signal, name), "", errors)


IMPORTED = """
import os, signal, sys, time
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS)
    print("imported", flush=True)
except BaseException:
    os.abort()
"""


@pytest.mark.parametrize(("seconds", "output"), [(0.1, "imported\n"), (60, "")])
def test_nothing_is_raised_inside_an_import(tmp_path: Path, seconds: float, output: str) -> None:
    """It is raised after the import, or, where that takes more than a second, ends the process."""
    (tmp_path / "library_of_the_test.py").write_text(IMPORTED.replace("SECONDS", str(seconds)))
    code = (
        f"import signal, sys; sys.path.insert(0, {str(tmp_path)!r})\nimport click\n"
        "from emo_edge.console.commands import EdgeCommand\n@click.command(cls=EdgeCommand)\ndef main():\n"
        "    import library_of_the_test\n    while True:\n        signal.pause()\nmain([])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, output, "interrupted\n")


def test_ctrl_c_has_its_own_code() -> None:
    assert exit_code_of(KeyboardInterrupt()) == 130


def test_outside_the_main_thread_no_handler_is_installed() -> None:
    def body() -> None:
        with ending_signals():
            handlers.append(signal.getsignal(signal.SIGTERM))

    handlers: list[object] = []
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert handlers == [before]
