"""The face as 3-D points: proportions and action units in, projected iBUG landmarks out.

Face units: half the face's width at the ears is about 1. The origin lies between the eyes; x points to the image's
right, y down, z to the camera. Person's right is x < 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.expression import AU_INDEX

FloatArray = NDArray[np.float64]

MIRROR = np.concatenate(
    [
        np.arange(16, -1, -1),
        np.arange(26, 16, -1),
        np.arange(27, 31),
        np.arange(35, 30, -1),
        (45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        np.arange(54, 47, -1),
        np.arange(59, 54, -1),
        np.arange(64, 59, -1),
        np.arange(67, 64, -1),
    ]
)
"""Index of each iBUG landmark's mirror partner."""


@dataclass(frozen=True)
class FaceShape:
    """Proportions of one neutral face in face units."""

    width: float = 0.98
    jaw: float = 2.2
    chin: float = 1.4
    cheek: float = 0.0
    eye_x: float = 0.43
    eye_half: float = 0.2
    eye_top: float = 0.095
    eye_bottom: float = 0.065
    eye_tilt: float = 0.02
    brow_y: float = -0.3
    brow_arch: float = 0.06
    brow_half: float = 0.27
    nose_y: float = 0.56
    nose_half: float = 0.17
    nose_height: float = 0.3
    mouth_y: float = 0.9
    mouth_half: float = 0.34
    lip_top: float = 0.085
    lip_bottom: float = 0.11


# Landmark: (outward, down) in face units at intensity 1, for the person's right half and the midline.
_DISPLACEMENTS: dict[int, dict[int, tuple[float, float]]] = {
    1: {21: (0.0, -0.18), 20: (0.0, -0.13), 19: (0.0, -0.05)},
    2: {17: (0.02, -0.13), 18: (0.01, -0.18), 19: (0.0, -0.15), 20: (0.0, -0.05)},
    4: {21: (-0.07, 0.12), 20: (-0.05, 0.11), 19: (-0.03, 0.06), 18: (-0.01, 0.01), 38: (0.0, 0.015)},
    5: {37: (0.0, -0.1), 38: (0.0, -0.1), 40: (0.0, 0.012), 41: (0.0, 0.012)},
    6: {40: (0.0, -0.035), 41: (0.0, -0.045), 37: (0.0, 0.015), 38: (0.0, 0.01), 17: (0.0, 0.02)},
    7: {37: (0.0, 0.04), 38: (0.0, 0.035), 40: (0.0, -0.035), 41: (0.0, -0.03)},
    9: {31: (0.03, -0.08), 32: (0.01, -0.06), 33: (0.0, -0.03), 30: (0.0, -0.04), 21: (-0.03, 0.06), 20: (0.0, 0.05)}
    | {49: (0.0, -0.03), 50: (0.0, -0.04), 40: (0.0, -0.02), 41: (0.0, -0.02)},
    10: {48: (0.0, -0.02), 49: (0.03, -0.1), 50: (0.01, -0.12), 51: (0.0, -0.09), 60: (0.0, -0.02)}
    | {61: (0.0, -0.055), 62: (0.0, -0.05), 31: (0.02, -0.02)},
    12: {48: (0.15, -0.18), 49: (0.08, -0.07), 50: (0.03, -0.005), 60: (0.15, -0.18), 61: (0.06, -0.03)}
    | {59: (0.1, -0.05), 58: (0.04, 0.0), 67: (0.06, -0.01), 31: (0.03, 0.0)},
    14: {48: (0.09, -0.02), 60: (0.09, -0.02), 49: (0.03, 0.0), 59: (0.03, 0.0)},
    15: {48: (0.02, 0.15), 60: (0.02, 0.15), 49: (0.0, 0.05), 59: (0.03, 0.09), 61: (0.0, 0.03), 67: (0.0, 0.045)},
    17: {57: (0.0, -0.065), 58: (0.0, -0.06), 59: (0.0, -0.02), 66: (0.0, -0.05), 67: (0.0, -0.045)}
    | {62: (0.0, -0.045), 61: (0.0, -0.04), 51: (0.0, -0.03), 50: (0.0, -0.03), 8: (0.0, -0.06), 7: (0.0, -0.04)},
    20: {48: (0.18, 0.05), 60: (0.18, 0.05), 49: (0.1, 0.02), 59: (0.12, 0.03), 50: (0.04, 0.0), 58: (0.05, 0.01)}
    | {61: (0.08, 0.01), 67: (0.08, 0.01)},
    23: {48: (-0.07, 0.0), 60: (-0.07, 0.0), 49: (-0.03, 0.0), 59: (-0.03, 0.0), 61: (-0.03, 0.0), 67: (-0.03, 0.0)},
    24: {48: (-0.04, 0.02), 60: (-0.04, 0.02)},
    25: {66: (0.0, 0.09), 67: (0.0, 0.085), 57: (0.0, 0.08), 58: (0.0, 0.06), 59: (0.0, 0.03)}
    | {62: (0.0, -0.02), 61: (0.0, -0.018), 51: (0.0, -0.015), 50: (0.0, -0.015)},
    26: {66: (0.0, 0.29), 67: (0.0, 0.265), 57: (0.0, 0.3), 58: (0.0, 0.28), 59: (0.0, 0.2), 48: (-0.06, 0.1)}
    | {
        60: (-0.06, 0.1),
        61: (0.0, -0.02),
        62: (0.0, -0.02),
        8: (0.0, 0.28),
        7: (0.0, 0.27),
        6: (0.0, 0.24),
        5: (0.0, 0.18),
        4: (0.0, 0.1),
        3: (0.0, 0.04),
    },
}


