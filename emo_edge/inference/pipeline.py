"""The data's path on the device, from a frame to results.

`rgb_frame` gives the frame; a detector or the caller gives its faces; `run_networks` cuts the crops and runs the vision
and the face net; `demographics_of` writes the age/gender/race sentence; `LabelScorer` runs the connector, fills the
prompt, scores the labels and writes answers, or `NetworkLabels` gives those of a network without a language model;
`face_attributes` gives the face's geometry. `EmotionPipeline.read`, `read_clip` and `_result` show these steps in
this order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from emo_edge import __version__
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace, FaceDetector
from emo_edge.faces.registry import FixedBox, WholeImage, faces_in_boxes
from emo_edge.faces.second_look import ClipLook, SecondLook, look_at_clip, looks_like_crop, second_look
from emo_edge.faces.tracks import FacesOfTrack, faces_of_clip
from emo_edge.inference.action_units import unit_readings
from emo_edge.inference.detectors import bundle_detector
from emo_edge.inference.exclusive_use import ExclusiveUse, refuse_after_fork
from emo_edge.inference.face_attributes import face_attributes
from emo_edge.inference.frame_features import FrameFeatures, grey_input, run_networks, unit_values
from emo_edge.inference.frames import (
    Channels,
    Faces,
    ImageInput,
    boxes_by_frame,
    checked_faces,
    checked_indices,
    counted_once,
    given_track,
    rgb_frame,
    rgb_frames,
)
from emo_edge.inference.label_network import NetworkLabels
from emo_edge.inference.label_scoring import (
    NO_LABEL_QUESTION,
    NO_LABEL_SCORES,
    LabelQuestion,
    LabelScorer,
    LabelScores,
)
from emo_edge.inference.prompt_layout import demographics_of
from emo_edge.inference.results import EmotionResult, Request, Settings
from emo_edge.inference.signals.heart_rate import HeartRate
from emo_edge.inference.tasks.deployment import check_deployment
from emo_edge.inference.tasks.heart_rate import measured_heart_rate
from emo_edge.inference.tasks.requests import TaskReader
from emo_edge.inference.tasks.spotting import FloatArray, SpottedMovement, UnitCurve, spotted_movement, unit_curve
from emo_edge.media.crops import Box, Image
from emo_edge.media.videos import TimedFrame
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.runtimes.loading.engines import Engines, open_engines
from emo_edge.utils.timing import Stopwatch

Scored = tuple[LabelScores, Stopwatch]
"""The scores of a face, and the time of each stage up to them."""


class EmotionPipeline:
    """A bundle with its engines open. Use it as a context manager, or call `close`.

    Threads may share a pipeline: a lock lets one of them read at a time, so a second thread waits and gains no speed.
    ``Request.on_piece`` is called under that lock, in the reading thread, and must not use the pipeline.

    A process that was forked from the one that opened the pipeline cannot use it, nor open another one once the first
    has read: start processes with the "spawn" method. That, a use after `close`, and a use from ``on_piece`` raise
    PipelineStateError.
    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Engines,
        detector: FaceDetector,
        *,
        whole_crops: bool = False,
        emotions: bool = True,
        deployment_purpose: str | None = None,
    ) -> None:
        self.bundle, self.manifest, self._crops = bundle, bundle.manifest, bundle.manifest.preprocessing
        self.engines, self.detector, self.deployment_purpose = engines, detector, deployment_purpose or ""
        self.tasks = TaskReader(self.manifest, self.deployment_purpose)
        cache = engines.profile.question_cache
        self.label_scorer = LabelScorer(bundle, engines.chain, engines.device, cache) if engines.chain else None
        gives_labels = emotions and self.manifest.face_labels.expression
        self.label_network = NetworkLabels(self.manifest) if gives_labels else None
        self._whole_crops = whole_crops
        self._exclusive = ExclusiveUse()
        self._cold = True

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle,
        *,
        device: str = "auto",
        profile: str | None = None,
        detector: FaceDetector | None = None,
        threads: int | None = None,
        context: int | None = None,
        whole_crops: bool = False,
        emotions: bool = True,
        deployment_purpose: str | None = None,
    ) -> EmotionPipeline:
        """Verify the bundle, choose the device and open one engine a component.

        Args:
            bundle: directory that ``emo-edge export`` wrote, or an open `Bundle`.
            device: "tensorrt", "cuda", "openvino", "cpu", or "auto", which logs its choice and the reason.
            profile: one of the manifest's; None takes its default.
            detector: finds the faces; None opens the one that the manifest names.
            threads: of each engine; None leaves it to the engine.
            context: positions of prompt and answer; None, and at most, those that the model was trained with. A
                smaller context takes less memory, and refuses what it does not hold.
            whole_crops: True reads a picture without a found face as a whole, if it looks like the crop of one.
            emotions: False opens the face network alone: action units, pose and pulse, and no label of an expression.
            deployment_purpose: research, medical, safety, entertainment or other: what whoever runs this does it for,
                which every result then says. It is not the purpose that the checkpoint states of itself.

        Raises InputError for another purpose, and without emotions for a bundle without a face network.
        """
        refuse_after_fork()
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        check_deployment(opened.manifest, emotions=emotions, purpose=deployment_purpose)
        face_detector = detector or bundle_detector(opened)
        engines = open_engines(
            opened, profile=profile, device=device, threads=threads, context=context, language=emotions
        )
        return cls(
            opened,
            engines,
            face_detector,
            whole_crops=whole_crops,
            emotions=emotions,
            deployment_purpose=deployment_purpose,
        )

    def read(
        self,
        image: ImageInput,
        request: Request | None = None,
        *,
        channels: Channels = "rgb",
        boxes: Sequence[Box] | None = None,
        boxes_of: str | None = None,
        faces: Faces = "all",
    ) -> list[EmotionResult]:
        """Read every face of an image, largest first; no face gives an empty list.

        Args:
            image: a path, a ``PIL.Image.Image`` or a uint8 array [H, W, 3].
            request: labels, questions and options; None is ``Request()``.
            channels: order of an array's channels: "rgb", or "bgr" as OpenCV gives it.
            boxes: faces as (x0, y0, x1, y1) in pixels, instead of the detector; the results keep their order.
            boxes_of: name of the detector that gave the ``boxes``: a crop's margin depends on it.
            faces: "all", or "largest" for the first of them alone.

        Raises InputError for an image, a box or a request that cannot be used.
        """
        frame, request, number = rgb_frame(image, channels), request or Request(), checked_faces(faces)
        with self._exclusive.hold():
            watch = Stopwatch()
            with watch("detect"):
                look = self._looked(frame, boxes, request)
            return self._read_looks([look], request, number, watch, boxes_of or self._detector_name(boxes))[0]

    def read_many(
        self,
        images: Iterable[ImageInput],
        request: Request | None = None,
        *,
        channels: Channels = "rgb",
        faces: Faces = "all",
    ) -> list[list[EmotionResult]]:
        """Read several pictures at once, their faces in the same batches; return for each what `read` returns for it.

        One picture after the other gives the same numbers within rounding. Where faces share a batch, their times
        count it in each of them. Args and errors are those of `read`.
        """
        request, number = request or Request(), checked_faces(faces)
        frames = [rgb_frame(image, channels) for image in images]
        with self._exclusive.hold():
            watch = Stopwatch()
            with watch("detect"):
                looks = [self._looked(frame, None, request) for frame in frames]
            return self._read_looks(looks, request, number, watch, self.detector.name)

    def _read_looks(
        self, looks: Sequence[SecondLook], request: Request, number: int | None, watch: Stopwatch, detector: str
    ) -> list[list[EmotionResult]]:
        """Read the faces of searched pictures, those of one detector at once: a crop's margin depends on it."""
        self.tasks.require_frames(request, 1)
        asked_whole = self.tasks.reads_whole(request)
        results: list[list[EmotionResult]] = [[] for _ in looks]
        for is_whole, name in ((False, detector), (True, WholeImage.name)):
            owners = [
                (own, face)
                for own, look in enumerate(looks)
                if look.is_whole == is_whole
                for face in look.faces[:number]
            ]
            if not owners:
                continue
            pictures = [looks[own].picture for own, _ in owners]
            features = self._run_networks(pictures, [face for _, face in owners], watch, name)
            scored = self._scored_faces(features, request, watch)
            for row, ((own, _), one) in enumerate(zip(owners, scored, strict=True)):
                result = self._result(features, slice(row, row + 1), request, one, name, clip=False)
                result = replace(result, whole_image=is_whole and not asked_whole)
                results[own].append(result.turned_back(looks[own]))
            self._cold = False
        return results

    def read_clip(
        self,
        frames: Iterable[ImageInput],
        request: Request | None = None,
        *,
        channels: Channels = "rgb",
        boxes: Sequence[Box | None] | None = None,
    ) -> EmotionResult | None:
        """Read one face through a clip, every frame's tokens in one prompt; None if no frame shows a face.

        It is the largest face of the first frame with faces (of those that last, a chance detection apart), followed
        by the overlap of its boxes. A frame without a face takes its box in the nearest frame that has it, and a frame
        that shows only other faces is left out.

        Args:
            frames: images as for `read`.
            request: as for `read`.
            channels: as for `read`.
            boxes: one (x0, y0, x1, y1) a frame, None for a frame without a face, or a single one for all frames.

        Raises InputError as `read` does, and for a clip of more frames than the context holds, or of several where the
        model takes one picture.
        """
        results = self.read_clip_faces(frames, request, channels=channels, boxes=boxes, faces="largest")
        return results[0] if results else None

    def read_clip_faces(
        self,
        frames: Iterable[ImageInput],
        request: Request | None = None,
        *,
        channels: Channels = "rgb",
        boxes: Sequence[Box | None] | None = None,
        faces: Faces = "all",
        indices: Sequence[int] | None = None,
    ) -> list[EmotionResult]:
        """Read every face of a clip, each followed from frame to frame; that of `read_clip` is the first.

        Args and errors are those of `read_clip`; ``faces`` is "all" or "largest". ``indices`` are the numbers of the
        frames in their source: one that stands for a long time may be given several times, and `EmotionResult.frames`
        and `EmotionResult.frame` count it once.
        """
        images, request, number = rgb_frames(frames, channels), request or Request(), checked_faces(faces)
        given, numbers = boxes_by_frame(boxes, len(images)), checked_indices(indices, len(images))
        if self.label_scorer is not None:
            self.label_scorer.check_pictures(len(images))
        whole = self.tasks.reads_whole(request) and boxes is None
        self.tasks.require_frames(request, len(images))
        with self._exclusive.hold():
            watch = Stopwatch()
            with watch("detect"):
                look = self._looked_at_clip(images, given, whole=whole)
                tracks = faces_of_clip(look.by_frame) if boxes is None else given_track(look.by_frame)
            detector = WholeImage.name if whole else self._detector_name(boxes)
            results = [
                self._clip_result(look.pictures, track, request, watch.branch(), detector) for track in tracks[:number]
            ]
            self._cold = False
            upright = [result.turned_back(look.of(result.frame)) for result in results]
            return [
                counted_once(result, [frame for frame, _ in track], numbers)
                for result, track in zip(upright, tracks, strict=False)
            ]

    def _clip_result(
        self, images: Sequence[Image], track: FacesOfTrack, request: Request, watch: Stopwatch, detector: str
    ) -> EmotionResult:
        chosen = [images[frame] for frame, _ in track]
        features = self._run_networks(chosen, [face for _, face in track], watch, detector, clip=True)
        middle = min(range(len(track)), key=lambda row: abs(track[row][0] - len(images) // 2))
        rows = slice(0, len(track))
        scored = self._scored(features, rows, request, watch, clip=True)
        result = self._result(features, rows, request, scored, detector, clip=True, middle=middle)
        return replace(result, frame=track[middle][0])

    def _looked(self, frame: Image, boxes: Sequence[Box] | None, request: Request) -> SecondLook:
        """Search a picture, twice where the first look finds nothing sure; a task of the whole one needs no search."""
        if boxes is None and self.tasks.reads_whole(request):
            return SecondLook(frame, WholeImage().detect(frame), is_whole=True)
        faces = self._faces(frame, boxes)
        if boxes is not None:
            return SecondLook(frame, faces)
        again = second_look(frame, self.detector, faces)
        if again.faces or not (self._whole_crops and looks_like_crop(frame)):
            return again
        return SecondLook(frame, WholeImage().detect(frame), is_whole=True)

    def _looked_at_clip(
        self, frames: Sequence[Image], given: Sequence[Sequence[Box] | None], *, whole: bool
    ) -> ClipLook:
        if whole:
            return ClipLook(frames, [WholeImage().detect(frame) for frame in frames])
        if not any(boxes is not None for boxes in given):
            return look_at_clip(frames, self.detector)
        return ClipLook(frames, [self._faces(frame, boxes) for frame, boxes in zip(frames, given, strict=True)])

    def _faces(self, frame: Image, boxes: Sequence[Box] | None) -> list[DetectedFace]:
        return self.detector.detect(frame) if boxes is None else faces_in_boxes(frame, boxes)

    def _detector_name(self, boxes: Sequence[Box | None] | None) -> str:
        return self.detector.name if boxes is None else FixedBox.name

    def _run_networks(
        self,
        frames: Sequence[Image],
        faces: Sequence[DetectedFace],
        watch: Stopwatch,
        detector: str | None = None,
        *,
        clip: bool = False,
    ) -> FrameFeatures:
        crops, values = self._crops.of_clip() if clip else self._crops, self.manifest.face_labels.values
        return run_networks(self.engines, crops, frames, faces, watch, detector, values)

    def _result(
        self,
        features: FrameFeatures,
        rows: slice,
        request: Request,
        scored: Scored,
        detector: str,
        *,
        clip: bool,
        middle: int | None = None,
    ) -> EmotionResult:
        """Compute the result of one face, frames ``rows``, from its scores: with its face attributes."""
        (scores, watch), manifest = scored, self.manifest
        middle = rows.start if middle is None else middle
        units = unit_readings(features.unit_outputs, middle, manifest.action_units) if manifest.action_units else {}
        answer, answers = self.tasks.answer(request, scores.probabilities, scores.answers, units, clip=clip)
        attributes = None
        if features.has_attributes:
            crop, labels = features.face_crops[middle], manifest.face_labels
            attributes = face_attributes(
                features.face_outputs,
                rows,
                middle,
                crop,
                labels,
                face_facts=request.face_facts,
                demographics=request.show_demographics,
            )
        return EmotionResult(
            box=features.faces[middle].box,
            detection_score=features.faces[middle].score,
            points=features.faces[middle].points,
            frames=rows.stop - rows.start,
            probabilities=scores.probabilities,
            values=self.label_network.values(features.face_outputs, rows) if self.label_network else {},
            face=attributes,
            action_units=units,
            task=answer,
            answers=answers,
            stage_ms=watch.milliseconds,
            settings=replace(
                self.settings(request, clip=clip), detector=detector, question_cache=scores.question_cached
            ),
            cold=self._cold,
        )

    def _scored_faces(self, features: FrameFeatures, request: Request, measured: Stopwatch) -> list[Scored]:
        """Score every face of a picture, together where the profile's question cache allows it."""
        rows = [slice(row, row + 1) for row in range(len(features.faces))]
        if self.label_scorer is None or len(rows) == 1 or not self.label_scorer.takes_many(request):
            return [self._scored(features, own, request, measured, clip=False) for own in rows]
        watch, sentences = measured.branch(), [self._sentence(features, own, request, clip=False) for own in rows]
        visual, grey = features.visual_input(slice(0, len(rows))), partial(grey_input, self.engines, self._crops)
        return self.label_scorer.score_many(visual, sentences, request, watch, grey)

    def _scored(
        self, features: FrameFeatures, rows: slice, request: Request, measured: Stopwatch, *, clip: bool
    ) -> Scored:
        """Score one face, frames ``rows``: its sentence, its labels and its answers."""
        watch = measured.branch()
        if self.label_network is not None and request.task is None:
            return self.label_network.score(features.face_outputs, rows, request), watch
        if self.label_scorer is None:
            self._check_without_language(request)
        if self.label_scorer is None or not self.tasks.asks_language(request):
            return NO_LABEL_SCORES, watch
        sentence = self._sentence(features, rows, request, clip=clip)
        visual, grey = features.visual_input(rows), partial(grey_input, self.engines, self._crops)
        return self.label_scorer.score(visual, sentence, request, watch, grey, clip=clip), watch

    def _sentence(self, features: FrameFeatures, rows: slice, request: Request, *, clip: bool) -> str:
        """Write the sentence about age, gender and race of one face, or nothing."""
        if not (self._asks_demographics(request) and features.has_attributes):
            return ""
        return demographics_of(self.manifest, features.face_outputs, rows, clip=clip)

    def check(self, request: Request, frames: int = 1) -> None:
        """Raise InputError for a request that no image could fulfil: unknown labels, a temperature of 0.

        The same for a clip of more frames than the context holds, before any of them is computed.
        """
        self._exclusive.check()
        if (request.face_facts or request.show_demographics) and not self.manifest.gives_face_facts:
            raise InputError(
                f"{self.manifest.name} has no network of face facts: leave `face_facts` and `demographics` out"
            )
        self.tasks.of(request)
        if self.label_scorer is not None:
            self.label_scorer.check(request, frames)
        elif self.label_network is not None and request.task is None:
            self.label_network.check(request)
        else:
            self._check_without_language(request)

    def heart_rate(self, video: str | Path, progress: Callable[[float], None] = lambda seconds: None) -> HeartRate:
        """Measure the pulse of the one face in a video file, for a request of the task heart-rate.

        ``progress`` gets the seconds read. Not a medical device. Raises InputError for what is no video file.
        """
        with self._exclusive.hold():
            return measured_heart_rate(video, self.detector, progress)

    def spotted_movement(
        self, video: str | Path, progress: Callable[[int], None] = lambda done: None
    ) -> SpottedMovement:
        """Spot the clearest brief movement of the face in a video file by its action units; nothing is trained for it.

        ``progress`` gets the frames read. Raises InputError for a bundle without action units, and for a video that
        cannot be read or shows no such movement.
        """
        self._require_units()
        with self._exclusive.hold():
            return spotted_movement(video, self.detector, self._unit_values, progress)

    def unit_curve(self, frames: Iterable[TimedFrame]) -> UnitCurve:
        """Return the action units of the face that is there in most frames of a video, a row a frame.

        Raises InputError for a bundle without action units, and where no frame shows a face.
        """
        self._require_units()
        with self._exclusive.hold():
            return unit_curve(frames, self.detector, self._unit_values)

    def _require_units(self) -> None:
        if self.manifest.action_units is None:
            raise InputError(f"{self.manifest.name} has no action units, which a movement is spotted by")

    def _unit_values(self, frames: Sequence[Image], boxes: Sequence[Box]) -> FloatArray:
        """Return intensities of the units, from 0 to 5; of a bundle without them five times their probabilities."""
        return unit_values(self.engines, self._crops, frames, boxes, self.detector.name)

    def close(self) -> None:
        """Free every engine, when no thread reads; a second call does nothing."""
        self._exclusive.close(self.engines.close)

    def __enter__(self) -> EmotionPipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_without_language(self, request: Request) -> None:
        task = self.tasks.of(request)
        plain = replace(request, demographics=None, sampling=Sampling(), on_piece=None, heart_rate=None, movement=None)
        plain = replace(plain, face_facts=False, show_demographics=False)
        if (task is None and plain != Request()) or (task is not None and task.needs_language):
            has_language = self.manifest.components.language is not None
            alone = "opened without emotions" if has_language else self.manifest.network_alone
            raise InputError(
                f"{self.manifest.name} is {alone}: it tells {self.manifest.network_tells}, and answers neither "
                "labels nor questions. Leave those out, or use a bundle with a language model"
            )

    def _asks_demographics(self, request: Request) -> bool:
        chosen = request.demographics
        return self.manifest.prompt.use_demographics if chosen is None else chosen

    def _label_question(self, request: Request, *, clip: bool) -> LabelQuestion:
        if self.label_network is not None and request.task is None:
            return self.label_network.question(request)
        if self.label_scorer is None or not self.tasks.asks_language(request):
            return NO_LABEL_QUESTION
        return self.label_scorer.question(request, clip=clip)

    def settings(self, request: Request | None = None, *, clip: bool = False) -> Settings:
        """Return the settings of every result of a request; raise InputError as `check` does.

        Args:
            request: as for `read`.
            clip: True gives the settings of `read_clip`, whose question speaks of a video.
        """
        request = request or Request()
        asked = self._label_question(request, clip=clip)
        return Settings(
            bundle=self.manifest.name,
            profile=self.engines.profile_name,
            variants=self.engines.variants(),
            device=self.engines.device,
            detector=WholeImage.name if self.tasks.reads_whole(request) else self.detector.name,
            labels=asked.labels,
            question=asked.question,
            demographics=self._asks_demographics(request),
            temperature=asked.temperature,
            prior_correction=asked.prior_correction,
            purpose=self.manifest.provenance.get("purpose", ""),
            emo_edge=__version__,
            face_facts=request.face_facts,
            show_demographics=request.show_demographics,
            question_cache=request.question_cache
            and request.task is None
            and self.engines.profile.question_cache is not None,
            deployment_purpose=self.deployment_purpose,
        )
