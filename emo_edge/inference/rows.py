"""Results as flat rows, for `pandas.DataFrame` and `csv.DictWriter`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from emo_edge.bundle.manifest import Manifest
from emo_edge.errors import InputError
from emo_edge.inference.action_units import UnitReading, unit_name
from emo_edge.inference.prompt_layout import HEADS
from emo_edge.inference.results import EmotionResult, SourceResult
from emo_edge.media.sources import without_password

POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
"""Of a detector, in its order: left and right as in an upright picture."""
Value = str | int | float | None
Sections = tuple[dict[str, Value], ...]
"""One row, cut where columns that differ from result to result begin and end."""
ACCEPTED = "an EmotionResult, a SourceResult, None (a clip without a face) or an iterable of them"


def rows(results: Any) -> list[dict[str, Value]]:
    """Return one flat row a face, every row with the same keys in the same order.

    A source without a face, or with an error, gives one row whose other values are None.

    Args:
        results: an `EmotionResult`, a `SourceResult`, or an iterable of them: a list that ``pipeline.read`` returned,
            the iterator of `stream`, a list of such lists. None, a clip without a face, counts as an empty source.

    The columns are, in this order:

    - ``source``, ``kind`` (image or clip), ``start_s``, ``end_s`` (of a clip, in seconds from its segment's start);
    - ``segment``, the jumps of the time stamps before it, only where a result lies after one;
    - ``face``: the index in ``SourceResult.faces``, or among the `EmotionResult` objects of one list;
    - ``label``, ``confidence`` (its probability), and ``p_<label>`` for each label;
    - ``value_<name>``: valence, arousal and others, only where the network gives them;
    - ``AU12``, ``AU12_active``, ``AU12_intensity`` of each action unit: its probability, 1 from the unit's threshold
      on, and 0 to 5; only where the bundle gives them, intensities only where it gives these;
    - ``box_x0``, ``box_y0``, ``box_x1``, ``box_y1`` in pixels, ``detection_score``, ``frames``;
    - ``pose_pitch``, ``pose_yaw``, ``pose_roll`` in degrees;
    - ``attribute_<name>``: the probability of each, only where ``Request.face_facts`` asked for them;
    - ``age``, ``gender``, ``race``: the most probable label, only where ``Request.show_demographics`` asked for them;
    - ``answer_1``, ``answer_2`` …: in the order of ``EmotionResult.answers``, only where a result has them;
    - ``profile``, ``device``, ``error``;
    - ``point_<name>_x``, ``point_<name>_y`` in pixels of five points: ``left_eye``, ``right_eye``, ``nose``,
      ``mouth_left``, ``mouth_right``. None where the detector gives none: Haar, the whole image, boxes of your own;
    - ``rotation``: degrees by which an image was turned before it was read; ``whole_image``: 1 where no face was found
      in an image that was then read as a whole, else 0.

    Raises InputError for anything else in ``results``.
    """
    table = list(_table(results))
    columns = [
        list(dict.fromkeys(name for sections in table for name in sections[number]))
        for number in range(len(table[0]) if table else 0)
    ]
    return [
        {name: values.get(name) for values, names in zip(sections, columns, strict=True) for name in names}
        for sections in table
    ]


def columns(
    labels: Iterable[str],
    *,
    values: Iterable[str] = (),
    units: Iterable[str] = (),
    attributes: Iterable[str] = (),
    heads: Iterable[str] = (),
    answers: int = 0,
) -> list[str]:
    """Return the columns of `rows` for results of one request, before there is any result; ``segment`` is always one.

    Args:
        labels: that are scored.
        values: names of the values that the network gives.
        units: columns of its action units, as `unit_columns` gives them.
        attributes: names of the attributes that are asked for.
        heads: those of age, gender and race that are asked for.
        answers: number of questions that are answered.
    """
    source, face, _, _, _, geometry, _, _, _, settings, points, look = _row(_source(None, "image"), None, None)
    return [
        *source,
        "segment",
        *face,
        *(f"p_{name}" for name in labels),
        *(f"value_{name}" for name in values),
        *units,
        *geometry,
        *(f"attribute_{name}" for name in attributes),
        *heads,
        *(f"answer_{number + 1}" for number in range(answers)),
        *settings,
        *points,
        *look,
    ]


def unit_columns(manifest: Manifest) -> list[str]:
    """Return the columns of the action units that a bundle gives."""
    section = manifest.action_units
    ends = ("", "_active", "_intensity") if manifest.gives_unit_intensities else ("", "_active")
    return [f"{unit_name(unit)}{end}" for unit in section.units for end in ends] if section else []


def unit_cells(units: Mapping[str, UnitReading]) -> dict[str, Value]:
    """Return the action units of a face by column."""
    cells: dict[str, Value] = {}
    for name, unit in units.items():
        cells |= {name: unit.presence, f"{name}_active": int(unit.active)}
        if unit.intensity is not None:
            cells[f"{name}_intensity"] = unit.intensity
    return cells


def _table(results: Any) -> Iterator[Sections]:
    if results is None or isinstance(results, (EmotionResult, SourceResult)):
        results = [results]
    if isinstance(results, (str, bytes, dict)) or not isinstance(results, Iterable):
        raise InputError(f"rows are made of {ACCEPTED}, not of {type(results).__name__}")
    faces = count()
    for result in results:
        if result is None:
            yield _row(_source(None, "clip"), None, None)
        elif isinstance(result, EmotionResult):
            yield _row(_source(None, "clip" if result.frames > 1 else "image"), next(faces), result)
        elif isinstance(result, SourceResult):
            yield from _source_rows(result)
        else:
            yield from _table(result)


def _source_rows(result: SourceResult) -> Iterator[Sections]:
    source = _source(without_password(result.source), result.kind, result.seconds or (None, None))
    if result.segment:
        source["segment"] = result.segment
    error = None if result.error is None else str(result.error)
    if not result.faces:
        yield _row(source, None, None, error)
    for index, face in enumerate(result.faces):
        yield _row(source, index, face, error)


def _source(
    name: str | None, kind: str, seconds: tuple[float, float] | tuple[None, None] = (None, None)
) -> dict[str, Value]:
    return {"source": name, "kind": kind, "start_s": seconds[0], "end_s": seconds[1]}


def _row(
    source: dict[str, Value], index: int | None, result: EmotionResult | None, error: str | None = None
) -> Sections:
    label = result.label if result else None
    probabilities = result.probabilities if result else {}
    return (
        source,
        {"face": index, "label": label, "confidence": probabilities[label] if label else None},
        {f"p_{name}": float(value) for name, value in probabilities.items()},
        {f"value_{name}": float(value) for name, value in (result.values if result else {}).items()},
        unit_cells(result.action_units if result else {}),
        _geometry(result),
        {f"attribute_{name}": float(value) for name, value in _attributes(result).items()},
        _demographics(result),
        {f"answer_{number}": text for number, text in enumerate(result.answers.values() if result else (), 1)},
        {
            "profile": result.settings.profile if result else None,
            "device": result.settings.device if result else None,
            "error": error,
        },
        _points(result),
        {
            "rotation": result.rotation if result else None,
            "whole_image": int(result.whole_image) if result else None,
        },
    )


def _geometry(result: EmotionResult | None) -> dict[str, Value]:
    box = [float(value) for value in result.box] if result else [None] * 4
    pose = result.face.pose_degrees if result and result.face else {}
    return {
        **dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), box, strict=True)),
        "detection_score": result.detection_score if result else None,
        "frames": result.frames if result else None,
        **{f"pose_{axis}": pose.get(axis) for axis in ("pitch", "yaw", "roll")},
    }


def _points(result: EmotionResult | None) -> dict[str, Value]:
    given = result.points if result and result.points else [(None, None)] * len(POINTS)
    return {
        f"point_{name}_{axis}": None if value is None else float(value)
        for name, point in zip(POINTS, given, strict=True)
        for axis, value in zip("xy", point, strict=True)
    }


def _attributes(result: EmotionResult | None) -> dict[str, float]:
    return result.face.attributes if result and result.face else {}


def _demographics(result: EmotionResult | None) -> dict[str, Value]:
    given = result.face.demographics if result and result.face else {}
    return {name: max(given[name], key=given[name].__getitem__) for name in HEADS if name in given}
