"""The fit finds a known temperature and a known prior, and reports what held-out folds give."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.bundle.manifest import Scoring
from emo_edge.calibration.vlm.scoring import fitted_scoring
from emo_edge.errors import InputError


def drawn(count: int, temperature: float, prior: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw scores that are right at a temperature, and the same with a prior added that says nothing."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (count, 4))
    weights = np.exp(logits)
    truth = (weights.cumsum(1) > random.random((count, 1)) * weights.sum(1, keepdims=True)).argmax(1)
    return logits * temperature, logits * temperature + prior * np.array([3.0, 0, 0, -3]), truth


def test_a_known_temperature_and_prior_are_found() -> None:
    corrected, plain, truth = drawn(4000, temperature=3.0, prior=2.0)
    fit = fitted_scoring(lambda prior: corrected if prior else plain, truth.tolist(), Scoring())
    assert fit.scoring.prior_correction and fit.scoring.temperature == pytest.approx(3.0, rel=0.1)
    assert fit.evidence["nll_after"] < fit.evidence["nll_before"]
    assert fit.evidence["ece_after"] < 0.03 < fit.evidence["ece_before"]


def test_a_prior_that_hurts_is_left_out() -> None:
    corrected, plain, truth = drawn(2000, temperature=1.0, prior=1.0)
    fit = fitted_scoring(lambda prior: plain if prior else corrected, truth.tolist(), Scoring())
    assert not fit.scoring.prior_correction


def test_a_prior_of_less_log_loss_that_loses_accuracy_is_refused() -> None:
    """The plain scores are right everywhere and hardly so; the corrected ones are sure, and wrong on a tenth."""
    truth = np.zeros(200, np.int64)
    plain, corrected = np.tile([1.0, 0.999], (200, 1)), np.tile([4.0, 0.0], (200, 1))
    corrected[:20] = [0.0, 0.1]
    fit = fitted_scoring(lambda prior: corrected if prior else plain, truth.tolist(), Scoring())
    assert not fit.scoring.prior_correction and fit.evidence["war_after"] == 1.0 == fit.evidence["war_before"]
    assert fit.refused.startswith("prior correction on is refused: its log loss is less, but war -0.100 (-0.1")
    assert (fit.evidence["fit_war_delta"], fit.evidence["fit_war_delta_high"]) == (0, 0)
    kept = fitted_scoring(lambda prior: plain if prior else corrected, truth.tolist(), Scoring(prior_correction=True))
    assert kept.scoring.prior_correction and kept.refused.startswith("prior correction off is refused")


def test_held_out_folds_tell_a_fit_to_noise() -> None:
    random = np.random.default_rng(1)
    scores, truth = random.normal(0, 5, (200, 4)), random.integers(0, 4, 200)
    fit = fitted_scoring(lambda prior: scores, truth.tolist(), Scoring())
    assert fit.evidence["nll_after"] == pytest.approx(np.log(4), abs=0.05)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(InputError, match="needs 50 at least"):
        fitted_scoring(lambda prior: np.zeros((3, 2)), [0, 1, 0], Scoring())
