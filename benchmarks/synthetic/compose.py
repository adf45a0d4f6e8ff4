"""Compose one picture: background, body, head, features, light, hair and what lies over them."""

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.camera import Camera, background, draw_occluder
from emo_edge.benchmarks.synthetic.canvas import Canvas, blend
from emo_edge.benchmarks.synthetic.features import CLASS, Face, draw_brows, draw_eyes, draw_folds, draw_mouth, draw_nose
from emo_edge.benchmarks.synthetic.geometry import View, expressed_landmarks, face_contour, smooth_curve
from emo_edge.benchmarks.synthetic.hair import (
    draw_back_hair,
    draw_beard,
    draw_ears,
    draw_front_hair,
    draw_hat,
    draw_jewellery,
    skull_outline,
)
from emo_edge.benchmarks.synthetic.identity import Identity
from emo_edge.benchmarks.synthetic.shading import shade_face


def pose_face(
    canvas: Canvas, view: View, person: Identity, units: NDArray[np.float32], blink: float, gaze: tuple[float, float]
) -> Face:
    """Place a person's expressed landmarks in the picture; jaw landmarks lie on the visible outline."""
    flat = expressed_landmarks(person.shape, units, blink)
    landmarks = view.on_face(flat)
    contour = face_contour(view, flat[:17])
    landmarks[:17] = contour[::4]
    eyes = np.array([[-person.shape.eye_x, -0.012], [person.shape.eye_x, -0.012]]) + np.array(gaze)
    return Face(canvas, view, person, units, flat, landmarks, view.on_face(eyes), contour)


def draw_face(face: Face, camera: Camera, gains: tuple[float, float, float], away: float) -> None:
    """Draw everything from the back hair to the occluder, `away` from its place, onto the face's canvas."""
    draw_back_hair(face)
    _draw_body(face)
    draw_ears(face)
    head = np.concatenate([face.contour, skull_outline(face)[::-1]])
    face.canvas.fill(head, face.person.skin, CLASS["skin"])
    draw_folds(face)
    draw_nose(face)
    draw_beard(face)
    draw_mouth(face)
    draw_eyes(face)
    draw_brows(face)
    shade_face(face, camera.light, camera.ambient, face.canvas.mask(head), gains)
    draw_jewellery(face)
    draw_front_hair(face)
    draw_hat(face)
    draw_occluder(face, camera, away)


def _draw_body(face: Face) -> None:
    person, shape = face.person, face.person.shape
    scale, centre = face.view.scale, face.view.centre
    half = (0.5 if person.gender == 0 else 0.4) * (1 - 0.2 * person.child) + 0.06 * person.chubby
    top = face.view.project(np.array([[half, 0.6, -0.2], [-half, 0.6, -0.2]]))
    base = centre + np.array([[-half - 0.1, shape.chin + 0.95], [half + 0.1, shape.chin + 0.95]]) * scale
    neck = blend(person.skin, (70, 25, 15), 0.28)
    shadow = (face.contour[16:49] + np.array([0.0, 0.16 * scale]), blend(neck, (40, 14, 10), 0.3))
    face.canvas.paint_through(np.concatenate([top, base]), neck, [shadow])
    wide = (1.75 if person.gender == 0 else 1.45) * (1 - 0.25 * person.child)
    rise = shape.chin + 0.3
    shirt = np.array(
        [
            (-half, rise + 0.02),
            (0, rise + 0.3),
            (half, rise + 0.02),
            (wide * 0.7, rise + 0.22),
            (wide, rise + 0.6),
            (wide + 0.1, 4.5),
            (-wide - 0.1, 4.5),
            (-wide, rise + 0.6),
            (-wide * 0.7, rise + 0.22),
        ]
    )
    face.canvas.fill(smooth_curve(shirt * scale + centre, 3, closed=True), person.shirt, CLASS["background"])


def blank_canvas(camera: Camera, seed: int, size: int) -> Canvas:
    """Start a picture [size,size] with its background painted."""
    return Canvas(background(camera, seed, size), np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8))
