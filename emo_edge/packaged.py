"""Find what ships inside the package."""

from __future__ import annotations

from pathlib import Path

from emo_edge.errors import CheckpointError

MODELS = Path(__file__).parent / "models"


def packaged_checkpoint(name: str = "emo-tiny") -> Path:
    """Return the directory of a packaged checkpoint; raise CheckpointError naming those there are."""
    directory = MODELS / name
    if not directory.is_dir():
        there = ", ".join(sorted(path.name for path in MODELS.glob("*/"))) or "none"
        raise CheckpointError(f"no packaged checkpoint {name!r}; there are: {there}")
    return directory
