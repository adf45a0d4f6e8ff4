"""Draw results onto their picture: box, landmarks, head pose and label probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.inference.results import EmotionResult
from emo_edge.media.crops import Image

SHORTEST_SIDE = 720
"""Smaller pictures are enlarged to this, so that the text is readable."""
LONGEST_SIDE = 4096
"""A picture is not enlarged beyond this."""
COLOURS = ((64, 156, 255), (255, 149, 0), (52, 199, 89), (255, 45, 85), (175, 82, 222), (90, 200, 250))
"""One a face, RGB."""
INK, PAPER = (245, 245, 247), (28, 28, 30)
AXIS_COLOURS = ((255, 69, 58), (48, 209, 88), (10, 132, 255))
SHOWN = 5
"""Labels a panel lists."""


def annotated(image: Image, faces: Sequence[EmotionResult], *, geometry: bool = True) -> Image:
    """Return a copy of a picture (uint8 RGB [H, W, 3]) with its faces' results drawn; small pictures come out larger.

    Without ``geometry`` landmarks and pose are left out: they belong to another frame.
    """
    import cv2

    scale = max(1.0, min(SHORTEST_SIDE / min(image.shape[:2]), LONGEST_SIDE / max(image.shape[:2])))
    enlarged = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else image.copy()
    canvas: Image = np.ascontiguousarray(enlarged, np.uint8)
    unit = min(canvas.shape[:2]) / SHORTEST_SIDE
    for number, result in enumerate(faces):
        box = np.array(result.box) * scale
        if result.face and geometry:
            _draw_landmarks(canvas, result.face.landmarks * scale, unit)
            _draw_pose(canvas, box, result.face.pose_degrees, unit)
        _draw_box(canvas, box, COLOURS[number % len(COLOURS)], unit)
    for number, result in enumerate(faces):
        _draw_panel(canvas, np.array(result.box) * scale, result, COLOURS[number % len(COLOURS)], unit)
    if faces and faces[0].settings.purpose:
        _draw_purpose(canvas, f"{faces[0].settings.bundle}: {faces[0].settings.purpose}", unit)
    return canvas


def _draw_box(canvas: Image, box: NDArray[Any], colour: tuple[int, int, int], unit: float) -> None:
    """Draw the corners only: the face stays visible."""
    import cv2

    x0, y0, x1, y1 = (round(float(value)) for value in box)
    arm = round(0.18 * min(x1 - x0, y1 - y0))
    for x, y, step_x, step_y in ((x0, y0, 1, 1), (x1, y0, -1, 1), (x0, y1, 1, -1), (x1, y1, -1, -1)):
        corner = np.array([[x + step_x * arm, y], [x, y], [x, y + step_y * arm]], np.int32)
        cv2.polylines(canvas, [corner], False, colour, max(2, round(4 * unit)), cv2.LINE_AA)


def _draw_landmarks(canvas: Image, points: NDArray[Any], unit: float) -> None:
    import cv2

    for x, y in np.round(points * 8).astype(int).tolist():
        cv2.circle(canvas, (x, y), round(8 * 2.2 * unit), INK, -1, cv2.LINE_AA, 3)


def _draw_pose(canvas: Image, box: NDArray[Any], pose: dict[str, float], unit: float) -> None:
    """Draw the head's axes at the box's middle: its left (red), down (green), out of the face (blue)."""
    import cv2

    pitch, yaw, roll = (np.radians(pose[name]) for name in ("pitch", "yaw", "roll"))
    around_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    around_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    around_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    rotation = around_z @ around_y @ around_x
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    length = 0.3 * float(box[2] - box[0])
    for axis, colour in enumerate(AXIS_COLOURS):
        tip = middle + length * rotation[:2, axis]
        ends = [(round(float(x)), round(float(y))) for x, y in (middle, tip)]
        cv2.line(canvas, ends[0], ends[1], colour, max(2, round(3 * unit)), cv2.LINE_AA)


def _draw_panel(
    canvas: Image, box: NDArray[Any], result: EmotionResult, colour: tuple[int, int, int], unit: float
) -> None:
    """List the most probable labels with bars, next to the box where there is room, else at the picture's edge.

    A result without labels lists the face's most probable attributes.
    """
    import cv2

    probabilities, title = result.probabilities, "attributes"
    if result.label:
        title = f"{result.label} {probabilities[result.label]:.0%}"
    elif result.face:
        probabilities = {name.replace("_", " "): value for name, value in result.face.attributes.items()}
    else:
        return
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])[:SHOWN]
    names = max(_text_width(name, 0.5 * unit) for name, _ in ranked) + round(20 * unit)
    bars = round(94 * unit)
    line, width = round(26 * unit), max(names + bars, _text_width(title, 0.75 * unit, bold=True)) + round(32 * unit)
    height = line * (len(ranked) + 1) + round(22 * unit)
    left, top = _panel_corner(canvas, box, width, height, round(12 * unit))
    area = canvas[top : top + height, left : left + width]
    area[:] = (0.25 * area + 0.75 * np.array(PAPER)).astype(np.uint8)
    canvas[top : top + height, left : left + max(3, round(4 * unit))] = colour
    x, y = left + round(16 * unit), top + line
    _write(canvas, title, (x, y), 0.75 * unit, bold=True)
    for name, probability in ranked:
        y += line
        bar = (x + names, y - round(12 * unit))
        cv2.rectangle(canvas, bar, (bar[0] + bars, y), (72, 72, 74), -1)
        cv2.rectangle(canvas, bar, (bar[0] + max(1, round(bars * probability)), y), colour, -1)
        _write(canvas, name, (x, y), 0.5 * unit)


def _draw_purpose(canvas: Image, text: str, unit: float) -> None:
    """Write the model's purpose along the lower edge: a picture travels without the text around it."""
    margin, size = round(10 * unit), 0.45 * unit
    size *= min(1.0, (canvas.shape[1] - 2 * margin) / max(_text_width(text, size), 1))
    band = canvas[canvas.shape[0] - round(24 * unit) :]
    band[:] = (0.25 * band + 0.75 * np.array(PAPER)).astype(np.uint8)
    _write(canvas, text, (margin, canvas.shape[0] - round(8 * unit)), size)


