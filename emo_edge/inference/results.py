"""Requests and results of the pipeline: results carry their settings and the time of each stage.

`EmotionResult.to_dict` is the JSON that ``emo-edge infer`` prints: it is part of ``emo_edge/schemas/result-2.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import EmoEdgeError, InputError
from emo_edge.faces.detector import Point
from emo_edge.faces.second_look import SecondLook
from emo_edge.inference.action_units import UnitReading
from emo_edge.inference.signals.heart_rate import HeartRate
from emo_edge.inference.tasks.answers import TaskAnswer
from emo_edge.inference.tasks.moments import Moments
from emo_edge.inference.tasks.spotting import SpottedMovement
from emo_edge.media.crops import Box, Image
from emo_edge.media.sources import without_password
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.utils.text import utf8_name, utf8_text

RESULT_VERSION, READING_VERSION = 1, 1
"""Of results without action units, task and purpose."""
UNITS_RESULT_VERSION, UNITS_READING_VERSION = 2, 2
"""Of results with action units, the answer of a task, or a stated purpose."""


@dataclass(frozen=True)
class Request:
    """Labels, questions and options for every face of a reading."""

    labels: str | tuple[str, ...] | None = None
    """Name of one of the bundle's label sets, or the labels themselves; None takes rafdb7, else its first set; of a
    network of labels one that holds all of them."""
    describe: bool = False
    """True also answers the bundle's own question for a description."""
    ask: str | None = None
    """A question of the user's, answered too."""
    demographics: bool | None = None
    """True puts a sentence about age, gender and race into the prompt; None follows the bundle."""
    prior_correction: bool | None = None
    """True subtracts the scores of a blank image; None follows the bundle."""
    temperature: float | None = None
    """Divides the label scores; None follows the bundle."""
    question_cache: bool = True
    """False computes every position of the prompt, also where the profile takes the question's from its cache."""
    sampling: Sampling = field(default_factory=Sampling)
    """Options of answers: length, temperature, top-p, seed."""
    on_piece: Callable[[str], None] | None = None
    """Called with each piece of an answer as it is written, and with a line's end after the last.

    It runs under the pipeline's lock: it must not use the pipeline, and other threads wait while it runs.
    """
    face_facts: bool = False
    """True returns the face network's attributes, without those that give age and gender away."""
    show_demographics: bool = False
    """True returns age, gender and race, and the attributes that give them away; the prompt stays as it is."""
    task: str | None = None
    """One of the bundle's affective tasks, with its own question and labels; None scores ``labels``."""
    answer: str | None = None
    """open, choice or judgement; None takes the first of choice, open and judgement that the task has."""
    label: str | None = None
    """That a judgement is about."""
    heart_rate: HeartRate | None = None
    """For the task heart-rate: `stream` measures it; a caller with frames of his own gives it."""
    movement: SpottedMovement | None = None
    """For a task of one movement: `stream` fills it in where it spots the frames itself; the result records it."""


@dataclass(frozen=True)
class Settings:
    """Everything that a result depends on but the image, so that it can be computed again."""

    bundle: str
    profile: str
    variants: dict[str, str]
    device: str
    detector: str
    labels: tuple[str, ...]
    question: str
    demographics: bool
    """True if the prompt holds a sentence about age, gender and race, whether or not the result shows them."""
    temperature: float
    prior_correction: bool
    purpose: str
    """The checkpoint's own statement of what it is for."""
    emo_edge: str
    face_facts: bool = False
    show_demographics: bool = False
    question_cache: bool = False
    """True if the question's keys and values were those about a grey picture; before a reading, if they may be."""
    deployment_purpose: str = ""
    """Stated by whoever runs the program, once, when the pipeline is opened; empty where nobody states one."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; a purpose that nobody states is left out."""
        # `asdict` copies every value in depth, which takes longer than the rest of a reading's JSON.
        values = {**vars(self), "variants": dict(self.variants), "labels": list(self.labels)}
        return values if self.deployment_purpose else {k: v for k, v in values.items() if k != "deployment_purpose"}


@dataclass(frozen=True)
class FaceAttributes:
    """Outputs of the face network that were asked for; of a clip, of its middle frame.

    Age, gender and race of a clip are means over its frames.
    """

    landmarks: NDArray[np.float32]
    """[68, 2] x, y in frame pixels, iBUG order."""
    pose_degrees: dict[str, float]
    """pitch, yaw, roll."""
    attributes: dict[str, float]
    """Probability by CelebA attribute; empty unless ``Request.face_facts`` asks for them."""
    hidden_points: NDArray[np.float32]
    """[29] probability that a COFW point is not visible; unverified of FaceXFormer: see `VISIBILITY_POINTS`."""
    demographics: dict[str, dict[str, float]]
    """Probabilities of age, gender and race by label; empty unless ``Request.show_demographics`` asks for them."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, rounded to the network's resolution."""
        return {
            "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in self.landmarks],
            "pose_degrees": _rounded(self.pose_degrees, 1),
            "attributes": _rounded(self.attributes),
            "hidden_points": [round(float(value), 3) for value in self.hidden_points],
            "demographics": {name: _rounded(values) for name, values in self.demographics.items()},
        }


