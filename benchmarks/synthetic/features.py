"""Draw the features of the face: eyes, brows, nose, mouth, and the folds of action units and age."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.canvas import Canvas, Colour, blend, ribbon
from emo_edge.benchmarks.synthetic.expression import AU_INDEX
from emo_edge.benchmarks.synthetic.geometry import FloatArray, View, smooth_curve
from emo_edge.benchmarks.synthetic.identity import Identity
from emo_edge.taxonomy import PARSING_CLASSES, RACES

CLASS = {name: row for row, name in enumerate(PARSING_CLASSES)}
"""Parsing class of each region name."""


@dataclass(frozen=True)
class Face:
    """A posed face while it is drawn.

    `flat` [68,2] are its landmarks in face units, `landmarks` [68,2] and `pupils` [2,2] in pixels, `contour` [n,2] its
    outline, `units` [17,2] the sided intensities.
    """

    canvas: Canvas
    view: View
    person: Identity
    units: NDArray[np.float32]
    flat: FloatArray
    landmarks: FloatArray
    pupils: FloatArray
    contour: FloatArray

    def unit(self, number: int, half: int | None = None) -> float:
        """Intensity of an action unit on one half (0 the person's right) or its mean."""
        row = self.units[AU_INDEX[number]]
        return float(row.mean() if half is None else row[half])

    def aged(self, years: float) -> float:
        """Ramp from 0 to 1 over the four years around an age."""
        return min(max((self.person.years - years + 2.0) / 4.0, 0.0), 1.0)

    def px(self, length: float) -> float:
        """Turn a length in face units into pixels."""
        return length * self.view.scale

    def line(self, points: list[tuple[float, float]], strength: float, width: float = 0.03) -> None:
        """Fold a dark line into the skin along points in face units; below 0.12 nothing is drawn."""
        if strength < 0.12:
            return
        curve = smooth_curve(self.view.on_face(np.array(points)), 4)
        depth = min(strength, 1.0) * 0.5
        self.canvas.stroke(curve, blend(self.person.skin, shadow_colour(self.person.skin), depth + 0.1), self.px(width))


def shadow_colour(skin: Colour) -> Colour:
    """Colour of deep folds in a skin."""
    r, g, b = skin
    return (int(r * 0.42), int(g * 0.27), int(b * 0.25))


def draw_eyes(face: Face) -> None:
    """Draw both eyes: eyeball, iris, lids and lashes."""
    for half, start in ((0, 36), (1, 42)):
        ring = face.landmarks[start : start + 6]
        upper, lower = smooth_curve(ring[:4], 5), smooth_curve(ring[[3, 4, 5, 0]], 5)
        outline = np.concatenate([upper, lower[1:-1]])
        label = CLASS["right_eye" if half == 0 else "left_eye"]
        _draw_makeup(face, upper)
        _draw_eyeball(face, half, outline)
        face.canvas.mark(outline, label)
        _draw_lids(face, half, upper, lower)


def _draw_makeup(face: Face, upper: FloatArray) -> None:
    if not face.person.makeup:
        return
    lift = np.array([0.0, -face.px(0.11)])
    shade = blend(face.person.skin, (120, 60, 110), 0.45)
    face.canvas.fill(
        np.concatenate([upper, (upper + lift * np.sin(np.linspace(0, np.pi, len(upper)))[:, None])[::-1]]), shade
    )


def _draw_eyeball(face: Face, half: int, outline: FloatArray) -> None:
    iris, centre, radius = face.person.iris, face.pupils[half], face.px(0.112)
    parts = [
        (_disc(centre, radius), blend(iris, (10, 8, 8), 0.55)),
        (_disc(centre, radius * 0.82), iris),
        (_disc(centre, radius * 0.45), (12, 10, 12)),
        (_disc(centre + np.array([-0.35, -0.35]) * radius, radius * 0.22), (255, 255, 255)),
    ]
    face.canvas.paint_through(outline, (244, 240, 236), parts)


_ANGLES = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)


def _disc(centre: FloatArray, radius: float) -> FloatArray:
    return np.asarray(centre + _CIRCLE * radius)


