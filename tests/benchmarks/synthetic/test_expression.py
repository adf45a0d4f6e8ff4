"""Action-unit sampling: an oracle that sees the intensities is good, but not perfect."""

import numpy as np

from emo_edge.benchmarks.synthetic.expression import (
    AU_INDEX,
    PROTOTYPES,
    Difficulty,
    sample_action_units,
    sided_intensities,
)

BASIC = [name for name in PROTOTYPES if name != "contempt"]


def _sample(count, seed, difficulty):
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(BASIC), size=count)
    return np.stack([sample_action_units(rng, BASIC[k], difficulty)[0] for k in labels]), labels


def lda_accuracy(difficulty):
    units, labels = _sample(8000, 0, difficulty)
    train, test = slice(0, 4000), slice(4000, 8000)
    means = np.stack([units[train][labels[train] == k].mean(axis=0) for k in range(len(BASIC))])
    spread = np.cov((units[train] - means[labels[train]]).T) + 1e-3 * np.eye(units.shape[1])
    weights = np.linalg.solve(spread, means.T)
    scores = units[test] @ weights - 0.5 * (means.T * weights).sum(axis=0)
    return float((scores.argmax(axis=1) == labels[test]).mean())


def test_an_oracle_on_intensities_is_good_but_not_perfect():
    assert 0.92 <= lda_accuracy(Difficulty()) <= 0.995


def test_no_ambiguity_means_no_errors():
    plain = Difficulty(weak_probability=0, drop_probability=0, blend_probability=0, stray_probability=0)
    assert lda_accuracy(plain) > 0.998


def test_intensities_stay_away_from_the_border_of_visible():
    units, _ = _sample(2000, 1, Difficulty())
    assert units.min() >= 0 and units.max() <= 1
    assert ((units > 0.12) & (units < 0.3)).mean() < 0.02


def test_contempt_acts_on_one_side_only():
    units, side = sample_action_units(np.random.default_rng(3), "contempt", Difficulty(drop_probability=0))
    sided = sided_intensities(units, side)
    loud = 1 if side > 0 else 0
    for number in (12, 14):
        assert sided[AU_INDEX[number], loud] > 0 and sided[AU_INDEX[number], 1 - loud] == 0
    others = np.delete(sided, [AU_INDEX[12], AU_INDEX[14]], axis=0)
    np.testing.assert_array_equal(others[:, 0], others[:, 1])
