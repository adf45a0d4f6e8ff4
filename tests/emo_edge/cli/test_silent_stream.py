"""A stream that is silent: Ctrl-C ends the command within two seconds, and silence for long is no success."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.hostile.small_bundle import write_small_bundle
from emo_edge.cli.infer import main
from emo_edge.console.children import code_command
from emo_edge.media.readers import pyav_reader
from tests.made_videos import write

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


def test_a_stream_that_stalls_after_some_frames_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The few frames are all read while it opens, which waits for more as long as opening may take.
    monkeypatch.setattr(pyav_reader, "OPEN_TIMEOUT_S", 3)
    monkeypatch.setattr(pyav_reader, "READ_TIMEOUT_S", 0.5)
    bundle, released = write_small_bundle(tmp_path / "bundle"), threading.Event()
    sent = write(tmp_path / "a.ts", [index / 10 for index in range(30)]).read_bytes()

    def send(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(sent[: -len(sent) // 3])
            released.wait(PATIENCE)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=send, args=(server,))
        thread.start()
        address = f"tcp://us:se-cret@127.0.0.1:{server.getsockname()[1]}"
        words = ["--whole-image", "--fps", "5", "--frames", "1", "--jsonl", "--device", "cpu"]
        done = CliRunner().invoke(main, [str(bundle), address, *words])
        released.set()
        thread.join()
    assert done.exit_code == 6 and len(done.stdout.splitlines()) > 2, done.output
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and "the stream stalled: nothing came for" in errors[0] and "se-cret" not in done.stderr
