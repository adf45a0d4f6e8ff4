"""Hair, beard, hat and the other things a head wears."""

import numpy as np

from emo_edge.benchmarks.synthetic.canvas import Colour, blend
from emo_edge.benchmarks.synthetic.features import CLASS, Face
from emo_edge.benchmarks.synthetic.geometry import FloatArray, smooth_curve

_LONG = ("long", "bangs_long")


def _scalp(face: Face, volume: float, reach: float = 105.0, count: int = 25) -> FloatArray:
    """Outline [count,2] in pixels over the crown, image left to right.

    The skull is close to a sphere, so its outline turns with the roll only, around its projected centre.
    """
    angle = np.radians(np.linspace(-reach, reach, count))
    ripple = 1 + 0.03 * face.person.wave * np.sin(angle * 15) * (volume > 0)
    x, y = np.sin(angle) * (1.0 + volume * 0.8) * ripple, -np.cos(angle) * (1.02 + volume) * ripple
    down = face.view.rotation[:2, 1] / np.linalg.norm(face.view.rotation[:2, 1])
    across = np.array([down[1], -down[0]])
    centre = face.view.project(np.array([0.0, -0.42, -0.05]))
    return np.asarray(centre + (x[:, None] * across + y[:, None] * down) * face.view.scale)


def skull_outline(face: Face) -> FloatArray:
    """Trace the bare skull over the forehead, image left to right, in pixels [n,2]."""
    return _scalp(face, 0.0, 95.0)


def _lengths(face: Face) -> float:
    return {"long": 1.9, "bangs_long": 1.75, "bob": 1.2, "short": 0.35, "bangs": 0.35, "bun": 0.1}.get(
        face.person.style, 0.15
    )


def draw_back_hair(face: Face) -> None:
    """Draw what hangs or stands behind the head and neck."""
    person, length = face.person, _lengths(face)
    if person.style in ("bald", "receding", "buzz") or (person.style in ("short", "bangs") and person.gender == 0):
        return
    dark = blend(person.hair, (0, 0, 0), 0.28)
    if person.style == "bun":
        ring = np.radians(np.linspace(0, 330, 12))
        knot = np.stack([0.36 * np.cos(ring), -1.62 + 0.3 * np.sin(ring), np.full(12, -0.5)], axis=-1)
        if not person.hat:
            face.canvas.fill(smooth_curve(face.view.project(knot), 3, closed=True), dark, CLASS["hair"])
        return
    top = _scalp(face, person.volume, 95.0)
    down = np.linspace(0.0, length, 7)
    sway = 0.06 * person.wave * np.sin(down * 9)
    wide = 1.02 + person.volume * 0.8 + 0.06 * np.sin(down / max(length, 0.1) * np.pi)
    wide[-1] -= 0.22
    right = np.stack([wide + sway, down, np.full(7, -0.25)], axis=-1)
    left = right[::-1] * (-1, 1, 1)
    outline = np.concatenate([top, face.view.project(np.concatenate([right, left]))])
    face.canvas.fill(smooth_curve(outline, 2, closed=True), dark, CLASS["hair"])


def _hairline(face: Face) -> FloatArray:
    """Front edge of the hair [n,2] in face units, image right to left."""
    person = face.person
    temple, top = 0.9 * person.shape.width, person.hairline
    xs = np.array([0.99, 0.95, 0.8, 0.55, 0.28, 0.0, -0.28, -0.55, -0.8, -0.95, -0.99]) * temple / 0.9
    lift = np.array([0.0, 0.25, 0.72, 0.93, 1.0, 1.0, 1.0, 0.93, 0.72, 0.25, 0.0])
    bottom = 0.06
    ys = bottom + (top - bottom) * lift
    if person.style.startswith("bangs"):
        fringe = person.shape.brow_y - 0.2
        ys = np.where(lift > 0.6, fringe + 0.04 * np.cos(np.arange(11) * 2.5) * (0.5 + person.wave), ys)
        xs = xs * np.where(lift > 0.6, 0.95, 1.0)
    elif person.style == "receding":
        ys = ys - 0.24 * np.array([0, 0, 0.8, 1.25, 1.1, 0.75, 1.1, 1.25, 0.8, 0, 0])
    elif person.style == "buzz":
        ys = ys + 0.02
    else:
        ys = ys + 0.3 * np.exp(-(((xs + person.part) / 0.35) ** 2)) * (0.4 + 0.5 * (person.gender == 1)) * (lift > 0.5)
    return np.stack([xs, ys], axis=-1)


