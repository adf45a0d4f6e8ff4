"""Procedural drawn faces with exact ground truth: single samples and clips, reproducible from (seed, index)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.camera import Camera, develop, sample_camera
from emo_edge.benchmarks.synthetic.compose import blank_canvas, draw_face, pose_face
from emo_edge.benchmarks.synthetic.expression import AU_INDEX, Difficulty, sample_action_units, sided_intensities
from emo_edge.benchmarks.synthetic.features import Face
from emo_edge.benchmarks.synthetic.geometry import FloatArray, View, rotation_matrix
from emo_edge.benchmarks.synthetic.identity import Identity, identity_attributes, sample_identity, visibility_points
from emo_edge.errors import InputError
from emo_edge.taxonomy import CELEBA_ATTRIBUTES, EXPRESSIONS

__all__ = ["Difficulty", "FaceClip", "FaceSample", "render_clip", "render_face"]

DEFAULT_DIFFICULTY = Difficulty()
FRAMES_PER_SECOND = 30.0
CLIP_FRAMES = 90
PULSE_GREY_LEVELS = 1.25
HOLD = 0.15
"""Time that an expression is held before and after its apex, as a fraction of the clip."""
PASSING_FRAMES = 6
"""In how many frames what lies over a face in a clip comes or goes."""


@dataclass(frozen=True)
class FaceSample:
    """One picture and its ground truth; left and right are the person's own.

    `image` uint8 [size,size,3] RGB. `action_units` float32 [17] 0..1 in ACTION_UNITS order. `landmarks` float32 [68,2]
    pixel x, y in iBUG order (integers are pixel centres; jaw points follow the visible outline). `pose` float32 [3]
    radians pitch, yaw, roll: pitch > 0 lifts the nose, yaw > 0 turns it to the image's right, roll > 0 tilts clockwise.
    `attributes` int8 [40] in CelebA order, 1 yes, 0 no, -1 not drawn. `visibility` uint8 [29], 1 hidden, for the points
    of COFW_POINTS. `age`, `gender`, `race` index AGE_BINS, GENDERS, RACES. `parsing` uint8 [size,size] in
    PARSING_CLASSES order, occluders are background. `box` float32 [4] x0, y0, x1, y1 in pixels: forehead to chin, ear
    to ear.
    """

    image: NDArray[np.uint8]
    expression: str
    action_units: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    pose: NDArray[np.float32]
    attributes: NDArray[np.int8]
    visibility: NDArray[np.uint8]
    age: int
    gender: int
    race: int
    parsing: NDArray[np.uint8]
    box: NDArray[np.float32]


@dataclass(frozen=True)
class FaceClip:
    """Frames of one face whose expression rises to `apex` (index into all frames) and falls.

    The mean green of the skin swings by about 1.25 grey levels at `pulse_hz`.
    """

    frames: list[FaceSample]
    fps: float
    pulse_hz: float
    expression: str
    apex: int


@dataclass(frozen=True)
class Plan:
    """All random choices of a sample but the sensor's noise; lengths are fractions of the picture's size."""

    person: Identity
    camera: Camera
    expression: str
    units: NDArray[np.float32]
    side: int
    pose: FloatArray
    height: float
    spot: FloatArray
    gaze: tuple[float, float]
    texture_seed: int


def _check(seed: int, index: int, size: int, expressions: Sequence[str]) -> None:
    if seed < 0 or index < 0:
        raise InputError(f"seed and index must not be negative, got seed={seed}, index={index}")
    if size < 32:
        raise InputError(f"size must be at least 32 pixels, got {size}")
    unknown = [name for name in expressions if name not in EXPRESSIONS]
    if unknown or not expressions:
        raise InputError(f"unknown or no expressions {unknown}; choose from {', '.join(EXPRESSIONS)}")


def sample_plan(seed: int, index: int, expressions: Sequence[str], difficulty: Difficulty) -> Plan:
    rng = np.random.default_rng([seed, index])
    expression = str(expressions[int(rng.integers(len(expressions)))])
    units, side = sample_action_units(rng, expression, difficulty)
    limits = np.array([difficulty.max_pitch, difficulty.max_yaw, difficulty.max_roll])
    pose = np.clip(rng.normal(0, difficulty.pose_sigma * np.array([0.8, 1.0, 0.6])), -limits, limits)
    person = sample_identity(rng)
    camera = sample_camera(rng, difficulty)
    if camera.occluder == "sunglasses":
        person = replace(person, glasses=False)
    if camera.occluder == "strand" and person.style == "bald":
        camera = replace(camera, occluder="hand")
    return Plan(
        person=person,
        camera=camera,
        expression=expression,
        units=units,
        side=side,
        pose=pose,
        height=float(rng.uniform(0.45, 0.72)),
        spot=np.array([rng.uniform(0.42, 0.58), rng.uniform(0.46, 0.54)]),
        gaze=(float(rng.normal(0, 0.015)), float(rng.normal(0, 0.006))),
        texture_seed=int(rng.integers(2**31)),
    )


def _view(plan: Plan, pose: FloatArray, size: int) -> View:
    shape = plan.person.shape
    scale = plan.height * size / (shape.chin + 0.85)
    middle = np.array([0.0, (shape.chin - 0.85) / 2, 0.3])
    rotation = rotation_matrix(*pose)
    centre = plan.spot * size - 0.5 - rotation[:2] @ middle * scale
    return View(shape, rotation, scale, centre)


class Moment(NamedTuple):
    """State of the face and its occluder in one frame of a clip."""

    blink: float = 0.0
    pulse: float = 0.0
    away: float = 0.0


STILL = Moment()


def render_moment(
    plan: Plan,
    size: int,
    noise: np.random.Generator,
    units: NDArray[np.float32],
    pose: FloatArray,
    moment: Moment = STILL,
) -> FaceSample:
    canvas = blank_canvas(plan.camera, plan.texture_seed, size)
    view = _view(plan, pose, size)
    face = pose_face(canvas, view, plan.person, sided_intensities(units, plan.side), moment.blink, plan.gaze)
    draw_face(face, plan.camera, (1.0, 1.0 + moment.pulse / max(plan.person.skin[1], 1), 1.0), moment.away)
    points = visibility_points(face.landmarks, face.pupils)
    return FaceSample(
        image=develop(canvas.image, plan.camera, noise),
        expression=plan.expression,
        action_units=units,
        landmarks=face.landmarks.astype(np.float32),
        pose=pose.astype(np.float32),
        attributes=_attributes(face, plan, units),
        visibility=_hidden(canvas.cover, points),
        age=plan.person.age,
        gender=plan.person.gender,
        race=plan.person.race,
        parsing=canvas.parsing,
        box=_face_box(face),
    )


def _hidden(cover: NDArray[np.uint8], points: FloatArray) -> NDArray[np.uint8]:
    """Mark points that are covered or outside the picture."""
    size = cover.shape[0]
    spots = np.round(points).astype(int)
    inside = ((spots >= 0) & (spots < size)).all(axis=1)
    x, y = np.clip(spots, 0, size - 1).T
    return np.asarray((cover[y, x] > 0) | ~inside, np.uint8)


def _face_box(face: Face) -> NDArray[np.float32]:
    top = face.view.on_face(np.array([[-0.5, -0.78], [0.0, -0.85], [0.5, -0.78]]))
    spots = np.concatenate([face.contour, top])
    return np.concatenate([spots.min(axis=0), spots.max(axis=0)]).astype(np.float32)


def _attributes(face: Face, plan: Plan, units: NDArray[np.float32]) -> NDArray[np.int8]:
    known = identity_attributes(plan.person)
    if plan.camera.occluder == "sunglasses":
        known["Eyeglasses"] = True
    opening = face.flat[[41, 40, 47, 46], 1] - face.flat[[37, 38, 43, 44], 1]
    known |= {
        "Smiling": bool(units[AU_INDEX[12]] > 0.2 and plan.side == 0),
        "Mouth_Slightly_Open": bool(face.flat[66, 1] - face.flat[62, 1] > 0.03),
        "Narrow_Eyes": bool(opening.mean() < 0.13),
        "Blurry": plan.camera.blur > 0.0,
    }
    return np.array([int(known[name]) if name in known else -1 for name in CELEBA_ATTRIBUTES], np.int8)


def render_face(
    seed: int,
    index: int,
    *,
    size: int = 224,
    expressions: Sequence[str] = EXPRESSIONS,
    difficulty: Difficulty = DEFAULT_DIFFICULTY,
) -> FaceSample:
    """Render sample `index` of the endless set `seed`, `size` pixels wide and high.

    The same arguments give the same bytes; another size gives the same face. Raises InputError on a negative seed or
    index, a size below 32 or an expression outside EXPRESSIONS.
    """
    _check(seed, index, size, expressions)
    plan = sample_plan(seed, index, expressions, difficulty)
    return render_moment(plan, size, np.random.default_rng([seed, index, 1]), plan.units, plan.pose)


def expression_envelope(num_frames: int, apex: int) -> NDArray[np.float64]:
    """Strength [num_frames] in 0..1 of a clip's expression: neutral, onset, held around `apex`, offset."""
    time = np.arange(num_frames) / max(num_frames - 1, 1)
    peak = apex / max(num_frames - 1, 1)
    rise = np.clip((time - 0.08) / max(peak - HOLD - 0.08, 1e-6), 0, 1)
    fall = np.clip((0.95 - time) / max(0.95 - peak - HOLD, 1e-6), 0, 1)
    level = np.minimum(rise, fall)
    return np.asarray(level * level * (3 - 2 * level))


