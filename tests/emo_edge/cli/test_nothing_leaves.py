"""Each command in an empty home and without a network: it writes no file but ours, and asks no network for anything.

A library's reporter leaves files (a device id, events that wait to be sent) and looks a host up. In a network namespace
of its own the kernel counts each attempt to reach a host, of native code and of child processes as well.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import cv2
import pytest

from emo_edge.assets.packaged import packaged_samples
from emo_edge.media.images import write_image

COMMAND = (sys.executable, "-c", "from emo_edge.cli.app import main; main(prog_name='emo-edge')")
ISOLATED = ("unshare", "--map-root-user", "--net")
"""Of util-linux; a system may forbid it to users."""
COUNTERS = "/proc/self/net/snmp"
"""Of IPv4, through which names are looked up."""
REPORTS_FROM = (1, 29)
"""The release of ONNX Runtime whose Linux wheels write events."""
GATE = 7
"""Exit code of a device that misses its gate on this processor, which is no matter here."""
BENCH = ("--quick", "--latency-rounds", "2", "--cold", "0", "--batch", "1", "--profile", "exact")
CALIBRATE = ("--collect", "16", "--measure", "16", "--samples", "synthetic:40")
OURS = ("cache/emo-edge/",)
SESSION = """
import onnxruntime, sys
sys.path.insert(0, sys.argv[1])
from emo_edge.diagnostics.trials.small_graph import SMALL_GRAPH
onnxruntime.InferenceSession(SMALL_GRAPH, providers=["CPUExecutionProvider"])
"""


OUTPUTS = (
    *("faces.csv", "report.json", "drawn.mp4", "faces.parquet", "live.mp4"),
    *("rows", "repository", "recorded"),
)
"""Files and folders that the commands are told to write."""
ENDED = """
import contextlib, fcntl, signal, socket, struct, subprocess, sys
with contextlib.suppress(OSError), socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
server = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
assert server.stdout.readline().startswith("http://127.0.0.1:")
server.send_signal(signal.SIGTERM)
sys.exit(0 if server.wait() in (0, 143) else 1)
"""
"""Starts a server, in a network of its own that first has to have a local address, and ends it when it is ready."""


class Traces(NamedTuple):
    """Traces that a program left."""

    code: int
    errors: str
    files: list[str]
    """Not ours, below the empty home."""
    attempts: int | None
    """To reach a host; None where this system lets no user isolate a program."""


def run_alone(home: Path, command: Sequence[str], **environment: str) -> Traces:
    """Run a command in an empty home, its folders of every kind below it; CI is not set, which silences reporters."""
    variables = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_STATE_HOME": str(home / "state"),
        "TMPDIR": str(home / "tmp"),
    }
    for folder in ("tmp", "here"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    script = f'"$@"; code=$?; cat {COUNTERS}; exit $code'
    isolated = (*ISOLATED, "sh", "-c", script, "sh") if can_isolate() else ()
    done = subprocess.run(
        [*isolated, *command],
        cwd=home / "here",
        env=variables | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    files = [str(path.relative_to(home)) for path in sorted(home.rglob("*")) if not path.is_dir()]
    attempts = attempts_of(done.stdout) if isolated else None
    return Traces(done.returncode, done.stderr, [name for name in files if not name.startswith(OURS)], attempts)


def attempts_of(output: str) -> int:
    """Add up what the kernel counted: packets to send, with or without a way to the host."""
    names, values = (line.split()[1:] for line in output.splitlines() if line.startswith("Ip:"))
    counts = dict(zip(names, map(int, values), strict=True))
    return counts["OutRequests"] + counts["OutNoRoutes"]


@functools.cache
def can_isolate() -> bool:
    if not shutil.which(ISOLATED[0]):
        return False
    return subprocess.run([*ISOLATED, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "face.png"
    write_image(path, packaged_samples(1)[0].image)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of a drawing."""
    path, frame = tmp_path_factory.mktemp("clip") / "clip.avi", packaged_samples(1)[0].image
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, frame.shape[1::-1])
    for _ in range(10):
        writer.write(frame[..., ::-1])
    writer.release()
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("infer", "BUNDLE", "PICTURE", "--describe", "--json"),
        ("infer", "BUNDLE", "PICTURE", "--device", "openvino"),
        ("plan", "BUNDLE", "--profile", "small"),
        ("plan", "BUNDLE", "--device", "thor"),
        ("doctor", "--bundle", "BUNDLE"),
        ("inspect", "BUNDLE"),
        ("verify", "BUNDLE"),
        ("engines", "list"),
        ("selftest", "BUNDLE", "--samples", "1", "--rounds", "5", "--out", "report.json"),
        ("live", "BUNDLE", "CLIP", "--jsonl"),
        ("pulse", "CLIP"),
        ("track", "BUNDLE", "CLIP", "--csv", "faces.csv"),
        ("infer", "BUNDLE", "CLIP", "--no-emotions", "--draw", "drawn.mp4", "--table", "faces.parquet"),
        ("live", "BUNDLE", "CLIP", "--csv", "--no-emotions", "--record", "live.mp4"),
        ("label", "BUNDLE", "PICTURE", "--out", "rows", "--workers", "1"),
        ("detector", "measure", "--samples", "synthetic:2", "--detector", "haar"),
        ("export-triton", "BUNDLE", "--out", "repository"),
        ("serve", "BUNDLE", "--port", "0", "--record", "recorded"),
        ("demo", "--help"),
    ],
    ids=" ".join,
)
def test_a_command_writes_its_own_files_and_reaches_no_host(
    words: tuple[str, ...], tiny_bundle: Path, picture: Path, clip: Path, tmp_path: Path
) -> None:
    named = {"BUNDLE": str(tiny_bundle), "PICTURE": str(picture), "CLIP": str(clip)}
    command = [*COMMAND, *(named.get(word, word) for word in words)]
    ended = [sys.executable, "-c", ENDED] if words[0] == "serve" else []
    traces = run_alone(tmp_path / "home", [*ended, *command])
    assert traces.code in (0, GATE), traces.errors
    assert {name.split("/")[1] for name in traces.files} == {name for name in OUTPUTS if name in words}
    assert all(name.startswith("here/") for name in traces.files)
    assert not traces.attempts


