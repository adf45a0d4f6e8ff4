"""Drawn faces and clips as a data set: each is drawn when its frames are read, the seven expressions in rotation."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from emo_edge.benchmarks.datasets.items import Dataset, Frame
from emo_edge.benchmarks.datasets.listing import Entry, Listing, Request, collected
from emo_edge.benchmarks.emo_tiny.data import BASIC, jittered
from emo_edge.benchmarks.synthetic.generator import CLIP_FRAMES, FaceSample, render_clip, render_face
from emo_edge.errors import InputError
from emo_edge.media.videos import even_indices

PICTURE_SEED, CLIP_SEED = 905, 906
"""Unlike every seed of training, evaluation, the demo and the packaged samples, and below those of calibration."""


def pictures(request: Request) -> Dataset:
    """Open ``synthetic:N``."""
    return _drawn(request, Drawings(PICTURE_SEED, moving=False))


def clips(request: Request) -> Dataset:
    """Open ``synthetic-clips:N``."""
    return _drawn(request, Drawings(CLIP_SEED, moving=True))


@dataclass(frozen=True)
class Drawings:
    """Drawings by seed; a location is the number of one."""

    seed: int
    moving: bool

    def exists(self, location: str) -> bool:
        """Return True: every number can be drawn."""
        return True

    def frames(self, location: str, count: int) -> list[Frame]:
        """Draw the picture or the clip's frames, boxed as a detector's box would be."""
        index = int(location)
        expressions = (expression_of(index),)
        if not self.moving:
            return [self._frame(render_face(self.seed, index, expressions=expressions), index, 0)]
        wanted = even_indices(CLIP_FRAMES, count)
        clip = render_clip(self.seed, index, expressions=expressions, frame_indices=wanted)
        return [self._frame(sample, index, number) for number, sample in enumerate(clip.frames)]

    def _frame(self, sample: FaceSample, index: int, number: int) -> Frame:
        return Frame(sample.image, jittered(sample.box, np.random.default_rng([self.seed, index, number])))


def expression_of(index: int) -> str:
    """Return the expression of a drawing, known without drawing it."""
    return BASIC[index % len(BASIC)]


def _drawn(request: Request, media: Drawings) -> Dataset:
    request.one_split()
    if re.fullmatch(r"[1-9]\d{0,5}", request.argument, re.ASCII) is None:
        raise InputError(f"{request.name}:{request.argument}: say how many, 1 to 999999, such as {request.name}:200")
    entries = (
        Entry(f"{request.name}-{media.seed}-{index:06d}", str(index), expression_of(index))
        for index in range(int(request.argument))
    )
    source = f"drawings of seed {media.seed}"
    return collected(request, Listing(entries, media, BASIC, source=source, clips=media.moving))