def occluder_distance(num_frames: int, start: float, stay: float) -> NDArray[np.float64]:
    """Distance of an occluder from its position [num_frames]: 0 there, 1 next to the face.

    It arrives after the fraction `start` of the clip and leaves after the fraction `stay` more, each in PASSING_FRAMES.
    """
    frame = np.arange(num_frames)
    before, after = start * num_frames - frame, frame - (start + stay) * num_frames
    return np.asarray(np.clip(np.maximum(before, after) / PASSING_FRAMES, 0, 1))


def render_clip(
    seed: int,
    index: int,
    *,
    size: int = 224,
    num_frames: int = CLIP_FRAMES,
    expressions: Sequence[str] = EXPRESSIONS,
    frame_indices: Sequence[int] | None = None,
    difficulty: Difficulty = DEFAULT_DIFFICULTY,
) -> FaceClip:
    """Render clip `index` of the set `seed` at 30 frames a second: one expression from onset over apex to offset.

    What lies over the face comes and goes: it is in place for a quarter to a half of the clip.
    `frame_indices` renders only those frames, each exactly as in the whole clip. The pulse lies in 0.8..2.0 Hz. Raises
    InputError like `render_face`, for fewer than 8 frames and for an index outside the clip.
    """
    _check(seed, index, size, expressions)
    chosen = list(range(num_frames)) if frame_indices is None else list(frame_indices)
    if num_frames < 8 or any(not 0 <= k < num_frames for k in chosen):
        raise InputError(f"a clip needs at least 8 frames and indices below num_frames={num_frames}, got {chosen[:8]}")
    plan = sample_plan(seed, index, expressions, difficulty)
    rng = np.random.default_rng([seed, index, 2])
    apex = round(num_frames * rng.uniform(0.42, 0.58))
    pulse_hz, phase, sway = rng.uniform(0.8, 2.0), rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi, 3)
    camera = replace(plan.camera, jpeg=max(plan.camera.jpeg, 85), noise=min(plan.camera.noise, 2.0))
    plan = replace(plan, camera=camera)
    blink_at = rng.uniform(0.05, 0.95) * num_frames
    level = expression_envelope(num_frames, apex)
    away = occluder_distance(num_frames, rng.uniform(-0.2, 0.7), rng.uniform(0.25, 0.5))
    clear = replace(plan, camera=replace(camera, occluder="none"))
    frames = []
    for k in chosen:
        time = k / FRAMES_PER_SECOND
        pose = plan.pose + 0.035 * np.sin(2 * np.pi * 0.22 * time + sway)
        blink = float(np.exp(-(((k - blink_at) / 2.4) ** 2)))
        pulse = PULSE_GREY_LEVELS * float(np.sin(2 * np.pi * pulse_hz * time + phase))
        noise = np.random.default_rng([seed, index, 3, k])
        units = (plan.units * level[k]).astype(np.float32)
        shown = clear if away[k] == 1 else plan
        frames.append(render_moment(shown, size, noise, units, pose, Moment(blink, pulse, float(away[k]))))
    return FaceClip(frames, FRAMES_PER_SECOND, float(pulse_hz), plan.expression, apex)