def _draw_lids(face: Face, half: int, upper: FloatArray, lower: FloatArray) -> None:
    person = face.person
    ink = blend(shadow_colour(person.skin), (16, 10, 10), 0.75)
    lashes = 0.05 if person.gender == 1 else 0.036
    face.canvas.stroke(upper, ink, face.px(lashes + 0.02 * person.makeup), taper=False)
    face.canvas.stroke(lower, blend(person.skin, shadow_colour(person.skin), 0.55 + 0.2 * person.makeup), face.px(0.02))
    if person.gender == 1 or person.child > 0.6:
        outer = face.landmarks[36 if half == 0 else 45]
        side = -1.0 if half == 0 else 1.0
        wing = outer + np.array([(0.0, 0.0), (side * 0.05, -0.02), (side * 0.09, -0.06)]) * face.view.scale
        face.canvas.stroke(wing, ink, face.px(0.035))
    crease = face.unit(5, half) * 0.02 + 0.055 - 0.03 * face.unit(7, half) - 0.02 * person.wrinkles
    if RACES[person.race] != "Asian" or face.unit(5, half) > 0.3:
        face.canvas.stroke(
            upper - (0, face.px(crease)), blend(person.skin, shadow_colour(person.skin), 0.5), face.px(0.022)
        )


def draw_brows(face: Face) -> None:
    """Draw the eyebrows along landmarks 17..26."""
    width = face.px(face.person.brow_width)
    for start, label, flip in ((17, "right_eyebrow", False), (22, "left_eyebrow", True)):
        curve = smooth_curve(face.landmarks[start : start + 5], 4)
        profile = np.interp(np.linspace(0, 1, len(curve)), [0, 0.35, 0.8, 1.0], [0.25, 0.85, 1.15, 0.8])
        outline = ribbon(curve, (profile[::-1] if flip else profile) * width)
        face.canvas.fill(outline, face.person.brow, CLASS[label])


def draw_nose(face: Face) -> None:
    """Draw the nose: its wings, base and nostrils; shading gives it the ridge."""
    shape, points, skin = face.person.shape, face.landmarks, face.person.skin
    up = face.flat[31:36, 1].mean() - shape.nose_y - 0.04
    half = (face.flat[35, 0] - face.flat[31, 0]) / 2
    ys = np.array([0.04, shape.nose_y * 0.5, shape.nose_y - 0.12 + up, shape.nose_y - 0.03 + up])
    xs = np.array([0.07, 0.085, half * 0.92, half * 1.12])
    left = np.stack([-xs, ys], axis=-1)
    rim = face.view.on_face(np.concatenate([left, (left * (-1, 1))[::-1]]))
    outline = np.concatenate([rim[:4], points[31:36], rim[4:]])
    face.canvas.mark(smooth_curve(outline, 3, closed=True), CLASS["nose"])
    dark = blend(skin, shadow_colour(skin), 0.62)
    for side, wing, hole in ((-1.0, 31, 32), (1.0, 35, 34)):
        y = face.flat[wing, 1]
        arc = face.view.on_face(
            np.array([[side * half * 0.85, y - 0.13], [side * half * 1.14, y - 0.06], [side * half * 1.08, y + 0.015]])
        )
        face.canvas.stroke(
            smooth_curve(np.concatenate([arc, points[[wing]] * 0.6 + points[[hole]] * 0.4]), 4), dark, face.px(0.026)
        )
        spot = points[hole] * 0.75 + points[wing] * 0.25 - (0, face.px(0.012))
        axis = (points[35] - points[31]) / max(float(np.linalg.norm(points[35] - points[31])), 1e-6)
        ring = _CIRCLE * (face.px(half * 0.3), face.px(0.026))
        ring = ring @ np.array([[axis[0], axis[1]], [-axis[1], axis[0]]])
        face.canvas.fill(spot + ring, blend(shadow_colour(skin), (20, 8, 8), 0.5))
    face.canvas.stroke(smooth_curve(points[31:36], 4), dark, face.px(0.022))


