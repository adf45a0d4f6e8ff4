"""Figures of a tracker of action units on a data set, by unit, with intervals over its people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.action_units.predictions import UnitPredictions
from emo_edge.benchmarks.datasets.action_units.recordings import Folds, Recording, UnitDataset
from emo_edge.errors import InputError
from emo_edge.metrics.by_subject import NO_FIGURE, Figure, figure_of_sums, interval_of_sums
from emo_edge.metrics.unit_detection import (
    auc_of_histogram,
    calibration_sums,
    coarse_histograms,
    detection_counts,
    error_of_calibration,
    f1_of_counts,
    mean_of_defined,
    score_histograms,
)
from emo_edge.metrics.value_agreement import icc_of_sums, mean_error_of_sums, pair_sums, pearson_of_sums

FloatArray = NDArray[np.float64]
ABSENT = ("inactive", "left-out")
"""Ways to count a frame that has labels and no prediction."""


@dataclass(frozen=True)
class UnitScores:
    """Figures of one unit. None where its columns are missing, or the labels do not have what they need."""

    unit: int
    frames: int
    """With a label."""
    active: float
    """Fraction of these in which the unit is there."""
    f1: Figure
    """Over all frames together."""
    f1_folds: float | None
    """Mean over the folds."""
    auc: Figure
    icc: Figure
    pcc: Figure
    mae: Figure
    ece: Figure


@dataclass(frozen=True)
class Evaluation:
    """All figures of one tracker on one data set."""

    dataset: str
    folds: Folds
    subjects: int
    recordings: int
    frames: int
    without_prediction: int
    """Frames with labels that the tracker has no prediction for."""
    absent: str
    """One of `ABSENT`."""
    units: tuple[UnitScores, ...]
    mean_f1: Figure
    """Mean over the units of the F1 over all frames."""
    mean_f1_folds: float | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; a figure is an object of value, low and high."""
        fields = asdict(self)
        units = [{name: _json(value) for name, value in vars(scores).items()} for scores in self.units]
        return fields | {"units": units, "mean_f1": self.mean_f1._asdict()}


@dataclass(frozen=True)
class _Frames:
    """Labels and predictions of one person's frames, [N, U] each, NaN where one is missing."""

    truth: FloatArray
    active: FloatArray
    scores: FloatArray
    probabilities: FloatArray
    intensities: FloatArray
    true_intensities: FloatArray


def evaluate(
    predictions: Mapping[str, UnitPredictions],
    dataset: UnitDataset,
    folds: Folds,
    *,
    absent: str = "inactive",
    frame_offset: int | None = None,
) -> Evaluation:
    """Measure predictions against the labels of a data set.

    Args:
        predictions: by the key of each recording, units in the data set's order.
        dataset: the recordings that are measured.
        folds: people whom each fold tests.
        absent: "inactive" counts a frame without a prediction as one without any unit, so that nobody gains by losing
            hard faces; "left-out" leaves it out. Only F1 knows the difference: the other figures need a number.
        frame_offset: number to add to the predictions' frames to get those of the labels; None compares the first
            frames where the labels show theirs, else 0.

    Raises InputError for a recording without predictions, for files whose columns differ, and for first frames that
    cannot be compared.
    """
    if absent not in ABSENT:
        raise InputError(f"`absent` is {' or '.join(ABSENT)}, not {absent}")
    missing = [one.key for one in dataset.recordings if one.key not in predictions]
    if missing:
        raise InputError(f"no predictions of {', '.join(missing[:5])}: every recording of the folds needs some")
    _same_columns(predictions, dataset)
    subjects = sorted({one.subject for one in dataset.recordings})
    parts = [_aligned(one, predictions[one.key], frame_offset) for one in dataset.recordings]
    people = [
        _joined([part for part, one in zip(parts, dataset.recordings, strict=True) if one.subject == subject])
        for subject in subjects
    ]
    counts = np.stack([_counts(person, absent) for person in people])
    rows = [[subjects.index(subject) for subject in fold] for fold in folds]
    scores = tuple(_scores(unit, column, people, counts, rows) for column, unit in enumerate(dataset.units))
    measured = [column for column, own in enumerate(scores) if own.f1.value is not None]
    by_fold = [own.f1_folds for own in scores if own.f1_folds is not None]
    without = sum(int((np.isnan(part.active) & np.isnan(part.scores)).all(1).sum()) for part in people)
    return Evaluation(
        dataset.name,
        folds,
        len(subjects),
        len(parts),
        sum(len(part.truth) for part in people),
        without,
        absent,
        scores,
        figure_of_sums(lambda sums: mean_of_defined(f1_of_counts(sums[measured])), counts) if measured else NO_FIGURE,
        float(np.mean(by_fold)) if by_fold else None,
        _notes(predictions, dataset, scores),
    )


