"""Micro-expressions of followed faces: fast movements in the action units of their readings, as they come."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emo_edge.inference.action_units import UnitReading
from emo_edge.inference.live.fast_movements import LEAST_FPS, FastMovement, FastMovements

logger = logging.getLogger(__name__)
PATIENCE_S = 5.0
"""Of a face, after which its readings should have been fast enough at some time."""


@dataclass
class _Face:
    begun_s: float
    movements: FastMovements = field(default_factory=FastMovements)


class LiveMicroExpressions:
    """The movements of all faces by the id of their track; without intensities of action units there are none."""

    def __init__(self) -> None:
        self._faces: dict[int, _Face] = {}
        self._is_warned = False

    def add(self, number: int, units: Mapping[str, UnitReading], seconds: float) -> Sequence[FastMovement]:
        """Count a reading of a frame at ``seconds``; a face that has not changed since counts as read again."""
        values = {name: unit.intensity for name, unit in units.items() if unit.intensity is not None}
        if not values:
            self._warn("the bundle gives no intensities of action units, in which micro-expressions are looked for")
            return ()
        face = self._faces.setdefault(number, _Face(seconds))
        movements = face.movements.add(seconds, values)
        if seconds - face.begun_s > PATIENCE_S and not face.movements.was_dense:
            self._warn(f"faces are read less than {LEAST_FPS:g} times a second: micro-expressions cannot be found")
        return movements

    def drop(self, number: int) -> Sequence[FastMovement]:
        """Forget a lost track; return its movement that was not sure yet."""
        face = self._faces.pop(number, None)
        return face.movements.end() if face else ()

    def _warn(self, message: str) -> None:
        if not self._is_warned:
            logger.warning(message)
        self._is_warned = True
