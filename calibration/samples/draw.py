"""Draw calibration samples: by seed, label by label, and only pictures that open and show a face."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

import numpy as np

from emo_edge.assets.packaged import Sample
from emo_edge.errors import InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.media.crops import Box, Image

FEWEST = 16
"""Below this an interval of the agreement spans a fifth of all samples, too wide for any conclusion."""


@dataclass(frozen=True)
class DrawnSamples:
    """Pictures with their face boxes, in the order they were drawn."""

    samples: tuple[Sample, ...]
    skipped: tuple[str, ...]
    """Name and reason of every picture that was drawn and could not be used."""
    digest: str
    """sha256 of pixels, boxes and labels, in order."""

    def split(self, first: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
        """Split the samples: ``first`` of them, and the others; no picture is in both."""
        return self.samples[:first], self.samples[first:]


def draw_samples(
    listed: Sequence[Sample],
    count: int,
    seed: int,
    detector: FaceDetector,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DrawnSamples:
    """Draw ``count`` usable pictures, every label in rotation as long as there are some.

    A picture without a box gets the detector's largest face; one that does not open or shows none is skipped and
    listed, and another is drawn instead. Raises InputError if fewer than `FEWEST` can be used.
    """
    used: list[Sample] = []
    skipped: list[str] = []
    digest = hashlib.sha256()
    for sample in _interleaved(listed, seed):
        if len(used) == count:
            break
        try:
            image = sample.image
            boxed = sample if sample.box else replace(sample, box=_largest(detector, image))
        except InputError as error:
            skipped.append(f"{sample.name}: {error}")
            continue
        if boxed.box is None:
            skipped.append(f"{sample.name}: no face found")
            continue
        used.append(boxed)
        digest.update(f"{boxed.box} {boxed.expression} {image.shape} ".encode() + np.ascontiguousarray(image).tobytes())
        progress(len(used), min(count, len(listed)))
    if len(used) < min(FEWEST, count):
        reasons = "".join(f"\n  {reason}" for reason in skipped[:5])
        raise InputError(f"{len(used)} usable samples of {len(listed)}, at least {FEWEST} are needed{reasons}")
    return DrawnSamples(tuple(used), tuple(skipped), digest.hexdigest())


def _interleaved(listed: Sequence[Sample], seed: int) -> list[Sample]:
    """Shuffle each label's pictures and interleave the labels."""
    rng = np.random.default_rng(seed)
    labels = sorted({sample.expression or "" for sample in listed})
    piles = []
    for label in labels:
        pile = [sample for sample in listed if (sample.expression or "") == label]
        piles.append([pile[index] for index in rng.permutation(len(pile))])
    dealt = chain.from_iterable(zip_longest(*piles))
    return [sample for sample in dealt if sample is not None]


def _largest(detector: FaceDetector, image: Image) -> Box | None:
    faces = detector.detect(image)
    return faces[0].box if faces else None
