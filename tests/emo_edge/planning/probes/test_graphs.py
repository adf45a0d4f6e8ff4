"""Graphs that measure an engine: where memory is short, one error before protobuf ends the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emo_edge.errors import DeviceMemoryError

CODE = """
import resource, sys
from pathlib import Path
import onnx
from emo_edge.planning.probes.graphs import GraphProbe
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (int(sys.argv[2]) << 20), -1))
GraphProbe("matmul", "fp32", (256, 1024)).write(Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="waits for Linux, which has a limit of the address space")
@pytest.mark.parametrize("megabytes", [60, 150, 300])
def test_short_memory_is_one_error(tmp_path: Path, megabytes: int) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path / "probe.onnx"), str(megabytes)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(f"{DeviceMemoryError.__module__}.DeviceMemoryError: measuring a")
    assert not list(tmp_path.iterdir())
