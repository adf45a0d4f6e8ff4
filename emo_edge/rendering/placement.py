"""Places for panels on a picture: next to their face, over no other face and no other panel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Rect = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, the last two outside."""
Size = tuple[int, int]
"""Width and height."""


def overlap(one: Rect, other: Rect) -> bool:
    """Return True if two rectangles have a pixel in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def places(
    sizes: Sequence[Size],
    faces: Sequence[Rect],
    canvas: Size,
    taken: Sequence[Rect],
    gap: int,
    *,
    at_side_first: bool = True,
) -> list[Rect | None]:
    """Return a rectangle for each face, which overlaps none of the others, no face and nothing of ``taken``.

    Faces with the fewest places come first. None stands for a face next to which there is no room; the panel of a
    single face may also stand in a corner of the picture.

    Args:
        sizes: of each face's panel.
        faces: where the faces are.
        canvas: size of the picture.
        taken: further areas to keep free.
        gap: pixels between a face and its panel.
        at_side_first: True tries right and left of a face before below and above it.
    """
    chosen: list[Rect | None] = [None] * len(faces)
    blocked, alone = [*faces, *taken], len(faces) == 1
    free = [
        [
            rect
            for rect in _candidates(size, face, canvas, gap, at_side_first, alone)
            if not any(overlap(rect, one) for one in blocked)
        ]
        for size, face in zip(sizes, faces, strict=True)
    ]
    for number in sorted(range(len(faces)), key=lambda number: len(free[number])):
        others = [rect for rect in chosen if rect]
        chosen[number] = next((rect for rect in free[number] if not any(overlap(rect, one) for one in others)), None)
    return chosen


def _candidates(size: Size, face: Rect, canvas: Size, gap: int, at_side_first: bool, alone: bool) -> Iterator[Rect]:
    """Yield the rectangles around a face that lie inside the picture, the best first."""
    (width, height), (x0, y0, x1, y1) = size, face
    across, down = canvas[0] - width, canvas[1] - height
    if across < 0 or down < 0:
        return
    rows = [_inside(y, down) for y in (y0, (y0 + y1 - height) // 2, y1 - height, y0 - height // 2, y1 - height // 2)]
    columns = [_inside(x, across) for x in (x0, (x0 + x1 - width) // 2, x1 - width, x0 - width // 2, x1 - width // 2)]
    at_side = [(x, y) for x in (x1 + gap, x0 - gap - width) for y in rows]
    in_line = [(x, y) for y in (y1 + gap, y0 - gap - height) for x in columns]
    # A panel above a lone face would cover its hair; a label is small enough.
    corners = [(x, y) for y in (gap, down - gap) for x in (across - gap, gap)] if alone else []
    for x, y in dict.fromkeys([*at_side, *corners, *in_line] if at_side_first else [*in_line, *at_side, *corners]):
        if 0 <= x <= across and 0 <= y <= down:
            yield x, y, x + width, y + height


def _inside(value: int, most: int) -> int:
    return max(0, min(value, most))


def lines_of(sizes: Sequence[Size], width: int, gap: int) -> tuple[list[tuple[int, int]], int]:
    """Lay rectangles out like words on lines of ``width``; return their corners and the height of all lines."""
    corners, x, y, line = [], gap, gap, 0
    for across, down in sizes:
        if x > gap and x + across + gap > width:
            x, y, line = gap, y + line + gap, 0
        corners.append((x, y))
        x, line = x + across + gap, max(line, down)
    return corners, y + line + gap
