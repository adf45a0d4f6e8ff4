"""Recall, false boxes and time of face detectors on pictures whose boxes are known."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.assets.packaged import Sample
from emo_edge.errors import InputError
from emo_edge.faces.detector import FaceDetector, box_area
from emo_edge.faces.second_look import SecondLook, second_look
from emo_edge.media.crops import Box, Image

HIT = 0.5
"""Least intersection over union of a true box and its face."""
ROTATIONS = (0, 90, 180, 270)
SMALL = 0.15
"""Of the picture's shorter side: faces below it are counted as small."""
UNMEASURED = ("auto", "whole")
Row = dict[str, Any]


def require_detectors(names: Sequence[str]) -> list[str]:
    """Return the names without doubles; raise InputError for one that detects nothing."""
    for name in names:
        if name in UNMEASURED:
            raise InputError(f"`detectors` {name}: name one that searches: mtcnn, yunet, haar or a file")
    return list(dict.fromkeys(names))


def measured_detectors(
    samples: Sequence[Sample],
    detectors: Mapping[str, FaceDetector],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Run every detector on every picture, upright and turned; return one row a detector and rotation.

    Args:
        samples: pictures with boxes; those of the same file are one picture of several faces.
        detectors: by the name of their row.
        progress: gets pictures done and in all.

    Raises InputError where no sample has a box.
    """
    pictures = _pictures(samples)
    tallies = {(name, rotation): _Tally() for name in detectors for rotation in ROTATIONS}
    for done, (image, boxes) in enumerate(pictures, 1):
        for rotation in ROTATIONS:
            look = SecondLook(np.ascontiguousarray(np.rot90(image, rotation // 90)), [], rotation)
            for name, detector in detectors.items():
                tallies[name, rotation].add(look, boxes, detector)
        progress(done, len(pictures))
    return [{"detector": name, "rotation": rotation, **tally.row()} for (name, rotation), tally in tallies.items()]


def detector_table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| detector | turned | faces | found | read upright | small found | false boxes | overlap | width, height "
        "| ms p50 / p90 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        small = f"{row['small_found']} of {row['small_faces']}" if row["small_faces"] else "-"
        sizes = "-" if row["overlap"] is None else f"{row['width_ratio']:.2f}, {row['height_ratio']:.2f}"
        overlap = "-" if row["overlap"] is None else f"{row['overlap']:.2f}"
        recall = f"{row['found']} ({row['recall']:.0%})"
        lines.append(
            f"| {row['detector']} | {row['rotation']}° | {row['faces']} | {recall} | {row['upright']} | {small} "
            f"| {row['false_boxes']} | {overlap} | {sizes} | {row['ms_p50']:.0f} / {row['ms_p90']:.0f} |"
        )
    return "\n".join(lines)


class _Tally:
    """Counts of one detector at one rotation."""

    def __init__(self) -> None:
        self.faces = self.small = self.small_found = self.false_boxes = self.upright = 0
        self.hits: list[tuple[float, float, float]] = []
        """Overlap, and width and height of the box against the true ones."""
        self.milliseconds: list[float] = []

    def add(self, look: SecondLook, boxes: Sequence[Box], detector: FaceDetector) -> None:
        """Detect in the turned picture, twice where the pipeline would, and count in the given one."""
        started = time.perf_counter()
        again = second_look(look.picture, detector, detector.detect(look.picture))
        given = [look.given_box(again.given_box(face.box)) for face in again.faces]
        self.milliseconds.append(1000 * (time.perf_counter() - started))
        matches = _matches(boxes, given)
        self.faces += len(boxes)
        self.false_boxes += len(given) - sum(match is not None for match in matches)
        shorter = min(look.picture.shape[:2])
        for box, match in zip(boxes, matches, strict=True):
            is_small = max(box[2] - box[0], box[3] - box[1]) < SMALL * shorter
            self.small += is_small
            self.small_found += is_small and match is not None
            self.upright += match is not None and (look.rotation + again.rotation) % 360 == 0
            if match is not None:
                self.hits.append((_overlap(box, match), *_ratios(box, match)))

    def row(self) -> Row:
        """Return the figures as JSON values."""
        overlap, width, height = np.mean(self.hits, 0).tolist() if self.hits else (None, None, None)
        p50, p90 = np.percentile(self.milliseconds, [50, 90]).tolist()
        return {
            "faces": self.faces,
            "found": len(self.hits),
            "recall": len(self.hits) / self.faces,
            "upright": self.upright,
            "small_faces": self.small,
            "small_found": self.small_found,
            "false_boxes": self.false_boxes,
            "overlap": overlap,
            "width_ratio": width,
            "height_ratio": height,
            "ms_p50": p50,
            "ms_p90": p90,
        }


def _pictures(samples: Sequence[Sample]) -> list[tuple[Image, list[Box]]]:
    """Return each picture once, with the boxes of its faces."""
    boxes: dict[Any, list[Box]] = defaultdict(list)
    images: dict[Any, Sample] = {}
    for number, sample in enumerate(samples):
        key = sample.source if isinstance(sample.source, Path) else number
        if sample.box is not None:
            images.setdefault(key, sample)
            boxes[key].append(sample.box)
    if not images:
        raise InputError("no sample has a box: a line of the list needs x0, y0, x1, y1 of the face")
    return [(sample.image, boxes[key]) for key, sample in images.items()]


def _matches(boxes: Sequence[Box], given: Sequence[Box]) -> list[Box | None]:
    """Return the face of each true box, the best overlaps first, none twice."""
    pairs = sorted(
        ((_overlap(box, face), row, column) for row, box in enumerate(boxes) for column, face in enumerate(given)),
        reverse=True,
    )
    taken: dict[int, int] = {}
    for overlap, row, column in pairs:
        if overlap >= HIT and row not in taken and column not in taken.values():
            taken[row] = column
    return [given[taken[row]] if row in taken else None for row in range(len(boxes))]


def _overlap(one: Box, other: Box) -> float:
    """Return the intersection over union."""
    common = box_area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    return common / (box_area(one) + box_area(other) - common)


def _ratios(true: Box, face: Box) -> tuple[float, float]:
    return (face[2] - face[0]) / (true[2] - true[0]), (face[3] - face[1]) / (true[3] - true[1])