def _displacement_tensor() -> FloatArray:
    tensor = np.zeros((len(AU_INDEX), 2, 68, 2))
    for unit, moves in _DISPLACEMENTS.items():
        for point, (outward, down) in moves.items():
            partner = int(MIRROR[point])
            weight = 0.5 if partner == point else 1.0
            tensor[AU_INDEX[unit], 0, point] += (-outward * (weight == 1.0), down * weight)
            tensor[AU_INDEX[unit], 1, partner] += (outward * (weight == 1.0), down * weight)
    return tensor


DISPLACEMENTS = _displacement_tensor()
"""[17,2,68,2]: landmark shift in face units per action unit and half of the face (0 the person's right)."""


def neutral_landmarks(shape: FaceShape) -> FloatArray:
    """Build the 68 iBUG landmarks [68,2] of a relaxed face in face units."""
    points = np.zeros((68, 2))
    phi = np.linspace(0.0, np.pi / 2, 9)
    power = 2.0 / shape.jaw
    points[:9, 0] = -shape.width * np.cos(phi) ** power - shape.cheek * np.sin(2 * phi)
    points[8, 0] = 0.0
    points[:9, 1] = 0.02 + (shape.chin - 0.02) * np.sin(phi) ** power
    along = np.linspace(-1.0, 1.0, 5)
    points[17:22, 0] = -shape.eye_x - 0.02 + along * shape.brow_half
    points[17:22, 1] = shape.brow_y + 0.03 - shape.brow_arch * np.array([-0.7, 0.6, 1.0, 0.75, 0.25])
    points[27:31, 1] = np.linspace(0.0, 1.0, 4) * (shape.nose_y - 0.1) + 0.02
    points[31:34] = [
        [-shape.nose_half, shape.nose_y],
        [-shape.nose_half * 0.5, shape.nose_y + 0.045],
        [0.0, shape.nose_y + 0.06],
    ]
    half, top, bottom, tilt = shape.eye_half, shape.eye_top, shape.eye_bottom, shape.eye_tilt
    points[36:40] = [[-half, -tilt], [-half * 0.4, -top - tilt * 0.3], [half * 0.35, -top], [half, tilt + 0.01]]
    points[40:42] = [[half * 0.4, bottom], [-half * 0.38, bottom - tilt * 0.3]]
    points[36:42, 0] -= shape.eye_x
    mouth, upper, lower, line = shape.mouth_half, shape.lip_top, shape.lip_bottom, shape.mouth_y
    points[48:52] = [
        [-mouth, line],
        [-mouth * 0.6, line - upper * 0.7],
        [-mouth * 0.22, line - upper],
        [0, line - upper * 0.8],
    ]
    points[57:60] = [[0.0, line + lower], [-mouth * 0.34, line + lower * 0.92], [-mouth * 0.68, line + lower * 0.6]]
    points[60:63] = [[-mouth * 0.93, line], [-mouth * 0.42, line], [0.0, line + 0.012]]
    points[66:68] = [[0.0, line + 0.014], [-mouth * 0.46, line + 0.004]]
    right = np.array([*range(8), *range(17, 22), 31, 32, *range(36, 42), 48, 49, 50, 58, 59, 60, 61, 67])
    points[MIRROR[right]] = points[right] * (-1.0, 1.0)
    return points


_OUTER = np.array([49, 50, 51, 52, 53, 55, 56, 57, 58, 59])
_INNER = np.array([61, 61, 62, 63, 63, 65, 65, 66, 67, 67])


