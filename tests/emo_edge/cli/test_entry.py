"""A signal at any line of the program's own start and end is the end of the process, with the signal's exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

SWEEP = """
import json, os, signal, sys, tempfile
import click
# A run in the background may start with SIGINT ignored, and its children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
from emo_edge import cli as entry
from emo_edge.cli import app
from emo_edge.console import commands, interrupts, signals, streams

@click.command(cls=commands.EdgeCommand)
def done():
    click.echo("done")

sys.modules["probe"] = probe = type(sys)("probe")
probe.done = done
app.COMMANDS["probe"] = commands.LazyCommand("probe:done", "")
FILES = {module.__file__ for module in (entry, commands, interrupts, signals, streams)}
PLAIN = (signal.SIG_DFL, signal.default_int_handler)
NUMBER, STEP = int(sys.argv[1]), int(sys.argv[2])

def traced(at):
    count, heard = 0, False
    def trace(frame, event, argument):
        nonlocal count, heard
        if frame.f_code.co_filename not in FILES:
            return None
        heard = heard or signal.getsignal(NUMBER) not in PLAIN
        count += heard and event == "line"
        if heard and event == "line" and count == at:
            signal.raise_signal(NUMBER)
        return trace
    sys.argv = ["emo-edge", "probe"]
    sys.settrace(trace)
    entry.main()

def child(at):
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        if not (number := os.fork()):
            os.dup2(output.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            try:
                traced(at)
            finally:
                os._exit(77)
        code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        output.seek(0), errors.seek(0)
        return code, output.read().decode(), errors.read().decode()

ends, at = [], 1
while not ends or ends[-1][0]:
    ends.append(child(at))
    at += STEP
print(json.dumps(ends))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="waits for a system with fork")
@pytest.mark.parametrize(("name", "code", "step"), [("SIGINT", 130, 5), ("SIGTERM", 143, 13), ("SIGHUP", 129, 17)])
def test_a_signal_at_each_line_of_the_start_and_the_end(name: str, code: int, step: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, str(int(getattr(signal, name))), str(step)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *ends, last = json.loads(done.stdout)
    assert len(ends) > 100 // step
    assert last == [0, "done\n", ""]
    # The second is click's own, for a signal in a line of click.
    assert {(ended, errors) for ended, _, errors in ends} <= {(code, "interrupted\n"), (code, "\nAborted!\n")}