def draw_mouth(face: Face) -> None:
    """Draw lips, the inner mouth and teeth from landmarks 48..67."""
    p, person = face.landmarks, face.person
    outer_top, outer_low = smooth_curve(p[48:55], 4), smooth_curve(p[[54, 55, 56, 57, 58, 59, 48]], 4)
    inner_top, inner_low = smooth_curve(p[60:65], 5), smooth_curve(p[[64, 65, 66, 67, 60]], 5)
    upper = np.concatenate([outer_top, inner_top[::-1]])
    lower = np.concatenate([outer_low, inner_low[::-1]])
    face.canvas.fill(upper, blend(person.lips, shadow_colour(person.lips), 0.2), CLASS["upper_lip"])
    face.canvas.fill(lower, person.lips, CLASS["lower_lip"])
    _draw_inside(face, np.concatenate([inner_top, inner_low[1:-1]]), inner_top)
    ink = blend(shadow_colour(person.skin), (30, 6, 10), 0.6)
    closed = np.linalg.norm(p[66] - p[62]) < face.px(0.03)
    seam = np.concatenate([p[[48]], p[60:65], p[[54]]])
    if closed:
        face.canvas.stroke(smooth_curve(seam, 4), ink, face.px(0.035 + 0.015 * face.unit(24)))
    else:
        face.canvas.stroke(inner_top, ink, face.px(0.02))
    middle = p[[66]].repeat(3, 0) * 0.45 + p[[67, 57, 65]] * 0.55
    middle[1] = p[66] * 0.5 + p[57] * 0.5
    if person.lipstick:
        face.canvas.stroke(smooth_curve(middle, 4), blend(person.lips, (255, 240, 240), 0.25), face.px(0.025))


def _draw_inside(face: Face, outline: FloatArray, top: FloatArray) -> None:
    """Draw what an open mouth shows: upper teeth and, wide open, the tongue."""
    gap = float(np.linalg.norm(face.landmarks[66] - face.landmarks[62]))
    parts: list[tuple[FloatArray, Colour]] = []
    if gap > face.px(0.02):
        down = (face.landmarks[66] - face.landmarks[62]) / gap
        if gap > face.px(0.18):
            parts.append((_disc(face.landmarks[66] - down * gap * 0.1, face.px(0.14)), (190, 80, 84)))
        drop = min(gap * 0.42, face.px(0.12)) * np.sin(np.pi * np.linspace(0.0, 1.0, len(top))) ** 0.4
        parts.append((np.concatenate([top - down * 2, (top + down * drop[:, None])[::-1]]), (240, 236, 226)))
    face.canvas.paint_through(outline, (66, 14, 22), parts)
    face.canvas.mark(outline, CLASS["inner_mouth"])


def draw_folds(face: Face) -> None:
    """Fold the skin where action units and age do: forehead, glabella, crow's feet, nose, cheeks, mouth, chin."""
    _forehead_folds(face)
    for half, side in ((0, -1.0), (1, 1.0)):
        _eye_folds(face, half, side)
        _nose_folds(face, half, side)
        _mouth_folds(face, half, side)
    _chin_folds(face)
    _draw_spots(face)


def _draw_spots(face: Face) -> None:
    """Draw a teenager's pimples or an old skin's dark spots."""
    for x, y, size, red in face.person.spots:
        tone = (200, 60, 50) if red else shadow_colour(face.person.skin)
        face.canvas.fill(_disc(face.view.on_face(np.array([x, y])), face.px(size)), blend(face.person.skin, tone, 0.45))


def _forehead_folds(face: Face) -> None:
    inner, outer = face.unit(1), face.unit(2)
    brow = face.person.shape.brow_y
    aged = 0.4 * face.aged(40) + 0.25 * face.aged(50) + 0.2 * face.aged(70)
    for step, lift in enumerate((0.2, 0.3, 0.4)):
        y = brow - lift - 0.06 * max(inner, outer)
        face.line(
            [(-0.28, y + 0.02), (0.0, y - 0.02 * outer), (0.28, y + 0.02)],
            max(inner * 0.9, aged * (step < 2 or face.aged(50))),
        )
        for side in (-1.0, 1.0):
            face.line(
                [(side * 0.62, y + 0.1), (side * 0.45, y + 0.03), (side * 0.27, y + 0.01)], max(outer * 0.9, aged)
            )
    frown = max(face.unit(4), 0.7 * face.unit(9))
    for side in (-1.0, 1.0):
        face.line(
            [(side * 0.07, brow - 0.1), (side * 0.055, brow + 0.02), (side * 0.075, brow + 0.15)], frown * 1.3, 0.036
        )


