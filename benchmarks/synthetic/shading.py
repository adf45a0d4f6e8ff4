"""Light on the face: a smooth relief in face units, its normals, and the lit result warped into the image."""

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.features import Face
from emo_edge.benchmarks.synthetic.geometry import FloatArray, surface_depth

_X = np.linspace(-1.3, 1.3, 66)
_Y = np.linspace(-1.7, 1.9, 91)
_GRID = np.stack(np.meshgrid(_X, _Y), axis=-1)


def _bump(x: float, y: float, wide: float, high: float) -> FloatArray:
    return np.asarray(np.exp(-(((_Y - y) / high) ** 2))[:, None] * np.exp(-(((_X - x) / wide) ** 2))[None, :])


def relief(face: Face) -> FloatArray:
    """Heights [91,66] of the face in face units, with the bulges that action units raise."""
    shape, child = face.person.shape, face.person.child
    height = surface_depth(_GRID, shape)
    chin, mouth = face.flat[8, 1], shape.mouth_y
    height += (0.08 + 0.05 * face.unit(17)) * _bump(0.0, chin - 0.16, 0.2, 0.14)
    height += 0.05 * _bump(0.0, mouth, 0.3, 0.16)
    for half, side in ((0, -1.0), (1, 1.0)):
        height -= 0.1 * _bump(side * shape.eye_x, 0.0, 0.26, 0.13)
        height += (0.05 - 0.03 * child) * _bump(side * 0.36, shape.brow_y + 0.02, 0.3, 0.09)
        raised = 0.05 + 0.05 * child + 0.1 * max(face.unit(6, half), 0.7 * face.unit(12, half))
        height += raised * _bump(side * 0.52, 0.42, 0.22, 0.18)
    return height


def tint(face: Face) -> NDArray[np.float32]:
    """Colour factors [91,66,3] painted on the skin: sockets, blush, stubble, tired eyes."""
    person, shape = face.person, face.person.shape
    paint = np.ones((len(_Y), len(_X), 3), np.float32)
    for side in (-1.0, 1.0):
        paint *= 1 - _bump(side * shape.eye_x, -0.04, 0.25, 0.13)[..., None] * (0.2, 0.24, 0.24)
        if person.bags:
            paint *= 1 - _bump(side * shape.eye_x, 0.16, 0.17, 0.07)[..., None] * (0.24, 0.26, 0.18)
        rosy = 0.07 + 0.22 * person.blush + 0.06 * person.child
        paint *= 1 - _bump(side * 0.58, 0.42, 0.2, 0.15)[..., None] * (0.0, rosy, rosy * 0.8)
    paint *= 1 - _bump(0.0, shape.mouth_y + shape.lip_bottom + 0.1, 0.2, 0.06)[..., None] * 0.14
    paint *= 1 - _bump(0.0, shape.nose_y + 0.1, 0.14, 0.05)[..., None] * 0.16
    if person.stubble:
        paint *= 1 - _beard_zone(face)[..., None] * (0.34, 0.27, 0.2)
    return paint


def _beard_zone(face: Face) -> FloatArray:
    low = 1 / (1 + np.exp(-(_GRID[..., 1] - 0.62 - 0.25 * (1 - np.abs(_GRID[..., 0]) ** 1.5)) / 0.05))
    lip = _bump(0.0, face.person.shape.mouth_y - 0.16, 0.32, 0.07)
    return np.asarray(np.clip(low + lip, 0, 1))


def lit_texture(face: Face, light: FloatArray, ambient: float) -> NDArray[np.float32]:
    """Light the relief from direction `light` [3] (camera axes) and tint it: factors [91,66,3] around 1."""
    height = relief(face)
    dy, dx = np.gradient(height, _Y[1] - _Y[0], _X[1] - _X[0])
    local = light @ face.view.rotation
    facing = (-dx * local[0] - dy * local[1] + local[2]) / np.sqrt(dx**2 + dy**2 + 1)
    facing = np.maximum(facing, 0.0)
    lit = ambient + (1.0 - ambient) * facing + 0.07 * facing**16
    return np.asarray(lit[..., None] * tint(face), np.float32)


def shade_face(
    face: Face, light: FloatArray, ambient: float, mask: NDArray[np.uint8], gains: tuple[float, float, float]
) -> None:
    """Multiply the image inside `mask` by the lit texture, seen through the pose; `gains` scale the skin's channels."""
    import cv2

    image, view = face.canvas.image, face.view
    x0, y0, wide, high = cv2.boundingRect(mask)
    if wide < 4 or high < 4:
        return
    step = 2
    columns, rows = max(wide // step, 2), max(high // step, 2)
    u = np.linspace(x0, x0 + wide - 1, columns)
    v = np.linspace(y0, y0 + high - 1, rows)
    pixels = (np.stack(np.meshgrid(u, v), axis=-1) - view.centre) / view.scale
    inverse = np.linalg.inv(view.rotation[:2, :2])
    base, lean = pixels @ inverse.T, inverse @ view.rotation[:2, 2]
    depth = np.minimum(surface_depth(_GRID, face.person.shape), 1.1).astype(np.float32)
    flat = base
    for _ in range(3):
        flat = base - _sample(depth, flat)[..., None] * lean
    factors = _sample(lit_texture(face, light, ambient), flat) * np.array(gains, np.float32)
    factors = cv2.resize(factors, (wide, high), interpolation=cv2.INTER_LINEAR)
    window = np.s_[y0 : y0 + high, x0 : x0 + wide]
    alpha = cv2.merge([mask[window]] * 3).astype(np.float32) * (1 / 255.0)
    shaded = image[window] * (1.0 + (factors - 1.0) * alpha)
    image[window] = np.clip(shaded + 0.5, 0, 255).astype(np.uint8)


def _sample(texture: NDArray[np.float32], flat: FloatArray) -> NDArray[np.float32]:
    import cv2

    x = ((flat[..., 0] - _X[0]) / (_X[1] - _X[0])).astype(np.float32)
    y = ((flat[..., 1] - _Y[0]) / (_Y[1] - _Y[0])).astype(np.float32)
    return np.asarray(cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
