"""Draw results onto their picture: box, landmarks, head pose and label probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emo_edge.inference.results import EmotionResult
from emo_edge.media.crops import Image
from emo_edge.rendering.panels import INK, PAPER, Colour, Panel, Tag, panel_of, text_width, write
from emo_edge.rendering.placement import Rect, lines_of, overlap, places

SHORTEST_SIDE = 720
"""Smaller pictures are enlarged to this, so that the text is readable."""
LONGEST_SIDE = 4096
"""A picture is not enlarged beyond this."""
COLOURS = ((64, 156, 255), (255, 149, 0), (52, 199, 89), (255, 45, 85), (175, 82, 222), (90, 200, 250))
"""One a face, RGB."""
AXIS_COLOURS = ((255, 69, 58), (48, 209, 88), (10, 132, 255))
FACE_WIDTH = 110
"""Pixels of a face beside which a label fits: pictures with smaller faces are enlarged."""
LARGE_FACE = 250
"""Pixels of a face from which on its lines are as wide as the picture's."""
MOST_FOR_FACES = 3.0
"""Times that a picture is enlarged for its faces."""
BAND = 24
"""Pixels of the band with the purpose, at `SHORTEST_SIDE`."""
LEAST_TAG_UNIT = 0.75
"""Least scale of a label's text, about eight pixels high."""


class _Band(NamedTuple):
    """The band with the purpose, over the whole width of a picture."""

    height: int
    """0 for none."""
    at_top: bool = False

    def rows(self, height: int) -> slice:
        """Return its rows in a picture of ``height`` rows."""
        return slice(0, self.height) if self.at_top else slice(height - self.height, height)


def annotated(image: Image, faces: Sequence[EmotionResult], *, geometry: bool = True, ids: Sequence[int] = ()) -> Image:
    """Return a copy of a picture (uint8 RGB [H, W, 3]) with its faces' results drawn; small pictures come out larger.

    A panel covers no face and no other panel. Where they do not all have room, each face has its label alone; labels
    without room are listed below the picture, by number, and the panel of a single face stands right of it.

    Without ``geometry``, for a frame of a video, landmarks and pose are left out: they belong to another frame. All
    frames of one size then come out in one size, and one label without room stands in the lower left corner, where it
    covers nothing but its own face.

    The model's purpose stands along the lower edge; where a face reaches into it, below the picture, and in
    a frame of a video along the upper edge, if that one is free.

    ``ids``, one a face, from 1 on, stand before the labels and choose the colours.
    """
    import cv2

    scale = _scale(image, faces if geometry else ())
    enlarged = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else image.copy()
    canvas: Image = np.ascontiguousarray(enlarged, np.uint8)
    unit = min(canvas.shape[:2]) / SHORTEST_SIDE
    for number, result in enumerate(faces):
        box = np.array(result.box) * scale
        thin = min(unit, float(box[2] - box[0]) / LARGE_FACE)
        if result.face and geometry:
            _draw_landmarks(canvas, result.face.landmarks * scale, thin)
            _draw_pose(canvas, box, result.face.pose_degrees, thin)
        _draw_box(canvas, box, _colour(number, ids), thin)
    height = round(BAND * unit) if faces and faces[0].settings.purpose else 0
    areas = [_area(result, scale, canvas) for result in faces]
    covers = height > 0 and any(area[3] > canvas.shape[0] - height for area in areas)
    below = covers and geometry
    band = _Band(0 if below else height, at_top=covers and all(area[1] >= height for area in areas))
    canvas = _with_panels(canvas, faces, areas, unit, band, may_grow=geometry, ids=ids)
    if below:
        canvas = _grown(canvas, height, 0)
    if height:
        purpose = f"{faces[0].settings.bundle}: {faces[0].settings.purpose}"
        _draw_purpose(canvas, purpose, unit, _Band(height, at_top=band.at_top and not below))
    return canvas


def _scale(image: Image, faces: Sequence[EmotionResult]) -> float:
    """Return the enlargement that makes text readable, and labels fit next to small faces."""
    wanted = SHORTEST_SIDE / min(image.shape[:2])
    if faces:
        width = float(np.median([result.box[2] - result.box[0] for result in faces]))
        wanted = max(wanted, min(FACE_WIDTH / max(width, 1.0), MOST_FOR_FACES))
    return float(max(1.0, min(wanted, LONGEST_SIDE / max(image.shape[:2]))))


