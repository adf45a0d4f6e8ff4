"""Action units of a face from the outputs of the graph that gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emo_edge.bundle.manifest import UNIT_INTENSITY, UNIT_PRESENCE, ActionUnits
from emo_edge.inference.probability import sigmoid
from emo_edge.tensors import Tensor

LEVELS = "ABCDE"
"""Of FACS, from a trace to the maximum: the intensities 1 to 5."""


@dataclass(frozen=True)
class UnitReading:
    """One action unit of one face."""

    presence: float
    """Probability."""
    active: bool
    """True from the unit's threshold on."""
    intensity: float | None
    """From 0 to 5; None where the graph gives none."""

    @property
    def level(self) -> str | None:
        """Letter of FACS that is nearest to the intensity; None below the middle of 0 and A, or without intensity."""
        step = 0 if self.intensity is None else int(self.intensity + 0.5)
        return LEVELS[step - 1] if step else None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "presence": round(self.presence, 4),
            "active": self.active,
            "intensity": None if self.intensity is None else round(self.intensity, 3),
            "level": self.level,
        }


def unit_name(unit: int) -> str:
    """Return the name of a unit of FACS in results, such as ``AU12``."""
    return f"AU{unit}"


def unit_readings(outputs: Mapping[str, Tensor], row: int, section: ActionUnits) -> dict[str, UnitReading]:
    """Return the action units of one row by name, in the order of the section.

    Args:
        outputs: of the graph, float32 [N, units]: logits, and intensities from 0 to 5 where it gives any.
        row: of the face.
        section: of the manifest.
    """
    presence = sigmoid(outputs[UNIT_PRESENCE][row])
    intensity = outputs[UNIT_INTENSITY][row] if UNIT_INTENSITY in outputs else None
    return {
        unit_name(unit): UnitReading(
            float(presence[place]),
            bool(presence[place] >= section.thresholds[place]),
            None if intensity is None else float(intensity[place]),
        )
        for place, unit in enumerate(section.units)
    }