def draw_front_hair(face: Face) -> None:
    """Draw the hair over the forehead and, when long, the locks beside the cheeks."""
    person = face.person
    if person.style == "bald":
        return
    volume = {"buzz": 0.02, "receding": 0.05, "bun": 0.06}.get(person.style, person.volume)
    outer = _scalp(face, volume)
    line = face.view.on_face(_hairline(face))
    outline = np.concatenate([smooth_curve(outer, 2), smooth_curve(line, 3)])
    face.canvas.fill(outline, person.hair, CLASS["hair"], covers=True)
    if person.style in (*_LONG, "bob"):
        _draw_locks(face)
    _draw_strands(face, outer, line)


def _draw_locks(face: Face) -> None:
    person, length = face.person, _lengths(face)
    down = np.linspace(-0.35, length, 8)
    sway = 0.05 * person.wave * np.sin(down * 8)
    inner = 0.93 + 0.1 * np.clip(down, 0, 1) + sway
    outer = 1.03 + person.volume * 0.8 + sway + 0.05 * np.sin(down)
    outer[0] = inner[0] + 0.08
    inner[-1] = outer[-1] = outer[-2] * 0.5 + inner[-2] * 0.5
    for side in (-1.0, 1.0):
        # A lock on the far side of a turned head hangs behind the cheek, not over it.
        push = 0.45 * max(0.0, side * -float(face.view.rotation[2, 0]))
        edge = np.stack(
            [side * (push + np.concatenate([inner, outer[::-1]])), np.concatenate([down, down[::-1]])], axis=-1
        )
        spots = np.concatenate([edge, np.full((16, 1), 0.05)], axis=-1)
        face.canvas.fill(
            smooth_curve(face.view.project(spots), 2, closed=True), person.hair, CLASS["hair"], covers=True
        )


def _draw_strands(face: Face, outer: FloatArray, line: FloatArray) -> None:
    if face.person.style in ("buzz",):
        return
    bright = blend(face.person.hair, (255, 245, 225), 0.13)
    dark = blend(face.person.hair, (0, 0, 0), 0.22)
    count = 17
    steps = np.linspace(1.0, 9.0, count)
    reverse = line[::-1]
    ends = np.stack([np.interp(steps, np.arange(11), reverse[:, axis]) for axis in (0, 1)], axis=-1)
    roots = outer[np.linspace(3, 21, count).astype(int)]
    for k, (root, end) in enumerate(zip(roots, ends, strict=True)):
        wobble = np.array([0.04, 0.0]) * face.view.scale * face.person.wave * (-1) ** k
        curve = np.array([root * 0.85 + end * 0.15, root * 0.5 + end * 0.5 + wobble, root * 0.1 + end * 0.9])
        face.canvas.stroke(smooth_curve(curve, 4), dark if k % 2 else bright, face.px(0.03))


def draw_beard(face: Face) -> None:
    """Draw moustache, goatee, full beard and sideburns; the parsing map keeps them as skin."""
    person, flat = face.person, face.flat
    colour = blend(person.hair, person.skin, 0.12)
    if person.beard:
        rise = np.array([[0.72, 0.62], [0.5, 0.78], [0.36, flat[54, 1] - 0.02], [0.0, flat[57, 1] + 0.09]])
        inner = np.concatenate([rise, (rise[:3] * (-1, 1))[::-1]])
        edge = face.view.on_face(inner)
        outside = face.contour[4:61:2]
        face.canvas.fill(np.concatenate([outside, smooth_curve(edge, 3)]), colour)
    if person.goatee:
        low, chin = flat[57, 1] + 0.06, flat[8, 1]
        patch = np.array(
            [(-0.2, low + 0.06), (0, low), (0.2, low + 0.06), (0.17, chin - 0.06), (0, chin), (-0.17, chin - 0.06)]
        )
        face.canvas.fill(smooth_curve(face.view.on_face(patch), 4, closed=True), colour)
    if person.mustache or person.beard:
        _draw_mustache(face, colour)
    if person.sideburns:
        for side in (-1.0, 1.0):
            patch = np.array([(1.0, -0.4), (0.86, -0.45), (0.86, 0.36), (0.97, 0.4)]) * (side * person.shape.width, 1.0)
            face.canvas.fill(face.view.on_face(patch), person.hair)


