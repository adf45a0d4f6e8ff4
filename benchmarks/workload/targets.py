"""Targets of the benchmark: a profile on its engines, or the checkpoint in PyTorch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from emo_edge.benchmarks.datasets.items import Frame
from emo_edge.bundle.gguf_types import UNQUANTIZED
from emo_edge.bundle.label_sets import ask_for_labels
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.media.crops import Image
from emo_edge.runtimes.base.sessions import LanguageSession, Sampling

WRITTEN = Sampling(max_new_tokens=80)
"""Sampling of free-text answers; greedy."""


@dataclass(frozen=True)
class Prediction:
    """Probabilities of the labels, and milliseconds by stage from the decoded frames on."""

    probabilities: list[float]
    stage_ms: dict[str, float]
    values: dict[str, float] = field(default_factory=dict)
    """Valence, arousal and others by name, of a network that gives them."""


@dataclass(frozen=True)
class Written:
    """A free-text answer; times count from the end of the prompt's prefill."""

    text: str
    first_ms: float
    """Until the first piece of text."""
    token_ms: float | None
    """Of each further piece; None where there is none."""
    ms: float


class BenchTarget(Protocol):
    """Reads faces. Use it from one thread, and close it."""

    name: str
    device: str
    variants: dict[str, str]

    def read(self, frames: Sequence[Frame], *, clip: bool) -> Prediction:
        """Predict the label of one picture (a single frame) or clip, the face given by its boxes."""

    def write(self, frames: Sequence[Frame], question: str | None, *, clip: bool) -> Written:
        """Answer a question about the frames just read; None asks for the label."""

    def read_faces(self, frames: Sequence[Frame]) -> None:
        """Read the face of every frame at once, as of one picture with so many faces."""

    def prefill(self, ids: Sequence[int]) -> None:
        """Have the language model read tokens."""

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text."""

    @property
    def context(self) -> int:
        """Positions the language model has."""

    def close(self) -> None:
        """Free the engines."""


def box_of(frame: Frame) -> tuple[float, float, float, float]:
    """Return a frame's box, or the whole of it."""
    height, width = frame.image.shape[:2]
    return frame.box or (0.0, 0.0, float(width), float(height))


class ProfileTarget:
    """A profile of a bundle, by the pipeline that a device runs."""

    def __init__(
        self, bundle: Bundle, profile: str, labels: tuple[str, ...], *, device: str, threads: int | None
    ) -> None:
        self.name, self.labels = profile, labels
        self.pipeline = EmotionPipeline.open(
            bundle, device=device, profile=profile, detector=WholeImage(), threads=threads
        )
        chain = self.pipeline.engines.chain
        if chain is None and self.pipeline.label_network is None:
            self.close()
            raise InputError(f"{bundle.manifest.name} is {bundle.manifest.network_alone}: it has no labels to measure")
        self.device, self.variants = self.pipeline.engines.device, self.pipeline.engines.variants()
        self._chain = chain

    def read(self, frames: Sequence[Frame], *, clip: bool) -> Prediction:
        """Score the labels."""
        return read_labels(self.pipeline, frames, self.labels, clip=clip)

    def write(self, frames: Sequence[Frame], question: str | None, *, clip: bool) -> Written:
        """Write an answer, piece by piece."""
        moments: list[float] = []
        asked = question or ask_for_labels(self.pipeline.manifest, self.labels, clip=clip)
        request = Request(
            labels=self.labels, ask=asked, sampling=WRITTEN, on_piece=lambda _: moments.append(time.perf_counter())
        )
        result = _reading(self.pipeline, frames, request, clip=clip)
        # The last piece is the line's end, which comes when the answer does.
        ms, pieces = result.stage_ms["answer"], [1000 * (moment - moments[-1]) for moment in moments[:-1]]
        first = ms + pieces[0] if pieces else ms
        each = (pieces[-1] - pieces[0]) / (len(pieces) - 1) if len(pieces) > 1 else None
        return Written(result.answers[asked], first, each, ms)

    def read_faces(self, frames: Sequence[Frame]) -> None:
        """Read one wide picture with all faces side by side."""
        picture, faces = side_by_side(frames)
        self.pipeline.read(picture, Request(labels=self.labels), boxes=[box_of(face) for face in faces])

    def prefill(self, ids: Sequence[int]) -> None:
        """Read tokens alone."""
        self._language.prefill([list(ids)])

    def tokens(self, text: str) -> list[int]:
        """Tokenize as the language model does."""
        return self._language.tokenize(text)

    @property
    def context(self) -> int:
        """Positions of prompt and answer."""
        return self._language.context_size

    @property
    def _language(self) -> LanguageSession:
        if self._chain is None:
            raise InputError(f"{self.pipeline.manifest.name} is a network of labels: it reads and writes no text")
        return self._chain.language

    def close(self) -> None:
        """Free the engines."""
        self.pipeline.close()


def read_labels(
    pipeline: EmotionPipeline, frames: Sequence[Frame], labels: tuple[str, ...], *, clip: bool
) -> Prediction:
    """Predict the label of the face in the frames' boxes with a pipeline."""
    result = _reading(pipeline, frames, Request(labels=labels), clip=clip)
    stages = {stage: ms for stage, ms in result.stage_ms.items() if stage != "detect"}
    return Prediction(list(result.probabilities.values()), stages, result.values)


def _reading(pipeline: EmotionPipeline, frames: Sequence[Frame], request: Request, *, clip: bool) -> EmotionResult:
    boxes = [box_of(frame) for frame in frames]
    if not clip:
        return pipeline.read(frames[0].image, request, boxes=boxes[:1])[0]
    pipeline.check(request, len(frames))
    result = pipeline.read_clip([frame.image for frame in frames], request, boxes=boxes)
    assert result is not None
    return result


def side_by_side(frames: Sequence[Frame]) -> tuple[Image, list[Frame]]:
    """Join pictures horizontally, and return the wide one and its faces."""
    height = max(frame.image.shape[0] for frame in frames)
    picture = np.zeros((height, sum(frame.image.shape[1] for frame in frames), 3), np.uint8)
    faces, left = [], 0
    for frame in frames:
        high, wide = frame.image.shape[:2]
        picture[:high, left : left + wide] = frame.image
        x0, y0, x1, y1 = box_of(frame)
        faces.append(Frame(picture, (x0 + left, y0, x1 + left, y1)))
        left += wide
    return picture, faces


NO_REFERENCE = "no unquantized language model to measure against: import it again with emo-edge import gguf --reference"


def reference_profile(bundle: Bundle) -> str | None:
    """Return the profile of a VLM's unquantized language model, which the others are measured against.

    None for a bundle that was imported without one.
    """
    profiles = bundle.manifest.profiles
    return next((name for name, profile in profiles.items() if profile.language in UNQUANTIZED), None)
