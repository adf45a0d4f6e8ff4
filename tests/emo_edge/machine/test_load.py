"""Other programs and quotas that make a measurement slower, told from the kernel's counters."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_edge.machine.load import CpuUse, busy_reasons, read_cpu_use, watched_load

QUIET = CpuUse(used=10.0, own=10.0, moment=0.0)


@pytest.mark.parametrize(
    ("after", "reasons"),
    [
        (CpuUse(20.0, 19.9, 10.0), []),
        (CpuUse(20.0, 14.0, 10.0), ["others took 30% of the CPU time"]),
        (CpuUse(None, 14.0, 10.0), []),
        (CpuUse(20.0, 14.0, 0.0), []),
        (CpuUse(11.0, 11.0, 10.0, periods=100, stops=40), ["a CPU quota stopped this process in 40 of 100 periods"]),
        (CpuUse(11.0, 11.0, 10.0, periods=100, stops=1), []),
    ],
)
def test_reasons(after: CpuUse, reasons: list[str]) -> None:
    assert busy_reasons(QUIET, after, cores=2) == reasons


def test_counters_are_read_from_the_groups_of_this_process(tmp_path: Path) -> None:
    for name, text in {
        "proc/stat": "cpu  100 0 100 1000 5 0 0 0 0 0\ncpu0 1 1 1 1\n",
        "proc/self/cgroup": "0::/a\n",
        "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/a/cpu.stat": "usage_usec 5\nnr_periods 30\nnr_throttled 12\nthrottled_usec 1\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 5\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    use = read_cpu_use(tmp_path)
    assert (use.used, use.periods, use.stops) == (2.0, 30, 12)


def test_a_block_is_watched_and_a_system_without_counters_gives_no_reason(tmp_path: Path) -> None:
    with watched_load(tmp_path) as watch:
        assert watch.reasons == []
    assert watch.reasons == []
