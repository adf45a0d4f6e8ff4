"""Ctrl-C inside a native call that never looks at signals, and outside of one."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from types import FrameType

import pytest

from emo_edge.console.interrupts import prompt_interrupts

# A run in the background may start with SIGINT ignored, and its children inherit that.
HEARD = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
NATIVE = """
import hashlib
from emo_edge.console.interrupts import prompt_interrupts
with prompt_interrupts():
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha512", b"x", b"y", 200_000_000)
"""
CLEANING = """
import time
from emo_edge.console.interrupts import prompt_interrupts
with prompt_interrupts(0.2):
    try:
        print("begun", flush=True)
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        time.sleep(1)
        print("cleaned", flush=True)
"""


def interrupted(script: str, number: signal.Signals = signal.SIGINT) -> tuple[int, str, str, float]:
    child = subprocess.Popen(
        [sys.executable, "-c", HEARD + script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout and child.stdout.readline() == "begun\n"
    time.sleep(0.3)
    child.send_signal(number)
    start = time.monotonic()
    output, errors = child.communicate(timeout=60)
    return child.returncode, output, errors, time.monotonic() - start


def test_a_native_call_is_left_at_once() -> None:
    code, _, errors, seconds = interrupted(NATIVE)
    assert (code, errors) == (130, "interrupted\n")
    assert seconds < 10  # the call itself takes minutes


def test_a_handler_takes_no_lock_that_a_second_signal_would_wait_for() -> None:
    files, before = set[str](), sys.gettrace()

    def note(frame: FrameType, event: str, value: object) -> None:
        files.add(frame.f_code.co_filename)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with prompt_interrupts(leave=False):
            sys.settrace(note)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            sys.settrace(before)
    finally:
        sys.settrace(before)
        signal.signal(signal.SIGINT, handler)
    assert any(name.endswith("interrupts.py") for name in files)
    assert threading.__file__ not in files


def test_what_cleans_up_is_given_its_time() -> None:
    code, output, _, _ = interrupted(CLEANING)
    assert (code, output) == (0, "cleaned\n")


LEAVING = """
import atexit, time
from emo_edge.console.interrupts import prompt_interrupts
class Slow:
    def __del__(self):
        print("taken down", flush=True)
slow = Slow()
atexit.register(print, "at exit", flush=True)
with prompt_interrupts():
    try:
        print("begun", flush=True)
        while True:
            time.sleep(0.01)
    finally:
        print("closed", flush=True)
"""


def test_a_process_ends_when_everything_inside_has_closed() -> None:
    code, output, errors, _ = interrupted(LEAVING)
    assert (code, output, errors) == (130, "closed\nat exit\n", "interrupted\n")


def test_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), prompt_interrupts(leave=False):
        assert signal.getsignal(signal.SIGINT) is not before
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert not [thread for thread in threading.enumerate() if thread.name == "interrupts"]


def test_another_thread_changes_nothing() -> None:
    before, handlers = signal.getsignal(signal.SIGINT), list[object]()

    def work() -> None:
        with prompt_interrupts():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]


LAST_WORDS = """
import hashlib
from emo_edge.console.interrupts import last_words, prompt_interrupts
from emo_edge.console.signals import ending_signals
with ending_signals(), prompt_interrupts(0.3), last_words(lambda: print("]", flush=True)):
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha512", b"x", b"y", 200_000_000)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_output_is_closed_before_a_native_call_is_left(number: signal.Signals, code: int) -> None:
    assert interrupted(LAST_WORDS, number)[:3] == (code, "]\n", "interrupted\n")


COMMAND = """
import click, sys, time
from emo_edge.console.commands import EdgeCommand
class Slow:
    def __del__(self):
        print("taken down", flush=True)
sys.modules["slow"] = Slow()
@click.command(cls=EdgeCommand)
def main():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("closed", flush=True)
main([])
"""


def test_every_command_ends_when_everything_inside_has_closed() -> None:
    assert interrupted(COMMAND)[:3] == (130, "closed\n", "interrupted\n")


IGNORED = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
from emo_edge.console.interrupts import prompt_interrupts
with prompt_interrupts(0.1):
    print("begun", flush=True)
    time.sleep(1)
print("ended", flush=True)
"""


def test_an_ignored_signal_stays_ignored() -> None:
    assert interrupted(IGNORED)[:3] == (0, "ended\n", "")


FORKED = """
import os, signal, time
from emo_edge.console.interrupts import prompt_interrupts
from emo_edge.console.signals import ending_signals
with ending_signals(), prompt_interrupts(0.1):
    receiver, sender = os.pipe()
    if not (child := os.fork()):
        os.write(sender, b"begun")
        time.sleep(60)
    os.read(receiver, 5)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    time.sleep(0.5)
print("ended", flush=True)
"""


def test_the_signal_of_a_forked_child_is_not_its_parents() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.endswith("ended\n")
