"""Checkpoints and sample drawings inside the package, and a folder of the user's pictures as samples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from emo_edge.errors import CheckpointError, InputError
from emo_edge.media.crops import Box, Image
from emo_edge.media.folders import image_paths, labelled_folders
from emo_edge.media.images import read_image
from emo_edge.utils.suggestions import did_you_mean

PACKAGE = Path(__file__).parent.parent
MODELS = PACKAGE / "models"
SAMPLES = PACKAGE / "samples"
INDEX_NAME = "samples.json"
CONFIG_NAME = "config.json"


def packaged_names() -> list[str]:
    """List the names of the packaged checkpoints."""
    return sorted(path.name for path in MODELS.glob("*/"))


def packaged_checkpoint(name: str = "emo-tiny") -> Path:
    """Return the directory of a packaged checkpoint; raise CheckpointError that lists the packaged ones."""
    directory = MODELS / name
    if not directory.is_dir():
        packaged = packaged_names()
        listing = ", ".join(packaged) or "none"
        raise CheckpointError(f"no packaged checkpoint {name!r}; there are: {listing}{did_you_mean(name, packaged)}")
    return directory


def named_checkpoint(name: str | Path) -> Path:
    """Return the checkpoint that a command names: a folder, else a packaged one.

    A folder of a packaged name without ``config.json``, such as a bundle of that model, is not meant. Raises
    CheckpointError that lists the packaged ones.
    """
    path = Path(name)
    other = str(name) in packaged_names() and not (path / CONFIG_NAME).exists()
    return path if path.exists() and not other else packaged_checkpoint(str(name))


@dataclass(frozen=True)
class Sample:
    """One picture; the packaged ones are drawings whose face box and expression are exact."""

    name: str
    source: Image | Path
    box: Box | None
    expression: str | None
    cues: frozenset[int] | None = None
    """Action units that are visible, where they are known."""

    @property
    def image(self) -> Image:
        """Return the pixels, uint8 RGB [H, W, 3]; a file is read at each access, so that many samples fit in memory."""
        return read_image(self.source) if isinstance(self.source, Path) else self.source


def packaged_samples(limit: int | None = None) -> list[Sample]:
    """List the packaged drawings, the seven expressions one after the other."""
    entries = json.loads((SAMPLES / INDEX_NAME).read_text(encoding="utf-8"))["samples"]
    return [
        Sample(entry["file"], SAMPLES / entry["file"], tuple(entry["box"]), entry["expression"])
        for entry in entries[:limit]
    ]


def folder_samples(folder: Path, limit: int) -> list[Sample]:
    """List ``limit`` of a folder's pictures, evenly by name, each as a whole; raise InputError for an empty one.

    Of a folder with a folder a label, they are the pictures in those.
    """
    labelled = labelled_folders(folder) if folder.is_dir() else []
    paths = [path for one in labelled for path in image_paths(one)] if labelled else image_paths(folder)
    if not paths:
        raise InputError(f"{folder}: no pictures to compare on")
    return [Sample(path.name, path, None, None) for path in paths[:: max(1, len(paths) // limit)][:limit]]
