"""The doctor's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emo_edge.diagnostics.trials.check import EngineReport
from emo_edge.machine.hardware import Machine


@dataclass(frozen=True)
class Step:
    """One thing to do: ``broken`` and ``missing`` keep something from working, ``slow`` costs time alone."""

    kind: Literal["broken", "missing", "slow"]
    what: str
    command: str | None


@dataclass(frozen=True)
class DoctorReport:
    """Machine, engines and conclusions; ``devices`` are what ``emo-edge infer --device`` can take here."""

    doctor_version: int
    emo_edge: str
    machine: Machine
    engines: tuple[EngineReport, ...]
    devices: tuple[str, ...]
    steps: tuple[Step, ...]