@pytest.mark.slow
def test_an_export_writes_its_bundle_and_reaches_no_host(plain_checkpoint: Path, tmp_path: Path) -> None:
    words = ["--out", "bundle", "--vision", "fp32", "--language", "f16", "--limit", "2"]
    traces = run_alone(tmp_path / "home", [*COMMAND, "export", str(plain_checkpoint), *words])
    assert traces.code == 0, traces.errors
    assert traces.files and all(name.startswith("here/bundle/") for name in traces.files), traces.files
    assert not traces.attempts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (("bench", "BUNDLE", "--checkpoint", "CHECKPOINT", "--dataset", "synthetic:8", "--out", "out", *BENCH), "out"),
        (("calibrate", "BUNDLE", "--checkpoint", "CHECKPOINT", *CALIBRATE), "bundle"),
        (
            ("import", "onnx", "GRAPH", "--labels", "rafdb7", "--values", "valence:-1:1,arousal:-1:1", "--out", "out"),
            "out",
        ),
    ],
    ids=lambda value: value[0],
)
def test_the_work_of_a_workstation_stays_in_its_folder_and_reaches_no_host(
    words: tuple[str, ...],
    folder: str,
    label_bundle: Path,
    label_checkpoint: Path,
    label_graph_checkpoint: Path,
    tmp_path: Path,
) -> None:
    here = tmp_path / "home" / "here"
    shutil.copytree(label_bundle, here / "bundle")
    named = {"CHECKPOINT": str(label_checkpoint), "GRAPH": str(label_graph_checkpoint.with_name("small.onnx"))}
    named["BUNDLE"] = "bundle"
    before = sorted(path.relative_to(here) for path in here.rglob("*"))
    traces = run_alone(tmp_path / "home", [*COMMAND, *(named.get(word, word) for word in words)])
    assert traces.code == 0, traces.errors
    assert sorted(path.relative_to(here) for path in here.rglob("*")) != before
    kept = ("here/bundle/", f"here/{folder}/")
    assert [name for name in traces.files if not name.startswith(kept)] == []
    assert not traces.attempts


@pytest.mark.skipif(
    sys.platform != "linux" or tuple(map(int, version("onnxruntime").split(".")[:2])) < REPORTS_FROM,
    reason="waits for a release of ONNX Runtime that reports",
)
def test_the_check_finds_what_onnx_runtime_leaves_without_its_switch(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    loud = run_alone(tmp_path / "loud", [sys.executable, "-c", SESSION, root])
    assert any("onnxruntime" in name for name in loud.files), loud
    quiet = run_alone(tmp_path / "quiet", [sys.executable, "-c", SESSION, root], ORT_DISABLE_TELEMETRY="1")
    assert (quiet.code, quiet.files) == (0, []), quiet


@pytest.mark.parametrize("kind", ["SOCK_DGRAM", "SOCK_STREAM"])
def test_the_check_counts_each_attempt_to_reach_a_host(kind: str, tmp_path: Path) -> None:
    if not can_isolate():
        pytest.skip("waits for a system that lets a user make a network namespace")
    code = f"import socket as s; s.socket(s.AF_INET, s.{kind}).connect_ex(('192.0.2.1', 53))"
    assert run_alone(tmp_path / "none", [sys.executable, "-c", "pass"]).attempts == 0
    assert run_alone(tmp_path / "one", [sys.executable, "-c", code]).attempts
