"""Ray's actors write the rows that local workers write, also when a machine of the cluster is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emo_edge.batch.config import LabelConfig
from emo_edge.batch.listing import Listing
from emo_edge.batch.ray_engine import RayEngine
from emo_edge.batch.run import label
from emo_edge.errors import DeviceError, InputError
from tests.emo_edge.batch.conftest import InProcess, rows_in

TWO_MACHINES = """
import os, sys
from pathlib import Path
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
from ray.cluster_utils import Cluster
from emo_edge.batch.config import LabelConfig
from emo_edge.batch.listing import Listing
from emo_edge.batch.ray_engine import RayEngine
from emo_edge.batch.run import label

bundle, pictures, out = map(Path, sys.argv[1:])
arguments = {"num_cpus": 1, "object_store_memory": 128 << 20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=arguments)
second = cluster.add_node(**arguments)
cluster.wait_for_nodes()
lost = []

def lose(counts):
    if not lost:
        lost.append(cluster.remove_node(second, allow_graceful=False))

config = LabelConfig(bundle, device="cpu", detector="whole", threads=1)
try:
    with RayEngine(config, None, 1, cluster.address) as engine:
        counts = label(Listing([str(pictures)]), out, engine, rows_per_part=4, progress=lose)
        actors = len(engine._actors)
finally:
    cluster.shutdown()
print("actors", actors, "read", counts.read, "errors", counts.errors)
"""

OUT_OF_MEMORY = """
import logging, os, sys, time
from pathlib import Path

def actors():
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [line for line in lines if line.startswith(b"ray::RayReader")]

def meminfo(name):
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name + ":")).split()[1])

total, free = meminfo("MemTotal"), meminfo("MemAvailable")
limit = total - free + (2 << 30)
os.environ.update(RAY_memory_usage_threshold=str(limit / total), RAY_memory_monitor_refresh_ms="100")
from emo_edge.batch import items
from emo_edge.batch.config import LabelConfig
from emo_edge.batch.listing import Listing
from emo_edge.batch.ray_engine import RayEngine
from emo_edge.batch.run import label

items.CHUNK_ITEMS = 1  # so that some are left to read
bundle, pictures, out = map(Path, sys.argv[1:])
filled, warnings = [], []

class Noted(logging.Handler):
    def emit(self, record):
        warnings.append(record.getMessage())
        filled.clear()  # whoever filled the memory is gone

logging.getLogger("emo_edge.batch.ray_engine").addHandler(Noted())

def fill(counts):
    if not filled and not warnings:
        filled.append(b"x" * (limit - (total - meminfo("MemAvailable")) + (1 << 30)))
        end = time.monotonic() + 30
        while actors() and time.monotonic() < end:
            time.sleep(0.1)

config = LabelConfig(bundle, device="cpu", detector="whole", threads=1)
with RayEngine(config, 1, 1) as engine:
    counts = label(Listing([str(pictures)]), out, engine, rows_per_part=4, progress=fill)
print("read", counts.read, "errors", counts.errors, "lost", len(warnings) > 0)
print(*warnings, sep="\\n", file=sys.stderr)
"""


@pytest.fixture
def expected(engine: InProcess, pictures: Path, tmp_path: Path) -> list[dict[str, object]]:
    label(Listing([str(pictures)]), tmp_path / "expected", engine)
    return rows_in(tmp_path / "expected")


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.slow
def test_a_local_cluster_writes_the_same_rows(
    label_bundle: Path, pictures: Path, tmp_path: Path, expected: list[dict[str, object]]
) -> None:
    pytest.importorskip("ray", reason="waits for the package ray")
    options = ("--engine", "ray", "--device", "cpu", "--detector", "whole", "--threads", "1")
    code = "from emo_edge.cli import main; main()"
    done = run(code, "label", label_bundle, pictures, "--out", tmp_path / "out", *options)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    said = [line for line in done.stderr.splitlines() if " done, " not in line]
    assert len(said) == 1 and said[0].startswith("12 read in ")
    assert rows_in(tmp_path / "out") == expected


@pytest.mark.slow
def test_a_machine_of_the_cluster_is_lost(
    label_bundle: Path, pictures: Path, tmp_path: Path, expected: list[dict[str, object]]
) -> None:
    pytest.importorskip("ray", reason="waits for the package ray")
    done = run(TWO_MACHINES, label_bundle, pictures, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "actors 2 read 12 errors 0\n"
    assert rows_in(tmp_path / "out") == expected


@pytest.mark.slow
def test_an_actor_that_ray_ends_for_lack_of_memory_is_replaced(
    label_bundle: Path, pictures: Path, tmp_path: Path, expected: list[dict[str, object]]
) -> None:
    pytest.importorskip("ray", reason="waits for the package ray")
    done = run(OUT_OF_MEMORY, label_bundle, pictures, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "read 12 errors 0 lost True\n"
    assert "memory" in done.stderr.lower(), "the warning has Ray's reason"
    assert rows_in(tmp_path / "out") == expected


def test_an_address_where_no_cluster_answers_is_one_error(config: LabelConfig) -> None:
    with pytest.raises(DeviceError, match=r"no cluster answers at 127.0.0.1:1 .*start one with"):
        RayEngine(config, None, 1, "127.0.0.1:1").__enter__()
    with pytest.raises(InputError, match="`ray_address` somewhere: give host:port"):
        RayEngine(config, None, 1, "somewhere").__enter__()