def _with_panels(
    canvas: Image,
    faces: Sequence[EmotionResult],
    areas: Sequence[Rect],
    unit: float,
    band: _Band,
    *,
    may_grow: bool,
    ids: Sequence[int],
) -> Image:
    """Draw the panels; return the canvas, which grows if it may and must."""
    of_faces = [(number, panel_of(result)) for number, result in enumerate(faces)]
    listed = [
        (number, replace(panel, title=f"#{ids[number]} {panel.title}") if ids else panel)
        for number, panel in of_faces
        if panel
    ]
    colours = [_colour(number, ids) for number, _ in listed]
    rows, columns = canvas.shape[:2]
    band_rows, gap = band.rows(rows), max(4, round(12 * unit))
    taken = [(0, band_rows.start, columns, band_rows.stop)] if band.height else []
    panels: list[Panel | Tag] = [panel for _, panel in listed]
    own = [areas[number] for number, _ in listed]
    others = [area for number, area in enumerate(areas) if number not in {number for number, _ in listed}]
    corners = places([panel.size(unit) for panel in panels], own, (columns, rows), [*taken, *others], gap)
    if None in corners and len(panels) == 1 and may_grow:
        return _panel_at_right(canvas, panels[0], colours[0], unit, (gap, band.height))
    if None in corners:
        panels, gap = [Tag(panel.title) for _, panel in listed], max(2, round(4 * unit))
        unit = _tag_unit(panels, own, unit)
        sizes = [panel.size(unit) for panel in panels]
        corners = places(sizes, own, (columns, rows), [*taken, *others], gap, at_side_first=False)
    for panel, corner, colour in zip(panels, corners, colours, strict=True):
        if corner:
            panel.draw(canvas, corner[:2], colour, unit)
    left = [number for number, corner in enumerate(corners) if corner is None]
    if left and may_grow:
        return _list_below(
            canvas, [(panels[number], own[number], colours[number]) for number in left], unit, band.height
        )
    for number in left:
        corner = _lower_left(panels[number].size(unit), rows if band.at_top else band_rows.start)
        blocked = [*(area for place, area in enumerate(own) if place != number), *others, *filter(None, corners)]
        if not any(overlap(corner, one) for one in blocked):
            panels[number].draw(canvas, corner[:2], colours[number], unit)
            break
    return canvas


def _lower_left(size: tuple[int, int], bottom: int) -> Rect:
    """Return the rectangle of a panel in the lower left corner of a picture."""
    top = max(0, bottom - size[1])
    return 0, top, size[0], top + size[1]


def _colour(number: int, ids: Sequence[int]) -> Colour:
    return COLOURS[((ids[number] - 1) if ids else number) % len(COLOURS)]


def _area(result: EmotionResult, scale: float, canvas: Image) -> Rect:
    """Return the rectangle of a face, box and landmarks, inside the picture."""
    points = np.array(result.box, np.float64).reshape(2, 2)
    if result.face:
        points = np.concatenate([points, result.face.landmarks])
    low, high = np.floor(points.min(0) * scale).astype(int), np.ceil(points.max(0) * scale).astype(int)
    rows, columns = canvas.shape[:2]
    return (max(0, int(low[0])), max(0, int(low[1])), min(columns, int(high[0])), min(rows, int(high[1])))


def _tag_unit(tags: Sequence[Panel | Tag], areas: Sequence[Rect], unit: float) -> float:
    """Return the scale at which a tag is about as wide as its face, between readable and that of the picture."""
    ratios = [(area[2] - area[0]) / tag.size(1.0)[0] for tag, area in zip(tags, areas, strict=True)]
    return min(unit, max(float(np.median(ratios)), LEAST_TAG_UNIT))


def _panel_at_right(
    canvas: Image, panel: Panel | Tag, colour: Colour, unit: float, around_below: tuple[int, int]
) -> Image:
    """Draw a panel right of the picture; ``around_below`` are free pixels around it, and more of them below."""
    (width, height), (gap, below) = panel.size(unit), around_below
    grown = _grown(canvas, max(0, height + 2 * gap + below - canvas.shape[0]), width + 2 * gap)
    panel.draw(grown, (canvas.shape[1] + gap, gap), colour, unit)
    return grown


def _list_below(canvas: Image, entries: Sequence[tuple[Panel | Tag, Rect, Colour]], unit: float, band: int) -> Image:
    """List tags below the picture, above a band, and write their numbers into the corners of their boxes."""
    tags = [Tag(f"{number} {tag.title}") for number, (tag, _, _) in enumerate(entries, 1)]
    corners, height = lines_of([tag.size(unit) for tag in tags], canvas.shape[1], max(4, round(8 * unit)))
    grown, top = _grown(canvas, height + band, 0), canvas.shape[0]
    for number, (tag, (x, y), (_, area, colour)) in enumerate(zip(tags, corners, entries, strict=True), 1):
        tag.draw(grown, (x, top + y), colour, unit)
        write(grown, str(number), (area[0] + round(6 * unit), area[1] + round(18 * unit)), 0.5 * unit, bold=True)
    return grown


def _grown(canvas: Image, down: int, across: int) -> Image:
    """Return the picture with rows below and columns at its right."""
    rows, columns = canvas.shape[:2]
    grown: Image = np.full((rows + down, columns + across, 3), PAPER, np.uint8)
    grown[:rows, :columns] = canvas
    return grown


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


def _draw_purpose(canvas: Image, text: str, unit: float, band: _Band) -> None:
    """Write the model's purpose along an edge: a picture travels without the text around it."""
    margin, size = round(10 * unit), 0.45 * unit
    size *= min(1.0, (canvas.shape[1] - 2 * margin) / max(text_width(text, size), 1))
    area = canvas[band.rows(canvas.shape[0])]
    area[:] = (0.25 * area + 0.75 * np.array(PAPER)).astype(np.uint8)
    write(area, text, (margin, band.height - round(8 * unit)), size)