def _panel_corner(canvas: Image, box: NDArray[Any], width: int, height: int, gap: int) -> tuple[int, int]:
    """Return the corner of the panel that covers the least of its face: next to the box, else at a picture's corner."""
    rows, columns = canvas.shape[:2]
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    right, bottom = columns - width - gap, rows - height - gap
    corners = [(x1 + gap, y0), (x0 - gap - width, y0), (right, bottom), (gap, bottom), (right, gap), (gap, gap)]
    inside = [(max(0, min(x, columns - width)), max(0, min(y, rows - height))) for x, y in corners]

    def covered(corner: tuple[int, int]) -> int:
        across = min(corner[0] + width, x1) - max(corner[0], x0)
        down = min(corner[1] + height, y1) - max(corner[1], y0)
        return max(across, 0) * max(down, 0)

    return min(inside, key=covered)


def _write(canvas: Image, text: str, origin: tuple[int, int], size: float, *, bold: bool = False) -> None:
    import cv2

    cv2.putText(canvas, _ascii(text), origin, cv2.FONT_HERSHEY_SIMPLEX, size, INK, 2 if bold else 1, cv2.LINE_AA)


def _text_width(text: str, size: float, *, bold: bool = False) -> int:
    import cv2

    return int(cv2.getTextSize(_ascii(text), cv2.FONT_HERSHEY_SIMPLEX, size, 2 if bold else 1)[0][0])


def _ascii(text: str) -> str:
    """Replace other characters: OpenCV's fonts hold ASCII alone."""
    return text.encode("ascii", "replace").decode()
