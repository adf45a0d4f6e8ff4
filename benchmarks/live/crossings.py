"""Drawn scenes of faces that cross, leave, come back and hide for half a second, with the true box of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.live.clips import changing_face
from emo_edge.benchmarks.live.scene import BACKGROUND
from emo_edge.benchmarks.synthetic.expression import Difficulty
from emo_edge.faces.detector import FaceDetector
from emo_edge.faces.live.assignment import overlaps
from emo_edge.media.crops import Box, Image

WIDTH, HEIGHT, FPS = 960, 540, 30
TILE = 200
SECONDS = 8.0
CROSSING_S = 4.0
"""To cross the frame: about one and a half faces a second, a slow walk."""
STEP_S = 1 / 3
"""Between two pictures of a face, whose expression changes over the scene."""
FACING = Difficulty(occlusion_probability=0.0, blur_probability=0.0, pose_sigma=0.08)
"""Persons that look about at the camera."""
LEAST_OVERLAP = 0.3
"""Intersection over union of a detected and a true box that are the same face; Haar's boxes are smaller than ours."""
LEAST_VISIBLE = 0.5
"""Part of a face that is inside the frame, and not covered, from which on it is one to find."""


@dataclass(frozen=True)
class Walk:
    """The way of one face, from one point of time to the next in a straight line; outside its times it is not there."""

    person: int
    times_s: tuple[float, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]

    def place(self, seconds: float) -> tuple[int, int] | None:
        """Return the left and upper edge of the tile."""
        if not self.times_s[0] <= seconds <= self.times_s[-1]:
            return None
        return round(float(np.interp(seconds, self.times_s, self.x))), round(
            float(np.interp(seconds, self.times_s, self.y))
        )


@dataclass(frozen=True)
class Cover:
    """A board before the faces, while it is there."""

    start_s: float
    end_s: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """Faces and boards; later walks lie over earlier ones."""

    name: str
    walks: tuple[Walk, ...]
    covers: tuple[Cover, ...] = ()


@dataclass(frozen=True)
class TrueFrame:
    """A frame with its true faces by person."""

    image: Image
    seconds: float
    boxes: dict[int, Box]


def scenes(seed: int, chosen: Iterator[int] | None = None) -> list[Scene]:
    """Return the scenes of a seed: places and speeds vary, persons too, nine of ``chosen`` or of the seed's own."""
    rng = np.random.default_rng([seed, 9])

    def about(value: float, spread: float = 25.0) -> float:
        return value + float(rng.uniform(-spread, spread))

    persons = persons_of(seed) if chosen is None else chosen
    last = SECONDS
    whole, walking = (0.0, last), (0.0, 2.0, 2.0 + CROSSING_S, last)
    crossing = Scene(
        "crossing",
        (
            Walk(next(persons), walking, _there(about(60), about(700)), (about(60),) * 4),
            Walk(next(persons), walking, _there(about(700), about(60)), (about(240),) * 4),
        ),
    )
    overlapping = Scene(
        "crossing, one behind the other",
        (
            Walk(next(persons), walking, _there(about(60), about(700)), (about(150, 10),) * 4),
            Walk(next(persons), walking, _there(about(700), about(60)), (about(165, 10),) * 4),
        ),
    )
    leaves_s = about(3.0, 0.4)
    exits = Scene(
        "exits",
        (
            Walk(next(persons), whole, (about(120), about(200)), (about(150), about(150))),
            Walk(next(persons), (0.0, leaves_s, leaves_s + 1.5), (about(420), about(500), WIDTH + 30.0), (150.0,) * 3),
            Walk(next(persons), (leaves_s + 2.5, last), (WIDTH + 30.0, about(450)), (about(200), about(200))),
        ),
    )
    hidden_s, x, y = about(3.5, 0.5), about(180), about(150)
    hidden = Scene(
        "hidden for half a second",
        (
            Walk(next(persons), whole, (x, x + 60), (y, y)),
            Walk(next(persons), whole, (about(620), about(560)), (about(150), about(150))),
        ),
        (Cover(hidden_s, hidden_s + 0.5, (round(x) - 20, round(y) - 20, round(x) + 280, round(y) + 240)),),
    )
    return [crossing, overlapping, exits, hidden]


