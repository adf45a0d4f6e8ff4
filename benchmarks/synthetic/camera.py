"""Around the face: background, things in front of it, lens blur, exposure, sensor noise and JPEG."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.canvas import Colour, blend
from emo_edge.benchmarks.synthetic.expression import Difficulty
from emo_edge.benchmarks.synthetic.features import CLASS, Face
from emo_edge.benchmarks.synthetic.geometry import FloatArray, smooth_curve
from emo_edge.benchmarks.synthetic.hair import draw_glasses

OCCLUDERS = ("none", "hand", "mask", "bar", "scarf", "strand", "sunglasses")
"""Things that may lie over the face."""


@dataclass(frozen=True)
class Camera:
    """Light, lens and sensor: `light` [3] points to the lamp in camera axes (x right, y down, z to the camera)."""

    light: FloatArray
    ambient: float
    exposure: float
    balance: tuple[float, float, float]
    blur: float
    noise: float
    jpeg: int
    background: str
    colours: tuple[Colour, Colour]
    occluder: str
    occluder_spot: tuple[float, float]


def sample_camera(rng: np.random.Generator, difficulty: Difficulty) -> Camera:
    """Draw a camera."""
    light = np.array([rng.uniform(-0.75, 0.75), rng.uniform(-0.8, 0.05), 1.0])
    first, second = (_muted(rng) for _ in range(2))
    blurred = rng.random() < difficulty.blur_probability
    low, high = difficulty.jpeg_range
    occluder = "none"
    if rng.random() < difficulty.occlusion_probability:
        occluder = str(rng.choice(OCCLUDERS[1:]))
    return Camera(
        light=light / np.linalg.norm(light),
        ambient=float(rng.uniform(0.35, 0.75)),
        exposure=float(rng.uniform(0.85, 1.12)),
        balance=(float(rng.uniform(0.95, 1.05)), 1.0, float(rng.uniform(0.93, 1.06))),
        blur=float(rng.uniform(*difficulty.blur_range)) if blurred else 0.0,
        noise=float(rng.uniform(*difficulty.noise_range)),
        jpeg=int(rng.integers(low, high + 1)),
        background=str(rng.choice(["plain", "gradient", "noise", "blobs", "stripes"])),
        colours=(first, second),
        occluder=occluder,
        occluder_spot=(float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.3, 1.1))),
    )


def _muted(rng: np.random.Generator) -> Colour:
    """Draw a colour of any lightness and low to medium saturation."""
    grey = rng.uniform(50, 215)
    r, g, b = (int(c) for c in np.clip(grey + rng.uniform(-45, 45, 3), 15, 240))
    return (r, g, b)


def background(camera: Camera, seed: int, size: int) -> NDArray[np.uint8]:
    """Paint the background [size,size,3]; its pattern does not depend on the size."""
    import cv2

    rng = np.random.default_rng([seed, 0xBAC6])
    first, second = (np.array(c, np.float32) for c in camera.colours)
    blend = np.zeros((16, 16), np.float32)
    if camera.background == "gradient":
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[-1:1:16j, -1:1:16j]
        blend = (0.5 + 0.35 * (x * np.cos(angle) + y * np.sin(angle))).astype(np.float32)
    elif camera.background == "noise":
        blend = (0.5 * rng.random((16, 16))).astype(np.float32)
    elif camera.background == "blobs":
        blend = rng.random((5, 5)).astype(np.float32)
    elif camera.background == "stripes":
        blend = np.tile((np.arange(48) // 3 % 2).astype(np.float32) * 0.35, (48, 1))
        blend = blend if rng.random() < 0.5 else blend.T
    tiles = np.clip(first + (second - first) * blend[..., None], 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(tiles, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


_AWAY = {
    "hand": (0.0, 2.5),
    "mask": (0.0, 2.5),
    "bar": (2.5, 2.5),
    "scarf": (0.0, 2.5),
    "strand": (0.0, -2.5),
    "sunglasses": (0.0, -2.5),
}
"""Start and end of an occluder, right and down in face units; a bar moves across its length."""


def draw_occluder(face: Face, camera: Camera, away: float = 0.0) -> None:
    """Draw what lies over the face, or is `away` from there: 0 in place, 1 beside the face.

    Its pixels become background in the parsing map and hide landmarks.
    """
    if camera.occluder == "none":
        return
    if away > 0.0:
        shift = face.px(away) * np.array(_AWAY[camera.occluder])
        face = replace(face, view=replace(face.view, centre=face.view.centre + shift), contour=face.contour + shift)
    if camera.occluder == "sunglasses":
        draw_glasses(face, (22, 20, 26))
    else:
        {"hand": _hand, "mask": _mask, "bar": _bar, "scarf": _scarf, "strand": _strand}[camera.occluder](face, camera)


def _cover(face: Face, points: FloatArray, colour: Colour) -> None:
    face.canvas.fill(points, colour, CLASS["background"], covers=True)


def _mask(face: Face, camera: Camera) -> None:
    edge = face.contour[8:57]
    nose = face.flat[29, 1]
    top = face.view.on_face(np.array([[0.8, 0.4], [0.35, 0.38], [0.0, nose - 0.02], [-0.35, 0.38], [-0.8, 0.4]]))
    colour = blend(camera.colours[0], (200, 225, 235), 0.75)
    _cover(face, np.concatenate([edge, smooth_curve(top, 4)]), colour)
    for y in (0.75, 0.95):
        crease = face.view.on_face(np.array([[-0.5, y], [0.0, y + 0.06], [0.5, y]]))
        face.canvas.stroke(smooth_curve(crease, 5), blend(colour, (0, 0, 0), 0.2), face.px(0.03))


def _scarf(face: Face, camera: Camera) -> None:
    y = face.person.shape.nose_y + 0.14
    top = face.view.on_face(
        np.array([[-0.85, y + 0.05], [-0.4, y], [0.0, y + 0.03], [0.4, y - 0.02], [0.85, y + 0.08]])
    )
    low = face.view.project(np.array([[1.15, 1.1, 0], [1.0, 1.9, 0], [-1.0, 1.9, 0], [-1.15, 1.1, 0]]))
    _cover(face, np.concatenate([smooth_curve(top, 4), low]), camera.colours[1])
    for k in range(3):
        fold = face.view.on_face(
            np.array([[-0.75, y + 0.25 + 0.22 * k], [0, y + 0.32 + 0.22 * k], [0.75, y + 0.2 + 0.22 * k]])
        )
        face.canvas.stroke(smooth_curve(fold, 5), blend(camera.colours[1], (0, 0, 0), 0.25), face.px(0.05))


def _bar(face: Face, camera: Camera) -> None:
    x, y = camera.occluder_spot
    size = face.canvas.image.shape[0]
    middle = face.view.on_face(np.array([x, y]))
    wide = face.px(0.16 + 0.1 * abs(x))
    if abs(y) < 0.4:
        points = [
            (-2, middle[1] - wide),
            (size + 1, middle[1] - wide * 0.8),
            (size + 1, middle[1] + wide),
            (-2, middle[1] + wide),
        ]
    else:
        points = [
            (middle[0] - wide, -2),
            (middle[0] + wide, -2),
            (middle[0] + wide * 0.8, size + 1),
            (middle[0] - wide, size + 1),
        ]
    _cover(face, np.array(points), camera.colours[1])


def _hand(face: Face, camera: Camera) -> None:
    x, y = camera.occluder_spot
    skin = blend(face.person.skin, (60, 20, 10), 0.1)
    side = 1.0 if x >= 0 else -1.0
    root = face.view.project(np.array([side * 1.25, y + 0.85, 0.9]))
    tip = face.view.project(np.array([x * 0.6, y, 1.0]))
    axis = tip - root
    across = np.array([-axis[1], axis[0]]) / max(float(np.linalg.norm(axis)), 1e-6)
    for k in (-1.5, -0.5, 0.5, 1.5):
        start, end = root + across * face.px(0.17 * k), tip + across * face.px(0.2 * k) - axis * 0.06 * abs(k)
        curve = np.linspace(start, end, 8)
        width = face.px(0.2) * np.array([1, 1, 1, 1, 1, 0.97, 0.85, 0.45])
        tangent = across * (width / 2)[:, None]
        outline = np.concatenate([curve + tangent, (curve - tangent)[::-1]])
        _cover(face, smooth_curve(outline, 2, closed=True), skin)
        edge = curve + tangent
        face.canvas.stroke(edge, blend(skin, (40, 10, 5), 0.4), face.px(0.025))


def _strand(face: Face, camera: Camera) -> None:
    side = 1.0 if camera.occluder_spot[0] >= 0 else -1.0
    hair = face.person.hair
    points = np.array(
        [
            (side * 0.1, -0.95),
            (side * 0.4, -0.4),
            (side * 0.5, 0.1),
            (side * 0.42, 0.75),
            (side * 0.7, 0.6),
            (side * 0.85, -0.2),
            (side * 0.8, -0.8),
        ]
    )
    outline = smooth_curve(face.view.on_face(points), 4, closed=True)
    face.canvas.fill(outline, hair, CLASS["hair"], covers=True)


def develop(image: NDArray[np.uint8], camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Expose, blur, add sensor noise and compress; the blur scales with the image's size."""
    import cv2

    size = image.shape[0]
    if camera.blur:
        sigma = camera.blur * size / 224
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    gains = np.array(camera.balance, np.float32) * camera.exposure
    noise = np.empty(image.shape[:2], np.float32)
    rng.standard_normal(dtype=np.float32, out=noise)
    noise *= camera.noise
    exposed = image * gains + noise[..., None] + 0.5
    pixels = np.clip(exposed, 0, 255).astype(np.uint8)
    _, code = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, camera.jpeg])
    decoded = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