def _draw_mustache(face: Face, colour: Colour) -> None:
    flat = face.flat
    right, left = flat[48], flat[54]
    lip = flat[51, 1] - 0.015
    points = [
        (right[0] - 0.02, right[1] - 0.02),
        (flat[49, 0], flat[49, 1] - 0.1),
        (0.0, lip - 0.1),
        (flat[53, 0], flat[53, 1] - 0.1),
    ]
    points += [
        (left[0] + 0.02, left[1] - 0.02),
        (flat[53, 0], flat[53, 1] - 0.005),
        (0.0, lip),
        (flat[49, 0], flat[49, 1] - 0.005),
    ]
    face.canvas.fill(smooth_curve(face.view.on_face(np.array(points)), 3, closed=True), colour)


def draw_ears(face: Face) -> None:
    """Draw the ears and their rings; hair drawn later may hide them."""
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    skin = blend(face.person.skin, (90, 30, 20), 0.16)
    for side in (-1.0, 1.0):
        ring = np.stack(
            [
                side * (face.person.shape.width + 0.04 + 0.07 * np.cos(angle)),
                0.2 + 0.25 * np.sin(angle),
                0.14 * np.cos(angle) * side,
            ],
            axis=-1,
        )
        ring[:, 2] = 0.12 - 0.14 * np.cos(angle)
        face.canvas.fill(smooth_curve(face.view.project(ring), 2, closed=True), skin, CLASS["skin"])


def draw_jewellery(face: Face) -> None:
    """Draw earrings and glasses."""
    person = face.person
    if person.earrings:
        angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        for side in (-1.0, 1.0):
            spot = face.view.project(np.array([side * (person.shape.width + 0.06), 0.52, 0.08]))
            face.canvas.fill(spot + np.stack([np.cos(angle), np.sin(angle)], -1) * face.px(0.065), (236, 196, 60))
    if person.glasses:
        draw_glasses(face, None)


def draw_glasses(face: Face, lens: Colour | None) -> None:
    """Draw spectacles; with a `lens` colour they are opaque sunglasses that cover the eyes."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    shape, frame = face.person.shape, (28, 24, 30)
    z = 0.98
    square = 1 / np.maximum(np.abs(np.cos(angle)), np.abs(np.sin(angle))) ** 0.5
    for side in (-1.0, 1.0):
        ring = np.stack(
            [
                side * (shape.eye_x + 0.01) + 0.31 * np.cos(angle) * square,
                0.03 + 0.23 * np.sin(angle) * square,
                np.full(24, z),
            ],
            -1,
        )
        rim = face.view.project(ring)
        if lens is not None:
            face.canvas.fill(rim, lens, CLASS["background"], covers=True)
        face.canvas.stroke(np.concatenate([rim, rim[:1]]), frame, face.px(0.04), taper=False)
        if side * face.view.rotation[2, 0] < -0.2:
            continue
        arm = face.view.project(np.array([[side * (shape.eye_x + 0.33), 0.0, z], [side * 1.0, 0.02, 0.2]]))
        face.canvas.stroke(arm, frame, face.px(0.04), taper=False)
    inner = shape.eye_x - 0.31
    bridge = face.view.project(np.array([[-inner, 0.0, z], [0, -0.04, z + 0.05], [inner, 0.0, z]]))
    face.canvas.stroke(smooth_curve(bridge, 4), frame, face.px(0.04), taper=False)


def draw_hat(face: Face) -> None:
    """Draw a knitted hat over the crown."""
    if not face.person.hat:
        return
    outer = _scalp(face, 0.2, 82.0)
    brow = face.person.shape.brow_y
    low = face.view.project(
        np.array(
            [
                (1.06, -0.5, 0.1),
                (0.6, brow - 0.25, 0.8),
                (0, brow - 0.28, 1.0),
                (-0.6, brow - 0.25, 0.8),
                (-1.06, -0.5, 0.1),
            ]
        )
    )
    face.canvas.fill(
        np.concatenate([outer, smooth_curve(low, 4)]), face.person.accent, CLASS["background"], covers=True
    )
    up = face.view.project(
        np.array(
            [
                (1.08, -0.68, 0.1),
                (0.6, brow - 0.46, 0.8),
                (0, brow - 0.5, 1.0),
                (-0.6, brow - 0.46, 0.8),
                (-1.08, -0.68, 0.1),
            ]
        )
    )
    band = np.concatenate([smooth_curve(low, 4), smooth_curve(up, 4)[::-1]])
    face.canvas.fill(band, blend(face.person.accent, (255, 255, 255), 0.25))
