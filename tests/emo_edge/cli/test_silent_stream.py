"""A stream that accepts and sends nothing: Ctrl-C ends the command within two seconds, not at FFmpeg's time limit."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emo_edge.benchmarks.hostile.small_bundle import write_small_bundle
from emo_edge.console.children import code_command

MOST_SECONDS = 2.0
PATIENCE = 60


@pytest.mark.skipif(sys.platform == "win32", reason="waits for a system with SIGINT for a process alone")
@pytest.mark.parametrize("scheme", ["tcp", "http"])
def test_an_interruption_ends_the_wait_for_it(tmp_path: Path, scheme: str) -> None:
    bundle = write_small_bundle(tmp_path / "bundle")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        words = ["infer", str(bundle), f"{scheme}://127.0.0.1:{server.getsockname()[1]}"]
        # A run in the background may start with SIGINT ignored, and its children inherit that.
        heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        command = code_command(f"{heard}\nfrom emo_edge.cli.app import main\nmain({words!r})")
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = server.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                started = time.monotonic()
                message = process.communicate(timeout=PATIENCE)[1]
                assert time.monotonic() - started < MOST_SECONDS
    assert process.returncode == 130
    assert "interrupted after 0 results" in message and "Traceback" not in message