def _same_columns(predictions: Mapping[str, UnitPredictions], dataset: UnitDataset) -> None:
    """Raise InputError where the file of one recording has units that that of another lacks."""
    first = None
    for one in dataset.recordings:
        own = predictions[one.key]
        kinds = [
            tuple(bool((~np.isnan(part)).any()) for part in column) for column in (own.active.T, own.intensities.T)
        ]
        has = [unit for unit, *there in zip(dataset.units, *kinds, strict=True) if any(there)]
        if has and first is None:
            first = one.key, has
        elif has and first is not None and has != first[1]:
            raise InputError(
                f"{one.key} has units {', '.join(map(str, has))}, {first[0]} has {', '.join(map(str, first[1]))}: "
                "one tracker writes the same columns for every video"
            )


def _aligned(recording: Recording, own: UnitPredictions, offset: int | None) -> _Frames:
    """Return labels with the prediction of the same frame, NaN where there is none."""
    shift = _offset(recording, own) if offset is None else offset
    first, last = own.first_frame + shift, own.last_frame + shift
    if first > recording.frames[-1] or last < recording.frames[0]:
        raise InputError(
            f"{recording.key}: no frame has both a label and a prediction: labels are of {recording.frames[0]} to "
            f"{recording.frames[-1]}, predictions of {first} to {last}; name the difference as `frame_offset`"
        )
    _, labelled, predicted = np.intersect1d(recording.frames, own.frames + shift, True, return_indices=True)
    unknown = np.full(recording.active.shape, np.nan)
    active, probabilities, intensities = (unknown.copy() for _ in range(3))
    for target, part in ((active, own.active), (probabilities, own.probabilities), (intensities, own.intensities)):
        target[labelled] = part[predicted]
    scores = np.where(np.isnan(probabilities), intensities, probabilities)
    true_intensities = unknown if recording.intensities is None else recording.intensities
    return _Frames(recording.active, active, scores, probabilities, intensities, true_intensities)


def _offset(recording: Recording, own: UnitPredictions) -> int:
    if recording.first_frame is None:
        return 0
    first = own.first_frame
    if first not in (0, 1):
        raise InputError(
            f"{recording.key}: its predictions begin with frame {first}: whether they are counted from 0 or from 1 "
            "cannot be seen; name what to add to them as `frame_offset`"
        )
    return recording.first_frame - first


def _joined(parts: Sequence[_Frames]) -> _Frames:
    return _Frames(*(np.concatenate([getattr(part, name) for part in parts]) for name in _Frames.__annotations__))


def _counts(person: _Frames, absent: str) -> FloatArray:
    truth = person.truth
    if absent == "left-out":
        truth = np.where(np.isnan(person.active), np.nan, truth)
    return detection_counts(truth, np.nan_to_num(person.active) > 0)


def _scores(
    unit: int, column: int, people: Sequence[_Frames], counts: FloatArray, folds: Sequence[Sequence[int]]
) -> UnitScores:
    truth = [person.truth[:, column] for person in people]
    known = np.concatenate(truth)
    known = known[~np.isnan(known)]
    detected = any((~np.isnan(person.active[:, column])).any() for person in people)
    by_fold = f1_of_counts(np.stack([counts[rows, column].sum(0) for rows in folds]))
    mean = mean_of_defined(by_fold)
    pairs = np.stack([pair_sums(one.true_intensities[:, column], one.intensities[:, column]) for one in people])
    bins = np.stack([calibration_sums(one.truth[:, column], one.probabilities[:, column]) for one in people])
    return UnitScores(
        unit=unit,
        frames=len(known),
        active=float(known.mean()) if len(known) else 0.0,
        f1=figure_of_sums(lambda sums: float(f1_of_counts(sums)), counts[:, column]) if detected else NO_FIGURE,
        f1_folds=mean if detected and not np.isnan(mean) else None,
        auc=_auc(truth, [person.scores[:, column] for person in people]),
        icc=figure_of_sums(icc_of_sums, pairs),
        pcc=figure_of_sums(pearson_of_sums, pairs),
        mae=figure_of_sums(mean_error_of_sums, pairs),
        ece=figure_of_sums(error_of_calibration, bins),
    )


def _auc(truth: Sequence[FloatArray], scores: Sequence[FloatArray]) -> Figure:
    histograms = score_histograms(truth, scores)
    value = auc_of_histogram(histograms.sum(0))
    if np.isnan(value):
        return NO_FIGURE
    return Figure(value, *(interval_of_sums(auc_of_histogram, coarse_histograms(histograms)) or (None, None)))


def _notes(
    predictions: Mapping[str, UnitPredictions], dataset: UnitDataset, scores: Sequence[UnitScores]
) -> tuple[str, ...]:
    none = [f"AU{own.unit}" for own in scores if own.f1.value is None]
    others = sum(predictions[one.key].other_faces for one in dataset.recordings)
    notes = list(dataset.notes)
    if none:
        notes.append(f"not detected by this tracker: {', '.join(none)}; the mean F1 is that of the others")
    if others:
        notes.append(f"{others} rows of other faces are left out")
    return tuple(notes)


def _json(value: Any) -> Any:
    return value._asdict() if isinstance(value, Figure) else value
