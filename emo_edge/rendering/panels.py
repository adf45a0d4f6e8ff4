"""Panels of a drawing: the labels of one face with bars, or its label alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_edge.inference.results import EmotionResult
from emo_edge.media.crops import Image
from emo_edge.rendering.placement import Size
from emo_edge.rendering.text import active_units

Colour = tuple[int, int, int]
INK, PAPER, BAR = (245, 245, 247), (28, 28, 30), (72, 72, 74)
SHOWN = 5
"""Labels, and attributes, that a panel lists."""
PRESENT = 0.5
"""Least probability of an attribute that is listed."""
TITLE, SMALL = 0.75, 0.5
"""Sizes of text, in OpenCV's units of about 22 pixels."""


@dataclass(frozen=True)
class Panel:
    """Content of a panel; the tag of a face is its title alone."""

    title: str
    bars: tuple[tuple[str, float], ...] = ()
    lines: tuple[str, ...] = ()

    def size(self, unit: float) -> Size:
        """Return width and height; ``unit`` scales text and lines."""
        names = self._names(unit)
        widths = [text_width(line, SMALL * unit) for line in self.lines]
        widths.append(text_width(self.title, TITLE * unit, bold=True))
        widths.append(names + round(94 * unit) if self.bars else 0)
        rows = 1 + len(self.bars) + len(self.lines)
        return max(widths) + round(32 * unit), round(26 * unit) * rows + round(22 * unit)

    def draw(self, canvas: Image, corner: tuple[int, int], colour: Colour, unit: float) -> None:
        """Draw the panel onto a picture, its upper left corner at ``corner``."""
        import cv2

        (left, top), line, names, wide = corner, round(26 * unit), self._names(unit), round(94 * unit)
        fill(canvas, corner, self.size(unit), colour, unit)
        x, y = left + round(16 * unit), top + line
        write(canvas, self.title, (x, y), TITLE * unit, bold=True)
        for name, probability in self.bars:
            y += line
            bar = (x + names, y - round(12 * unit))
            cv2.rectangle(canvas, bar, (bar[0] + wide, y), BAR, -1)
            cv2.rectangle(canvas, bar, (bar[0] + max(1, round(wide * probability)), y), colour, -1)
            write(canvas, name, (x, y), SMALL * unit)
        for text in self.lines:
            y += line
            write(canvas, text, (x, y), SMALL * unit)

    def _names(self, unit: float) -> int:
        return max((text_width(name, SMALL * unit) for name, _ in self.bars), default=0) + round(20 * unit)


@dataclass(frozen=True)
class Tag:
    """The label of a face alone."""

    title: str

    def size(self, unit: float) -> Size:
        """Return width and height; ``unit`` scales text and lines."""
        return text_width(self.title, SMALL * unit) + round(20 * unit), round(24 * unit)

    def draw(self, canvas: Image, corner: tuple[int, int], colour: Colour, unit: float) -> None:
        """Draw the tag onto a picture, its upper left corner at ``corner``."""
        fill(canvas, corner, self.size(unit), colour, unit)
        write(canvas, self.title, (corner[0] + round(12 * unit), corner[1] + round(17 * unit)), SMALL * unit)


def panel_of(result: EmotionResult) -> Panel | None:
    """Return the panel of a result: its labels, action units, and what else was asked for; None without any of them."""
    face, lines = result.face, list[str]()
    attributes = _ranked({name.replace("_", " "): value for name, value in face.attributes.items()}) if face else ()
    if face:
        heads = ((head, *_ranked(probabilities)[0]) for head, probabilities in face.demographics.items())
        lines += [f"{head} {label} {probability:.0%}" for head, label, probability in heads]
    lines += _unit_lines(result)
    if result.label:
        lines += [name for name, probability in attributes if probability >= PRESENT]
        return Panel(
            f"{result.label} {result.probabilities[result.label]:.0%}", _ranked(result.probabilities), (*lines,)
        )
    return Panel("attributes" if attributes else "face", attributes, (*lines,)) if attributes or lines else None


def _unit_lines(result: EmotionResult) -> list[str]:
    """Return the active units that are most probable, on one line."""
    active = {name: unit for name, unit in result.action_units.items() if unit.active}
    best = sorted(active, key=lambda name: -active[name].presence)[:SHOWN]
    return [", ".join(active_units({name: unit for name, unit in active.items() if name in best}))] if best else []


def _ranked(probabilities: dict[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(probabilities.items(), key=lambda item: -item[1])[:SHOWN])


def fill(canvas: Image, corner: tuple[int, int], size: Size, colour: Colour, unit: float) -> None:
    """Darken an area, with a stripe in the face's colour at its left."""
    (left, top), (width, height) = corner, size
    area = canvas[top : top + height, left : left + width]
    area[:] = (0.25 * area + 0.75 * np.array(PAPER)).astype(np.uint8)
    canvas[top : top + height, left : left + max(3, round(4 * unit))] = colour


def write(canvas: Image, text: str, origin: tuple[int, int], size: float, *, bold: bool = False) -> None:
    """Write a line of text; ``origin`` is the left end of its base line."""
    import cv2

    cv2.putText(canvas, _ascii(text), origin, cv2.FONT_HERSHEY_SIMPLEX, size, INK, 2 if bold else 1, cv2.LINE_AA)


def text_width(text: str, size: float, *, bold: bool = False) -> int:
    """Return the pixels that a line of text takes."""
    import cv2

    return int(cv2.getTextSize(_ascii(text), cv2.FONT_HERSHEY_SIMPLEX, size, 2 if bold else 1)[0][0])


def _ascii(text: str) -> str:
    """Replace other characters: OpenCV's fonts hold ASCII alone."""
    return text.encode("ascii", "replace").decode()
