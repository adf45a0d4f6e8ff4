"""The doctor's line about what keeps this process from using all CPUs."""

from __future__ import annotations

import pytest

from emo_edge.diagnostics.doctor.text import _machine_rows
from emo_edge.machine.cpus import CpuLimits
from emo_edge.machine.hardware import Machine, Processor


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        (CpuLimits(8, 8, None, 8, 0), None),
        (CpuLimits(8, 8, 16.0, 8, -5), None),
        (CpuLimits(8, 8, 1.5, 1, 0), "this process computes with 1 of them: quota of 1.5"),
        (CpuLimits(8, 4, 6.0, 4, 0), "this process computes with 4 of them: affinity of 4, quota of 6"),
        (CpuLimits(8, 8, None, 8, 10), "nice 10: other programs come first"),
    ],
)
def test_restrictions_are_named(limits: CpuLimits, line: str | None) -> None:
    processor = Processor("a processor", "x86_64", 8, (), limits)
    machine = Machine("Linux", "3.11", processor, None, (), None, None, None, (), (), None)
    rows = [text for name, text in _machine_rows(machine) if not name]
    assert rows[:1] == ([line] if line else ["without AVX2, AVX-512 and AMX"])
