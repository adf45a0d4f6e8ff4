"""Samples that every row of a benchmark reads, and the face box in each: detected once, the same for all rows."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from emo_edge.benchmarks.datasets.items import Dataset, Frame, Item
from emo_edge.benchmarks.workload.journal import FACES, Journal, Row
from emo_edge.benchmarks.workload.sample_table import BenchSample, Prepared, PreparedRows
from emo_edge.errors import InputError
from emo_edge.faces.detector import FaceDetector, nearest_with_face
from emo_edge.faces.tracks import face_tracks
from emo_edge.media.crops import Box
from emo_edge.utils.partial_results import is_number

DRAW_SEED = 0
HASH = "[0-9a-f]{64}"
"""Of a sha256."""


@dataclass(frozen=True)
class BenchSamples:
    """Samples to read, those that were left out, and notes for readers of the figures."""

    dataset: Dataset
    labels: tuple[str, ...]
    """In the order they are asked for."""
    samples: Sequence[BenchSample]
    skipped: tuple[tuple[str, str], ...]
    """Key and reason of every sample that could not be read."""
    notes: tuple[str, ...]

    @property
    def clips(self) -> bool:
        """True where the samples are clips."""
        return self.dataset.clips


def drawn_items(dataset: Dataset, count: int | None) -> tuple[list[Item], list[str]]:
    """Draw ``count`` items at random with a fixed seed, kept in the data set's order; and a note on it."""
    if count is None or count >= len(dataset.items):
        return list(dataset.items), []
    indices = np.random.default_rng(DRAW_SEED).permutation(len(dataset.items))[:count]
    note = f"{count} of {len(dataset.items)} samples, drawn at random with seed {DRAW_SEED}"
    return [dataset.items[index] for index in sorted(indices)], [note]


def prepared_samples(
    dataset: Dataset,
    labels: tuple[str, ...],
    count: int | None,
    frames: int,
    journal: Journal,
    detector: FaceDetector,
    progress: Callable[[int, int], None] = lambda done, total: None,
    everywhere: Callable[[Iterable[PreparationJob]], Iterator[Row]] | None = None,
) -> BenchSamples:
    """Decode every sample once: detect its face, and list those that do not open.

    A picture without a box in the data set gets the detector's largest face. Where it detects none, and where
    pictures are faces already cut out, the whole picture is read. Boxes of an earlier run are reused for the same
    pixels alone. ``everywhere`` does the work in several processes, in place of ``detector``.

    Raises InputError if no sample is left.
    """
    items, notes = drawn_items(dataset, count)
    frames = frames if dataset.clips else 1
    numbers, known = {item.key: number for number, item in enumerate(items)}, PreparedRows(items, frames)
    for row in journal.rows(FACES, lambda row: is_prepared(row) and len(row["boxes"]) <= frames):
        if row["key"] in numbers:
            known.put(numbers[row["key"]], row)
    jobs = (PreparationJob(item, frames, known.row(number)) for number, item in enumerate(items))
    alone = partial(prepared_row, None if dataset.cut else detector)
    for number, row in enumerate(everywhere(jobs) if everywhere else map(alone, jobs)):
        if row != known.row(number):
            known.put(number, row)
            journal.add(FACES, row)
        progress(number + 1, len(items))
    samples = Prepared(known, [labels.index(label) for label in dataset.labels])
    skipped = tuple((items[number].key, reason) for number, reason in sorted(known.reasons.items()))
    if not samples:
        raise InputError(f"{dataset.name}: no sample can be read; the first: {skipped[0][0]}: {skipped[0][1]}")
    return BenchSamples(dataset, labels, samples, skipped, (*notes, *_notes(known, samples, labels)))


def spread(samples: Sequence[BenchSample], count: int) -> tuple[BenchSample, ...]:
    """Take ``count`` of the samples, evenly; all if there are fewer."""
    if count >= len(samples):
        return tuple(samples)
    return tuple(samples[index * len(samples) // count] for index in range(count))


class PreparationJob(NamedTuple):
    """A sample to prepare, and its row of an earlier run."""

    item: Item
    frames: int
    known: Row | None


def prepared_row(detector: FaceDetector | None, job: PreparationJob) -> Row:
    """Return the row of a sample for the journal's file of boxes; without a detector its frames are read as a whole."""
    row: Row = {"key": job.item.key, "boxes": [], "found": True, "sha256": None, "reason": None}
    try:
        frames = job.item.frames(job.frames)
        digest = _digest(frames)
        if job.known and job.known["sha256"] == digest and len(job.known["boxes"]) == len(frames):
            return job.known
        boxes = _boxes(frames, detector)
    except InputError as error:
        return row | {"reason": str(error)}
    shows_face = detector is None or any(box is not None for box in boxes)
    return row | {"boxes": _filled(boxes), "found": shows_face, "sha256": digest}


def _digest(frames: Sequence[Frame]) -> str:
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(f"{frame.image.shape} {frame.box}".encode() + np.ascontiguousarray(frame.image).tobytes())
    return digest.hexdigest()


def _boxes(frames: Sequence[Frame], detector: FaceDetector | None) -> list[list[float] | None]:
    """Return the given boxes, or those of one face that is followed through the frames, as on the device."""
    given = [frame.box and _checked_box(frame, frame.box) for frame in frames]
    if detector is None or any(given):
        return given
    tracks = face_tracks([detector.detect(frame.image) for frame in frames])
    faces = tracks[0].faces if tracks else {}
    return [[float(value) for value in faces[row].box] if row in faces else None for row in range(len(frames))]


def _checked_box(frame: Frame, box: Box) -> list[float]:
    height, width = frame.image.shape[:2]
    x0, y0, x1, y1 = (float(value) for value in box)
    if not (all(map(math.isfinite, (x0, y0, x1, y1))) and x0 < x1 and y0 < y1):
        raise InputError(f"its face box {box} is no box")
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise InputError(f"its face box {box} lies outside the {width}x{height} frame")
    return [x0, y0, x1, y1]


def _filled(boxes: list[list[float] | None]) -> list[list[float] | None]:
    """Give a frame without a face the box of the nearest frame that has one, as a clip is read on the device."""
    return [boxes[index] for index in nearest_with_face([box is not None for box in boxes])] or boxes


def is_prepared(row: Row) -> bool:
    """Return whether a row of the journal is one that `prepared_samples` wrote."""
    boxes, reason = row.get("boxes"), row.get("reason")
    whole = isinstance(boxes, list) and all(box is None or _is_box(box) for box in boxes)
    read = reason is None and re.fullmatch(HASH, str(row.get("sha256"))) is not None and bool(boxes)
    return whole and isinstance(row.get("found"), bool) and (read or isinstance(reason, str))


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(is_number, box)) and box[0] < box[2] and box[1] < box[3]


def _notes(rows: PreparedRows, samples: Sequence[BenchSample], labels: tuple[str, ...]) -> list[str]:
    faceless, same = rows.faceless, rows.copies
    present = {sample.truth for sample in samples}
    absent = [label for index, label in enumerate(labels) if index not in present]
    return [
        *([f"in {faceless} of {len(rows.items)} samples no face was found: read as a whole"] if faceless else []),
        *([f"{same} samples show the same pixels as another one"] if same else []),
        *([f"no sample of {', '.join(absent)}: means over classes leave them out"] if absent else []),
    ]
