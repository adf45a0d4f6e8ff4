"""Settings of the tables of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TableSettings:
    """Format of the tables, and the neutral face that they subtract."""

    format: str
    """A key of `emo_edge.rendering.tracks.formats.FORMATS`."""
    parquet: bool
    neutral_s: float | None = None
    """Seconds of each face that give its neutral intensities; None leaves intensities as they are."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)
