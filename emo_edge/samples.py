"""The drawings that ship with the package: what export compares on, and what the demo reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from emo_edge.crops import Box, Image
from emo_edge.errors import InputError
from emo_edge.images import image_paths, read_image

SAMPLES = Path(__file__).parent / "samples"
INDEX_NAME = "samples.json"


@dataclass(frozen=True)
class Sample:
    """One picture; the packaged ones are drawings whose face box and expression are exact."""

    name: str
    image: Image
    box: Box | None
    expression: str | None


def packaged_samples(limit: int | None = None) -> list[Sample]:
    """Read the packaged drawings, seven expressions in turn."""
    entries = json.loads((SAMPLES / INDEX_NAME).read_text(encoding="utf-8"))["samples"]
    return [
        Sample(entry["file"], read_image(SAMPLES / entry["file"]), tuple(entry["box"]), entry["expression"])
        for entry in entries[:limit]
    ]


def folder_samples(folder: Path, limit: int) -> list[Sample]:
    """Read the user's own pictures, whole; raise InputError for a folder without one."""
    paths = image_paths(folder)[:limit]
    if not paths:
        raise InputError(f"{folder}: no pictures to compare on")
    return [Sample(path.name, read_image(path), None, None) for path in paths]
