"""The way of the data on the device: faces, crops, networks, tokens, prompt, label scores, answers, reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from emo_edge import __version__
from emo_edge.bundle.manifest import FACE_TOKENS, OUTPUTS, CropSettings
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace, FaceDetector, nearest_seen
from emo_edge.faces.detectors import open_detector
from emo_edge.inference.face_attributes import face_attributes
from emo_edge.inference.label_scoring import NO_LABEL_SCORES, LabelScorer, LabelScores, VisualInput
from emo_edge.inference.prompt_layout import demographics_of
from emo_edge.inference.results import EmotionResult, Request, Settings
from emo_edge.media.crops import Crop, Image, checked_frame, face_crop, padded_crop
from emo_edge.runtimes.base.sessions import Sampling, TensorSession
from emo_edge.runtimes.loading.engines import Engines, open_engines
from emo_edge.tensors import Tensor
from emo_edge.utils.timing import Stopwatch

FACTS = OUTPUTS["face"]
"""Outputs of a face graph that tells facts."""
AT_ONCE = 32
"""Crops that a network computes at once: every face of a group photo, and memory that stays bounded."""


@dataclass(frozen=True)
class FrameFeatures:
    """What both networks make of F crops; nothing here depends on the question."""

    face_crops: list[Crop]
    """Empty without a face network."""
    features: Tensor | None
    """[F, T, D]; None without a language model."""
    face: dict[str, Tensor]
    """Outputs of the face graph, [F, ...] each; empty without a face network."""

    def shown(self, rows: slice) -> VisualInput:
        """Pick the frames ``rows`` for the language model."""
        if self.features is None:
            raise ValueError("the vision net did not run")
        face = self.face.get(FACE_TOKENS)
        return VisualInput(self.features[rows], None if face is None else face[rows])


class EmotionPipeline:
    """A bundle with its engines open. Use it as a context manager, or call `close`."""

    def __init__(self, bundle: Bundle, engines: Engines, detector: FaceDetector) -> None:
        self.bundle, self.manifest = bundle, bundle.manifest
        self.engines, self.detector = engines, detector
        self.answering = LabelScorer(bundle, engines.chain) if engines.chain else None

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle,
        *,
        device: str = "auto",
        profile: str | None = None,
        detector: FaceDetector | None = None,
        threads: int | None = None,
    ) -> EmotionPipeline:
        """Verify the bundle, choose the device and open one engine a component.

        Args:
            bundle: directory that ``emo-edge export`` wrote, or one that is open already.
            device: one of `registry.DEVICES`; ``auto`` logs what it chose and why.
            profile: one of the manifest's; None takes its default.
            detector: who finds faces; None opens the one the manifest names.
            threads: of each engine; None leaves it to the engine.
        """
        found = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        finder = detector or open_detector(found.manifest.detector)
        return cls(found, open_engines(found, profile=profile, device=device, threads=threads), finder)

    def read(self, image: Image, request: Request | None = None) -> list[EmotionResult]:
        """Read every face of an image (uint8 RGB [H, W, 3]), largest first; no face gives an empty list."""
        watch, asked = Stopwatch(), request or Request()
        with watch("detect"):
            faces = self.detector.detect(checked_frame(image))
        if not faces:
            return []
        seen = self._look([image] * len(faces), faces, watch)
        return [self._reading(seen, slice(row, row + 1), faces, asked, watch, clip=False) for row in range(len(faces))]

    def read_clip(self, frames: Sequence[Image], request: Request | None = None) -> EmotionResult | None:
        """Read one face through a clip, every frame's tokens in one prompt; None if no frame shows a face.

        The largest face of each frame counts; a frame without one borrows the box of the nearest frame that has one.
        """
        watch, asked = Stopwatch(), request or Request()
        with watch("detect"):
            faces = _one_face_a_frame([self.detector.detect(checked_frame(frame)) for frame in frames])
        if not faces:
            return None
        seen = self._look(frames, faces, watch)
        return self._reading(seen, slice(0, len(frames)), faces, asked, watch, clip=True)

    def check(self, request: Request, frames: int = 1) -> None:
        """Raise InputError for what no picture could answer: unknown labels, a temperature of nothing.

        The same for a clip of more frames than the context holds, before any of them is computed.
        """
        if self.answering is not None:
            self.answering.check(request, frames)
        else:
            self._check_facts_alone(request)

    def _check_facts_alone(self, request: Request) -> None:
        if replace(request, demographics=None, sampling=Sampling(), on_piece=None) != Request():
            raise InputError(
                f"{self.manifest.name} is a face network alone: it tells face facts, and answers neither "
                "labels nor questions. Leave those out, or use a bundle with a language model"
            )

    def close(self) -> None:
        """Free every engine; a second call does nothing."""
        self.engines.close()

    def __enter__(self) -> EmotionPipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look(self, frames: Sequence[Image], faces: Sequence[DetectedFace], watch: Stopwatch) -> FrameFeatures:
        """Crop every face and run both networks on all of them at once."""
        settings = self.manifest.preprocessing
        pairs = list(zip(frames, faces, strict=True))
        with watch("crop"):
            vision_crops = [_cut(frame, face, settings.vision) for frame, face in pairs] if settings.vision else []
            face_crops = [_cut(frame, face, settings.face) for frame, face in pairs] if settings.face else []
        features = None
        if self.engines.chain:
            with watch("vision"):
                features = _run(self.engines.chain.vision, vision_crops)["features"]
        with watch("face"):
            known = _run(self.engines.face, face_crops) if self.engines.face else {}
        return FrameFeatures(face_crops, features, known)

    def _reading(
        self,
        seen: FrameFeatures,
        rows: slice,
        faces: Sequence[DetectedFace],
        request: Request,
        measured: Stopwatch,
        *,
        clip: bool,
    ) -> EmotionResult:
        """Tell the facts of one face's frames ``rows``, and what the language model says of them."""
        watch, middle, manifest = measured.branch(), (rows.start + rows.stop) // 2, self.manifest
        wanted = manifest.prompt.use_demographics if request.demographics is None else request.demographics
        told = seen.face.keys() >= FACTS
        sentence = demographics_of(manifest, seen.face, rows, clip=clip) if wanted and told else ""
        if self.answering is None:
            self._check_facts_alone(request)
            said = NO_LABEL_SCORES
        else:
            blank = partial(self._blank, watch)
            said = self.answering.ask(seen.shown(rows), sentence, request, watch, blank, clip=clip)
        facts = None
        if told:
            crop = seen.face_crops[middle]
            facts = face_attributes(seen.face, rows, middle, crop, manifest.face_labels, demographics=wanted)
        return EmotionResult(
            box=faces[middle].box,
            detection_score=faces[middle].score,
            frames=rows.stop - rows.start,
            probabilities=said.probabilities,
            face=facts,
            answers=said.answers,
            stage_ms=watch.milliseconds,
            settings=self._settings(said, wanted=wanted),
        )

    def _blank(self, watch: Stopwatch) -> VisualInput:
        """Show an even picture."""
        side = self.manifest.preprocessing.vision.size if self.manifest.preprocessing.vision else 0
        grey = np.full((side, side, 3), 127, np.uint8)
        return self._look([grey], [DetectedFace((0.0, 0.0, side, side), None)], watch).shown(slice(0, 1))

    def _settings(self, said: LabelScores, *, wanted: bool) -> Settings:
        return Settings(
            bundle=self.manifest.name,
            profile=self.engines.profile_name,
            variants=self.engines.variants(),
            device=self.engines.device,
            detector=self.detector.name,
            labels=said.labels,
            question=said.question,
            demographics=wanted,
            temperature=said.temperature,
            prior_correction=said.prior_correction,
            purpose=self.manifest.provenance.get("purpose", ""),
            emo_edge=__version__,
        )


def _one_face_a_frame(found: Sequence[Sequence[DetectedFace]]) -> list[DetectedFace]:
    return [found[place][0] for place in nearest_seen([bool(faces) for faces in found])]


def _cut(frame: Image, face: DetectedFace, settings: CropSettings) -> Crop:
    if settings.method == "padded":
        return padded_crop(frame, face.box, margin=settings.margin, size=settings.size, fill=settings.fill)
    return face_crop(frame, face.box, margin=settings.margin, size=settings.size)


def _run(network: TensorSession, crops: Sequence[Crop]) -> dict[str, Tensor]:
    """Run a network on crops, a bounded number at once."""
    parts = [
        network.run({"image": np.stack([crop.pixels for crop in crops[start : start + AT_ONCE]])})
        for start in range(0, len(crops), AT_ONCE)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
