"""Open a data set of pulses: ``ubfc-rppg:FOLDER``, ``pure:FOLDER`` (the user's copies) or ``synthetic-pulse:N``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from emo_edge.benchmarks.datasets.pulse import synthetic
from emo_edge.benchmarks.datasets.pulse.pure import pure
from emo_edge.benchmarks.datasets.pulse.recordings import PulseDataset
from emo_edge.benchmarks.datasets.pulse.ubfc import ubfc_rppg
from emo_edge.benchmarks.datasets.specs import folder_of
from emo_edge.errors import InputError

DATASETS: dict[str, Callable[[Path], PulseDataset]] = {"ubfc-rppg": ubfc_rppg, "pure": pure}


def open_pulse(spec: str) -> PulseDataset:
    """Open a data set by its name; raise InputError for others, and for another layout. No frame is read yet."""
    name, _, argument = spec.partition(":")
    if name == synthetic.NAME:
        if re.fullmatch(r"[1-9]\d{0,4}", argument, re.ASCII) is None:
            raise InputError(f"{spec}: say how many, 1 to 99999, such as {name}:40")
        return synthetic.synthetic_pulse(int(argument))
    name, folder = folder_of(spec, tuple(DATASETS), (f"{synthetic.NAME}:N",))
    return DATASETS[name](folder)