def _eye_folds(face: Face, half: int, side: float) -> None:
    corner = face.flat[36 if half == 0 else 45]
    feet = max(face.unit(6, half), 0.55 * face.aged(40) + 0.3 * face.aged(60))
    for angle in (-0.5, 0.0, 0.5):
        tip = (corner[0] + side * 0.24, corner[1] + 0.2 * angle + 0.02)
        face.line([(corner[0] + side * 0.07, corner[1] + 0.07 * angle), tip], feet, 0.026)
    low = face.flat[[41, 40] if half == 0 else [46, 47]]
    x, y = low[:, 0].mean(), low[:, 1].max()
    pouch = max(face.unit(6, half), face.unit(7, half) * 0.8, 0.8 * face.person.bags, 0.5 * face.aged(50))
    reach = face.person.shape.eye_half
    inner = x - side * reach
    face.line([(inner, y + 0.02), (inner + side * 0.1, y + 0.11), (x, y + 0.15)], 0.65 * face.aged(30), 0.034)
    face.line([(x - reach, y + 0.03), (x, y + 0.085), (x + reach, y + 0.03)], pouch, 0.03)


def _nose_folds(face: Face, half: int, side: float) -> None:
    strength = face.unit(9, half) * 1.3
    tip = face.person.shape.nose_y
    for step in range(3):
        y = tip * (0.22 + 0.2 * step)
        face.line(
            [(side * 0.02, y - 0.05), (side * 0.09, y - 0.01), (side * (0.15 + 0.02 * step), y + 0.06)], strength, 0.034
        )
    face.line([(0.0, 0.0), (side * 0.09, -0.03)], strength, 0.03)


def _mouth_folds(face: Face, half: int, side: float) -> None:
    wing, corner = face.flat[31 if half == 0 else 35], face.flat[48 if half == 0 else 54]
    creased = 0.55 * face.aged(30) + 0.2 * face.aged(50) + 0.2 * face.aged(70)
    smile, sneer = face.unit(12, half), face.unit(10, half)
    start = (wing[0] + side * 0.05, wing[1] - 0.06)
    middle = (corner[0] * 0.6 + wing[0] * 0.4 + side * 0.14, (wing[1] + corner[1]) / 2 - 0.04)
    end = (corner[0] + side * 0.12, corner[1] + 0.02)
    face.line([start, middle, end], max(smile, creased), 0.036)
    face.line([(start[0], start[1] - 0.03), (middle[0] + side * 0.02, middle[1] - 0.03)], sneer * 1.2, 0.04)
    dimple = face.unit(14, half) * 1.3
    x, y = corner[0] + side * 0.07, corner[1]
    face.line([(x, y - 0.1), (x + side * 0.045, y), (x, y + 0.1)], dimple, 0.055)
    face.line(
        [(x - side * 0.03, y + 0.04), (x + side * 0.01, y + 0.22)],
        max(face.unit(15, half), 0.5 * face.aged(60) + 0.3 * face.aged(70)),
        0.036,
    )
    stretch = face.unit(20, half)
    face.line([(x + side * 0.05, y - 0.07), (x + side * 0.08, y + 0.05), (x + side * 0.06, y + 0.16)], stretch, 0.03)
    for offset in (0.08, 0.18):
        tight = 0.7 * max(face.unit(23), face.unit(24) * 0.8)
        face.line([(side * offset, corner[1] - 0.17), (side * offset * 0.85, corner[1] - 0.08)], tight, 0.022)


def _chin_folds(face: Face) -> None:
    boss, press = face.unit(17), face.unit(24)
    low, chin = face.flat[57, 1], face.flat[8, 1]
    y = low * 0.75 + chin * 0.25
    face.line([(-0.2, y + 0.04), (0.0, y - 0.02), (0.2, y + 0.04)], max(boss * 1.2, press, 0.25), 0.034)
    for x, dy in ((-0.1, 0.4), (0.0, 0.5), (0.1, 0.4), (-0.05, 0.65), (0.06, 0.65)):
        spot = low + (chin - low) * dy + 0.02
        face.line([(x - 0.025, spot), (x + 0.025, spot + 0.012)], boss * 1.1, 0.03)
    if face.person.double_chin:
        face.line([(-0.3, chin - 0.1), (0.0, chin - 0.02), (0.3, chin - 0.1)], 0.8, 0.035)
