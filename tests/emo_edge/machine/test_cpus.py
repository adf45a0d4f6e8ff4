"""CPUs that a process may use: control groups of both versions, nested and mounted in parts, affinity, niceness."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from emo_edge.batch.config import LabelConfig
from emo_edge.batch.local_engine import LocalEngine
from emo_edge.benchmarks.runner.openers import preparers
from emo_edge.benchmarks.workload.config import BenchConfig
from emo_edge.bundle.reader import Bundle
from emo_edge.machine import cpus
from emo_edge.machine.cpus import CpuLimits, limited_cpus, read_cpu_limits, usable_cpus, worker_threads
from emo_edge.machine.hardware import read_memory

V1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
MACHINE = {"sys/devices/system/cpu/online": "0-7\n", "proc/self/status": "Name:\tpython\nCpus_allowed_list:\t0-7\n"}


@pytest.fixture
def limits_of(tmp_path: Path) -> object:
    def read(files: Mapping[str, str]) -> CpuLimits:
        write(tmp_path, {**MACHINE, **files})
        return read_cpu_limits(tmp_path)

    return read


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def version_2(group: str, *quotas: tuple[str, str]) -> dict[str, str]:
    files = {f"sys/fs/cgroup{folder}/cpu.max": text for folder, text in quotas}
    return {"proc/self/cgroup": f"0::{group}\n", "proc/self/mountinfo": V2, **files}


def version_1(group: str, *quotas: tuple[str, str]) -> dict[str, str]:
    files = {"proc/self/cgroup": f"12:memory:/other\n1:cpu,cpuacct:{group}\n", "proc/self/mountinfo": V1}
    for folder, quota in quotas:
        files[f"sys/fs/cgroup/cpu,cpuacct{folder}/cpu.cfs_quota_us"] = f"{quota}\n"
        files[f"sys/fs/cgroup/cpu,cpuacct{folder}/cpu.cfs_period_us"] = "100000\n"
    return files


@pytest.mark.parametrize(
    ("files", "quota", "usable"),
    [
        ({}, None, 8),
        (version_2("/", ("", "max 100000\n")), None, 8),
        (version_2("/a", ("/a", "200000 100000\n")), 2.0, 2),
        (version_2("/a", ("/a", "150000 100000\n")), 1.5, 1),
        (version_2("/a", ("/a", "50000 100000\n")), 0.5, 1),
        (version_2("/a", ("/a", "1600000 100000\n")), 16.0, 8),
        # A limit holds for all groups below it, and the smallest of several counts.
        (
            version_2("/a/b/c", ("/a", "300000 100000\n"), ("/a/b", "max 100000\n"), ("/a/b/c", "600000 100000\n")),
            3.0,
            3,
        ),
        # Below another group's namespace: its own limits lie at the top of the mount.
        (version_2("/../../x", ("", "200000 100000\n")), 2.0, 2),
        (version_2("/a b", ("/a b", "200000 100000\n")), 2.0, 2),
        (version_2("/a", ("/a", "\n")), None, 8),
        (version_2("/a", ("/a", "-1 100000\n")), None, 8),
        (version_2("/a", ("/a", "200000 0\n")), None, 8),
        (version_2("/a", ("/a", "many 100000\n")), None, 8),
        (version_1("/", ("", "-1")), None, 8),
        (version_1("/docker/x", ("/docker/x", "250000")), 2.5, 2),
        (version_1("/docker/x", ("/docker/x", "-1"), ("/docker", "100000")), 1.0, 1),
        (version_1("/docker/x", ("/docker/x", "0")), None, 8),
    ],
)
def test_the_smallest_quota_of_all_groups_counts(
    limits_of: object, files: dict[str, str], quota: float | None, usable: int
) -> None:
    limits = limits_of(files)  # type: ignore[operator]
    assert (limits.quota, limits.usable, limits.online) == (quota, usable, 8)


def test_a_container_sees_its_group_as_the_top(limits_of: object) -> None:
    files = version_1("/docker/x", ("", "300000"))
    files["proc/self/mountinfo"] = V1.replace(" / ", " /docker/x ", 1)
    assert limits_of(files).quota == 3.0  # type: ignore[operator]


def test_both_versions_at_once(limits_of: object) -> None:
    files = version_1("/a", ("/a", "400000"))
    files["proc/self/cgroup"] += "0::/b\n"
    files["proc/self/mountinfo"] += V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    files["sys/fs/cgroup/unified/b/cpu.max"] = "200000 100000\n"
    assert limits_of(files).usable == 2  # type: ignore[operator]


def test_the_usual_places_do_where_the_mounts_cannot_be_read(limits_of: object) -> None:
    assert limits_of({"sys/fs/cgroup/cpu.max": "200000 100000\n"}).quota == 2.0  # type: ignore[operator]


@pytest.mark.parametrize(("allowed", "usable"), [("0-1", 2), ("5", 1), ("0,2,4-6", 5), ("0-63", 8), ("", 8)])
def test_affinity_counts(limits_of: object, allowed: str, usable: int) -> None:
    limits = limits_of({"proc/self/status": f"Cpus_allowed_list:\t{allowed}\n"})  # type: ignore[operator]
    assert limits.usable == limits.affinity == usable


def test_affinity_and_quota_together(limits_of: object) -> None:
    files = version_2("/a", ("/a", "400000 100000\n")) | {"proc/self/status": "Cpus_allowed_list:\t0-2\n"}
    assert limits_of(files).usable == 3  # type: ignore[operator]


def test_niceness(limits_of: object) -> None:
    stat = "7 (a) name) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 30 10 1 0 99 1 1 1\n"
    assert limits_of({"proc/self/stat": stat}).niceness == 10  # type: ignore[operator]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="waits for a system with affinity")
def test_this_process_and_its_affinity() -> None:
    limits = read_cpu_limits()
    assert 1 <= limits.usable <= limits.affinity <= limits.online
    assert usable_cpus() == limits.usable
    code = "from emo_edge.machine.cpus import read_cpu_limits as r; print(r().affinity, r().niceness, r().usable)"
    child = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); os.nice(1); {code}"
    words = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout.split()
    assert words == ["1", str(os.getpriority(os.PRIO_PROCESS, 0) + 1), "1"]


def test_more_workers_than_cpus_are_a_warning_once(caplog: pytest.LogCaptureFixture) -> None:
    assert [worker_threads(workers, 7) for workers in (1, 3, 7)] == [7, 2, 1] and not caplog.text
    assert [worker_threads(workers, 7) for workers in (64, 64)] == [1, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "64 workers on 7 usable CPUs: more are no faster, and each holds a model of its own in memory"
    ]


@pytest.mark.parametrize("command", ["bench", "label"])
def test_the_commands_with_workers_ask_for_it(command: str, caplog: pytest.LogCaptureFixture) -> None:
    if command == "bench":
        bundle = Bundle(Path("none"), None)  # type: ignore[arg-type]
        preparers(bundle, BenchConfig(dataset="none", workers=1000), cut=False)
    else:
        LocalEngine(LabelConfig(Path("none")), 1001, usable_cpus())
    assert "workers on" in caplog.text


@pytest.mark.parametrize(("usable", "limited"), [(8, None), (2, 2)])
def test_engines_choose_for_themselves_where_nothing_limits(
    monkeypatch: pytest.MonkeyPatch, usable: int, limited: int | None
) -> None:
    monkeypatch.setattr(cpus, "read_cpu_limits", lambda: CpuLimits(8, 8, None, usable, 0))
    assert limited_cpus() == limited


def test_memory_limits_of_nested_groups(tmp_path: Path) -> None:
    files = {"proc/meminfo": "MemTotal: 8000000 kB\n", "proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": V2}
    write(tmp_path, files | {"sys/fs/cgroup/a/memory.max": "1000000\n", "sys/fs/cgroup/a/b/memory.max": "max\n"})
    memory = read_memory(tmp_path)
    assert memory is not None and memory.limit == 1_000_000
