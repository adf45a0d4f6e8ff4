"""The user's own list, .csv or .jsonl, read as `calibrate --samples` reads it."""

from __future__ import annotations

from pathlib import Path

from emo_edge.assets.packaged import Sample
from emo_edge.benchmarks.datasets.folders import is_clip
from emo_edge.benchmarks.datasets.items import Clips, Dataset, Pictures
from emo_edge.benchmarks.datasets.layout import inside
from emo_edge.benchmarks.datasets.listing import Entry, Listing, Request, collected
from emo_edge.calibration.samples.lists import listed_samples
from emo_edge.errors import InputError


def listed(request: Request) -> Dataset:
    """Open a list of pictures, or of clips in the same column; two faces of a picture are two samples by their boxes.

    The list's paths are relative to it, or to the folder that was given.
    """
    request.one_split()
    path = Path(request.argument)
    home = path.parent if request.root is None else request.folder()
    entries = [_entry(path, sample) for sample in listed_samples(path)]
    moving = [is_clip(home, entry.location) for entry in entries if (home / entry.location).exists()]
    clips = any(moving)
    if clips and not all(moving):
        raise InputError(f"{path}: lists clips and pictures together: measure one after the other")
    media = Clips(home) if clips else Pictures(home)
    return collected(request, Listing(entries, media, None, source=f"list {path.name}", clips=clips))


def _entry(path: Path, sample: Sample) -> Entry:
    try:
        location = inside(sample.name)
    except ValueError as error:
        raise InputError(f"{path}: {error}, not {sample.name[:80]!r}; name its folder as the data's own") from error
    key = location if sample.box is None else f"{location}#{','.join(f'{value:g}' for value in sample.box)}"
    return Entry(key, location, sample.expression or "", box=sample.box)
