"""Panels on a picture: none covers a face or another panel, whatever the picture is."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from emo_edge.rendering.placement import Rect, lines_of, overlap, places

CANVAS = (640, 480)


@st.composite
def faces(draw: st.DrawFn) -> Rect:
    x0, y0 = draw(st.integers(0, 600)), draw(st.integers(0, 440))
    width, height = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    return x0, y0, min(x0 + width, CANVAS[0]), min(y0 + height, CANVAS[1])


@given(st.lists(st.tuples(faces(), st.integers(5, 200), st.integers(5, 200)), max_size=12), st.booleans())
def test_no_panel_covers_a_face_or_another_panel(entries: list[tuple[Rect, int, int]], at_side_first: bool) -> None:
    boxes, band = [face for face, _, _ in entries], (0, 456, 640, 480)
    sizes = [(width, height) for _, width, height in entries]
    chosen = places(sizes, boxes, CANVAS, [band], 8, at_side_first=at_side_first)
    assert len(chosen) == len(entries)
    placed = [rect for rect in chosen if rect]
    for one, other in combinations(placed, 2):
        assert not overlap(one, other)
    for rect, size in zip(chosen, sizes, strict=True):
        if rect:
            assert (rect[2] - rect[0], rect[3] - rect[1]) == size
            assert not any(overlap(rect, area) for area in (*boxes, band))
            assert rect[0] >= 0 and rect[1] >= 0 and rect[2] <= CANVAS[0] and rect[3] <= CANVAS[1]


def test_a_panel_stands_right_of_its_face_where_there_is_room() -> None:
    assert places([(50, 20)], [(100, 100, 200, 200)], CANVAS, [], 8) == [(208, 100, 258, 120)]
    assert places([(50, 20)], [(540, 100, 640, 200)], CANVAS, [], 8) == [(482, 100, 532, 120)]
    assert places([(50, 20)], [(100, 100, 200, 200)], CANVAS, [], 8, at_side_first=False) == [(100, 208, 150, 228)]
    assert places([(50, 20)], [(0, 0, 640, 480)], CANVAS, [], 8) == [None]
    assert places([(200, 100)], [(180, 120, 460, 360)], CANVAS, [], 8) == [(432, 8, 632, 108)], "a corner"
    two = places([(200, 100)] * 2, [(180, 120, 460, 360), (0, 0, 9, 9)], CANVAS, [], 8)
    assert two == [(180, 368, 380, 468), (17, 0, 217, 100)], "of several faces next to its own"


def test_labels_without_room_are_laid_out_in_lines() -> None:
    corners, height = lines_of([(40, 10), (40, 10), (40, 12)], 100, 4)
    assert corners == [(4, 4), (48, 4), (4, 18)] and height == 34
