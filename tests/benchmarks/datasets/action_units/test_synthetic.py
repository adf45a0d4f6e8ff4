"""Drawn people as a data set of action units: labels as drawn, one face a person, folds, units that are never drawn."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.benchmarks.datasets.action_units.synthetic import DrawnPerson, synthetic_units
from emo_edge.errors import InputError
from emo_edge.taxonomy import EXPRESSIONS


def test_labels_are_those_of_the_pictures() -> None:
    dataset = synthetic_units(4, (12, 43, 4))
    assert dataset.units == (12, 4) and [len(fold) for fold in dataset.folds] == [2, 1, 1]
    assert any("AU43" in note for note in dataset.notes)
    one = dataset.recordings[1]
    samples = list(DrawnPerson(1).pictures(size=48))
    assert [sample.expression for sample in samples] == list(EXPRESSIONS)
    drawn = np.array([sample.action_units[[8, 2]] for sample in samples])
    assert one.intensities is not None and one.first_frame == 0
    np.testing.assert_allclose(one.intensities, 5 * drawn, rtol=1e-6)
    np.testing.assert_array_equal(one.active, drawn >= 0.2)
    assert len({(sample.age, sample.gender, sample.race) for sample in samples}) == 1
    assert len({sample.pose.tobytes() for sample in samples}) == len(samples)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match="3 people or more"):
        synthetic_units(2, (12,))
    with pytest.raises(InputError, match="none of the bundle's units"):
        synthetic_units(3, (43,))