@dataclass(frozen=True)
class EmotionResult:
    """One face of an image, or one face through a clip."""

    box: Box
    """x0, y0, x1, y1 in frame pixels; of a clip, in its middle frame, or the nearest one that shows the face."""
    detection_score: float | None
    frames: int
    """Number of frames that were read: 1 for an image."""
    probabilities: dict[str, float]
    """By label, in the order of the labels; they add up to one. Empty where the bundle gives no labels."""
    face: FaceAttributes | None
    answers: dict[str, str]
    """Answers by question."""
    stage_ms: dict[str, float]
    """Wall time by stage; networks that read several faces at once are counted in each of them."""
    settings: Settings
    cold: bool = False
    """True for the first reading of an opened pipeline: its engines still allocate and load, which its times hold."""
    frame: int = 0
    """Of a clip, the index of the frame that ``box`` and ``face`` belong to, among the frames that were given."""

    points: tuple[Point, ...] | None = None
    """x, y in frame pixels of both eyes, the nose and both corners of the mouth, where the detector gives them."""
    values: dict[str, float] = field(default_factory=dict)
    """By name, such as valence and arousal, each on its scale in the manifest; empty where the bundle gives none."""
    action_units: dict[str, UnitReading] = field(default_factory=dict)
    """By name, such as AU12; of a clip, of its middle frame. Empty where the bundle gives none."""
    task: TaskAnswer | None = None
    """Answer of the task that was asked for."""
    rotation: int = 0
    """Degrees by which an image was turned, counter-clockwise, before it was read. ``box``, ``points`` and landmarks
    are in the image as given; head pose is in the turned one."""
    whole_image: bool = False
    """True for an image in which no face was found and that was read as a whole, because it looks like the crop of one.
    False where the whole image was asked for."""

    def turned_back(self, look: SecondLook) -> EmotionResult:
        """Return the result with its places in the given image instead of the one that was read."""
        if not look.rotation:
            return self
        points = self.points and tuple(map(tuple, look.given_points(np.array(self.points)).tolist()))
        face = self.face and replace(self.face, landmarks=look.given_points(self.face.landmarks))
        return replace(self, box=look.given_box(self.box), points=points, face=face, rotation=look.rotation)

    @property
    def label(self) -> str | None:
        """The most probable label; None where there are none."""
        return max(self.probabilities, key=self.probabilities.__getitem__, default=None)

    @property
    def is_newer(self) -> bool:
        """True if the JSON object holds what its first version does not know."""
        return bool(self.action_units or self.task or self.settings.deployment_purpose)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of this face."""
        units = {name: unit.to_dict() for name, unit in self.action_units.items()}
        return {
            "reading_version": UNITS_READING_VERSION if self.is_newer else READING_VERSION,
            "cold": self.cold,
            "label": self.label,
            "probabilities": _rounded(self.probabilities, 5),
            **({"values": _rounded(self.values, 5)} if self.values else {}),
            "box": [round(float(value), 1) for value in self.box],
            "detection_score": None if self.detection_score is None else round(self.detection_score, 3),
            **({"points": [[round(float(x), 1), round(float(y), 1)] for x, y in self.points]} if self.points else {}),
            "frames": self.frames,
            # A clip may show its face in one frame alone.
            **({"frame": self.frame} if self.frames > 1 or self.frame else {}),
            **({"rotation": self.rotation} if self.rotation else {}),
            **({"whole_image": True} if self.whole_image else {}),
            "face": self.face.to_dict() if self.face else None,
            **({"action_units": units} if units else {}),
            "answers": dict(self.answers),
            **self._task_values(),
            "stage_ms": _rounded(self.stage_ms, 2),
            "settings": self.settings.to_dict(),
        }

    def _task_values(self) -> dict[str, Any]:
        if self.task is None:
            return {}
        calls = [call.to_dict() for call in self.task.tool_calls]
        return {"task": self.task.to_dict(), **({"tool_calls": calls} if calls else {})}


def _rounded(values: dict[str, float], digits: int = 3) -> dict[str, float]:
    return {name: round(float(value), digits) for name, value in values.items()}


@dataclass(frozen=True)
class ClipSampling:
    """Frames of a clip: ``frames`` of them, evenly from a whole video, or clip after clip at ``fps`` as it plays."""

    frames: int = 8
    fps: float | None = None
    faces: Literal["all", "largest"] | None = None
    """Faces to read; None takes all of a picture and the largest of a clip."""
    moments: Moments | None = None
    """Three frames of a video to read instead, for a task of one movement; None spots them by the action units."""

    def __post_init__(self) -> None:
        if self.faces not in (None, "all", "largest"):
            raise InputError(f'`faces` is "all" or "largest", not {self.faces!r}')
        if self.frames < 1 or (self.fps is not None and not 0 < self.fps <= 240):
            raise InputError(f"a clip needs frames >= 1 and 0 < fps <= 240, not {self.frames} and {self.fps}")


@dataclass(frozen=True)
class SourceResult:
    """The faces of one image or one clip, or the error that kept it from being read."""

    source: str
    kind: str
    """image or clip."""
    faces: list[EmotionResult]
    image: Image | None
    """The picture the boxes lie in (of a clip, the frame of the first face's box); None after an error."""
    seconds: tuple[float, float] | None = None
    """First and last frame of a clip, in seconds from the start of its segment."""
    error: EmoEdgeError | None = None
    segment: int = 0
    """Of a clip: the number of jumps of the video's time stamps before it."""

    @property
    def version(self) -> int:
        """Version of the JSON object: the second where a face has what the first does not know."""
        return UNITS_RESULT_VERSION if any(face.is_newer for face in self.faces) else RESULT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of this result; its schema is ``emo_edge/schemas/result-2.json``."""
        segment = {} if self.seconds is None else {"segment": self.segment}
        return {
            "result_version": self.version,
            "source": utf8_name(without_password(self.source)),
            "kind": self.kind,
            "size": None if self.image is None else [self.image.shape[1], self.image.shape[0]],
            "seconds": None if self.seconds is None else [round(value, 3) for value in self.seconds],
            **segment,
            "readings": [face.to_dict() for face in self.faces],
            "error": None if self.error is None else utf8_text(str(self.error)),
        }
