"""Traces of drawn faces with a known pulse; drawing takes seconds a clip, so that they can be kept in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_edge.benchmarks.synthetic.pulse.clips import PulseClip, draw_moving_face, filmed
from emo_edge.benchmarks.synthetic.pulse.nuisances import CLEAN, HARD, Nuisances
from emo_edge.inference.signals.traces import SkinTrace, skin_trace

CONDITIONS: dict[str, Nuisances] = {"nuisances": HARD, "clean": CLEAN}
REGIONS = ("box", "landmarks")
SIZE = 128
"""Of a picture; its face is 60 to 90 pixels high."""
FIELDS = ("colours", "times", "lost", "unsure")


@dataclass(frozen=True)
class FilmedFace:
    """One clip as it is read."""

    bpm: float | None
    """None for a clip without a pulse."""
    traces: Mapping[str, SkinTrace]
    """By region."""


def filmed_face(
    seed: int, condition: str, index: int, *, folder: Path | None = None, size: int = SIZE
) -> tuple[FilmedFace, FilmedFace]:
    """Draw a face, film it with a pulse and without one, and read its skin in each region.

    ``folder`` keeps the traces, and gives them back. It holds traces of this version of the drawing alone.
    """
    import cv2

    path = None if folder is None else folder / f"{seed}-{condition}-{index:04d}.npz"
    if path is not None and path.exists():
        return _loaded(path)
    cv2.setNumThreads(1)
    drawn = draw_moving_face(seed, index, nuisances=CONDITIONS[condition], size=size)
    beating, still = (_read(filmed(drawn, pulse=pulse)) for pulse in (True, False))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(path, beating, still)
    return beating, still


def _read(clip: PulseClip) -> FilmedFace:
    boxes = [(box[0], box[1], box[2], box[3]) for box in clip.boxes.tolist()]
    return FilmedFace(
        clip.bpm,
        {
            "box": skin_trace(clip.frames, clip.times, boxes=boxes),
            "landmarks": skin_trace(clip.frames, clip.times, landmarks=list(clip.landmarks)),
        },
    )


def _save(path: Path, *faces: FilmedFace) -> None:
    arrays = {
        f"{row}-{region}-{name}": getattr(face.traces[region], name)
        for row, face in enumerate(faces)
        for region in REGIONS
        for name in FIELDS
    }
    np.savez(path, bpm=np.array([faces[0].bpm]), **arrays)


def _loaded(path: Path) -> tuple[FilmedFace, FilmedFace]:
    with np.load(path, allow_pickle=False) as arrays:
        traces = [
            {region: SkinTrace(*(arrays[f"{row}-{region}-{name}"] for name in FIELDS)) for region in REGIONS}
            for row in range(2)
        ]
        return FilmedFace(float(arrays["bpm"][0]), traces[0]), FilmedFace(None, traces[1])
