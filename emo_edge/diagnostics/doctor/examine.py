"""Examine this machine: its hardware, the engines that really work on it, and the command that fixes the rest."""

from __future__ import annotations

from pathlib import Path

from emo_edge import __version__
from emo_edge.diagnostics.doctor.facts import Facts, read_facts
from emo_edge.diagnostics.doctor.hardware_steps import hardware_steps, slow_steps
from emo_edge.diagnostics.doctor.missing_steps import missing_steps
from emo_edge.diagnostics.doctor.repair_steps import repair_steps
from emo_edge.diagnostics.doctor.report import DoctorReport

DOCTOR_VERSION = 1
"""Of the report as JSON."""


def examine(*, bundle: Path | None = None) -> DoctorReport:
    """Read the machine, try its engines and return the report.

    Args:
        bundle: whose language model llama.cpp computes a prompt with; None takes the demo's, if there is one.
    """
    return conclude(read_facts(bundle))


def conclude(facts: Facts) -> DoctorReport:
    """Conclude from facts which devices can be used and which steps are to be taken."""
    steps = (*missing_steps(facts), *repair_steps(facts), *hardware_steps(facts.machine), *slow_steps(facts))
    return DoctorReport(DOCTOR_VERSION, __version__, facts.machine, facts.engines, tuple(facts.devices()), steps)