def expressed_landmarks(shape: FaceShape, intensities: NDArray[np.float32], blink: float = 0.0) -> FloatArray:
    """Move the neutral landmarks by sided intensities [17,2]; `blink` 0..1 closes the lids. Returns [68,2]."""
    points = neutral_landmarks(shape) + np.tensordot(intensities.astype(np.float64), DISPLACEMENTS, axes=2)
    press = 1.0 - 0.5 * intensities[AU_INDEX[23]].mean() - 0.65 * intensities[AU_INDEX[24]].mean()
    points[_OUTER, 1] = points[_INNER, 1] + (points[_OUTER, 1] - points[_INNER, 1]) * max(float(press), 0.18)
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        gap = points[lower, 1] - points[upper, 1]
        points[upper, 1] += max(0.025 - gap, 0.0) + blink * max(gap - 0.012, 0.0)
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        middle = (points[upper, 1] + points[lower, 1]) / 2
        if points[upper, 1] > points[lower, 1] - 0.004:
            points[upper, 1], points[lower, 1] = middle - 0.002, middle + 0.002
    return points


def surface_depth(points: FloatArray, shape: FaceShape) -> FloatArray:
    """Depth z [...] of the face's surface over points [...,2]: a head ellipsoid and the nose."""
    x, y = points[..., 0], points[..., 1]
    head = 0.95 * np.sqrt(np.maximum(0.04, 1.0 - (x / 1.06) ** 2 - ((y - 0.05) / 1.7) ** 2))
    ramp = np.clip((y + 0.1) / (shape.nose_y + 0.02), 0.0, 1.0)
    fall = np.where(y > shape.nose_y - 0.04, np.exp(-(((y - shape.nose_y + 0.04) / 0.09) ** 2)), 1.0)
    nose = shape.nose_height * ramp**1.3 * fall * np.exp(-((x / (shape.nose_half * 0.85)) ** 2))
    return np.asarray(head + nose)


def rotation_matrix(pitch: float, yaw: float, roll: float) -> FloatArray:
    """Build a head's rotation [3,3]; applied as yaw, then pitch, then roll.

    pitch > 0 lifts the nose, yaw > 0 turns it to the image's right, roll > 0 tilts the head clockwise in the image.
    Angles in radians.
    """
    cp, sp, cy, sy, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    yaw_matrix = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch_matrix = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll_matrix = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(roll_matrix @ pitch_matrix @ yaw_matrix)


@dataclass(frozen=True)
class View:
    """A head seen by the camera: its shape, rotation [3,3], and the pixel scale and centre of the face's origin."""

    shape: FaceShape
    rotation: FloatArray
    scale: float
    centre: FloatArray

    def project(self, points: FloatArray) -> FloatArray:
        """Project 3-D face points [...,3] to pixels [...,2] (scaled orthographic)."""
        return np.asarray(points @ self.rotation[:2].T * self.scale + self.centre)

    def on_face(self, points: FloatArray) -> FloatArray:
        """Project points [...,2] that lie on the face's surface to pixels [...,2]."""
        points = np.asarray(points, np.float64)
        depth = surface_depth(points, self.shape)
        return self.project(np.concatenate([points, depth[..., None]], axis=-1))


def smooth_curve(points: FloatArray, steps: int = 4, closed: bool = False) -> FloatArray:
    """Refine a polyline [n,2] into a Catmull-Rom curve through its points, `steps` samples a segment."""
    points = np.asarray(points, np.float64)
    ring = [points[-1:], points, points[:2]] if closed else [points[:1], points, points[-1:]]
    padded = np.concatenate(ring)
    a, b, c, d = (padded[k : len(padded) - 3 + k, None] for k in range(4))
    t = (np.arange(steps) / steps)[None, :, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    curve = curve.reshape(-1, points.shape[1])
    return np.asarray(curve if closed else np.concatenate([curve, points[-1:]]))


def face_contour(view: View, jaw: FloatArray) -> FloatArray:
    """Trace the visible outline [n,2] in pixels through the jaw line [17,2], ear to ear.

    Every fourth point belongs to a jaw landmark. At each, the outermost of several points of the head's surface
    wins, so the outline follows the cheek on the far side of a turned head.
    """
    dense = smooth_curve(jaw, 4)
    inward = np.array([1.0, 1.0, 1.0, 0.97, 0.92, 0.86, 0.8])
    back = np.array([0.3, 0.15, 0.0, 0.0, 0.0, 0.0, 0.0])
    pivot = np.array([0.0, 0.1])
    rays = pivot + (dense - pivot) * inward[:, None, None]
    depth = surface_depth(rays, view.shape) - back[:, None] * (np.abs(dense[:, 0]) > 0.3)
    spots = view.project(np.concatenate([rays, depth[..., None]], axis=-1))
    tangent = np.gradient(view.on_face(dense), axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)
    best = np.argmax((spots * normal).sum(-1), axis=0)
    contour = spots[best, np.arange(len(dense))]
    for _ in range(4):
        contour[1:-1] = (contour[:-2] + 2 * contour[1:-1] + contour[2:]) / 4
    return np.asarray(contour)