def persons_of(seed: int) -> Iterator[int]:
    """Yield the persons of a seed."""
    return iter(range(100 * seed, 100 * seed + 100))


def is_detected(detector: FaceDetector, seed: int, person: int) -> bool:
    """Return True if a detector finds nine in ten pictures of a person alone."""
    hits, tiles = 0, _tiles(seed, person, SECONDS)
    for image, mask, box in tiles:
        picture = np.full((TILE, TILE, 3), BACKGROUND, np.uint8)
        picture[mask] = image[mask]
        faces = np.array([face.box for face in detector.detect(picture)], np.float64).reshape(-1, 4)
        hits += bool((overlaps(np.array([box], np.float64), faces) >= LEAST_OVERLAP).any())
    return hits >= 0.9 * len(tiles)


def _there(start: float, end: float) -> tuple[float, float, float, float]:
    """Return the places of someone who stands, walks and stands."""
    return start, start, end, end


def scene_frames(scene: Scene, seed: int, seconds: float = SECONDS) -> Iterator[TrueFrame]:
    """Draw a scene."""
    tiles = {walk.person: _tiles(seed, walk.person, seconds) for walk in scene.walks}
    for number in range(round(seconds * FPS)):
        at_s = number / FPS
        picture = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
        owner = np.full((HEIGHT, WIDTH), -1, np.int64)
        boxes: dict[int, Box] = {}
        for walk in scene.walks:
            place = walk.place(at_s)
            if place is not None:
                image, mask, box = tiles[walk.person][int(at_s / STEP_S + 1e-6)]
                _paste(picture, owner, image, mask, place, walk.person)
                boxes[walk.person] = tuple(value + place[index % 2] for index, value in enumerate(box))  # type: ignore[assignment]
        for cover in scene.covers:
            if cover.start_s <= at_s < cover.end_s:
                x0, y0, x1, y1 = cover.box
                picture[max(y0, 0) : y1, max(x0, 0) : x1] = (70, 60, 50)
                owner[max(y0, 0) : y1, max(x0, 0) : x1] = -1
        shown = {person: box for person, box in boxes.items() if _visible(owner, person, box) >= LEAST_VISIBLE}
        yield TrueFrame(picture, at_s, shown)


Tile = tuple[Image, NDArray[np.bool_], Box]


def _tiles(seed: int, person: int, seconds: float) -> list[Tile]:
    """Draw a person's pictures; the outline alone lies over what is behind."""
    face, tiles = changing_face(seed, person, seconds, FACING), list[Tile]()
    for step in range(int(seconds / STEP_S) + 1):
        sample = face.frame(step * STEP_S, TILE)
        tiles.append((sample.image, sample.parsing > 0, tuple(float(value) for value in sample.box)))  # type: ignore[arg-type]
    return tiles


def _paste(
    picture: Image, owner: NDArray[np.int64], tile: Image, mask: NDArray[np.bool_], place: tuple[int, int], person: int
) -> None:
    left, top = place
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + TILE, WIDTH), min(top + TILE, HEIGHT)
    if x1 <= x0 or y1 <= y0:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    inside = mask[part]
    picture[y0:y1, x0:x1][inside] = tile[part][inside]
    owner[y0:y1, x0:x1][inside] = person


def _visible(owner: NDArray[np.int64], person: int, box: Box) -> float:
    """Return the part of a face's box that shows the person; boxes are filled by about four fifths."""
    x0, y0, x1, y1 = (round(value) for value in box)
    area = max((x1 - x0) * (y1 - y0), 1)
    own = owner[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] == person
    return float(own.sum()) / (0.8 * area)
