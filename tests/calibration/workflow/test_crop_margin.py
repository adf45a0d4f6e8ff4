"""The margin around a detector's faces, fitted on labelled pictures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.workflow.crop_margin import MARGINS, fitted_margin
from emo_edge.cli.app import main

MARGINS_TRIED = (0.0, 0.1, 0.2)


def run(*words: object) -> Any:
    return CliRunner().invoke(main, ["calibrate", *map(str, words)])


def probabilities(right: list[list[float]]) -> Any:
    """Return [margins, N, 2] from the probability of the true label, which is always the first."""
    first = np.array(right)
    return np.stack([first, 1 - first], -1)


def test_the_margin_of_the_least_log_loss_is_chosen() -> None:
    tables = probabilities([[0.4] * 60, [0.9] * 60, [0.6] * 60])
    fit = fitted_margin(tables, np.zeros(60, np.int64), MARGINS_TRIED, 0.2, "mtcnn")
    assert (fit.chosen, fit.accuracies) == (0.1, (0.0, 1.0, 1.0))
    assert fit.losses == pytest.approx([-np.log(0.4), -np.log(0.9), -np.log(0.6)])
    assert (fit.accuracy.value, fit.loss.value) == pytest.approx((1.0, -np.log(0.9)))
    assert (
        "margin of mtcnn: 0.2 before, 0.1 now; held-out accuracy 100.0% against 100.0% (+0.0%, +0.0% to +0.0%), "
        "log loss 0.1054 against 0.5108 (-0.4055, -0.4055 to -0.4055)" in fit.summary()
    )
    assert fit.warnings() == []


def sure_and_wrong(count: int, wrong: int) -> list[float]:
    """Return probabilities of the truth that are high but for ``wrong`` of them, which are just below a half."""
    return [0.48] * wrong + [0.9] * (count - wrong)


def test_a_margin_of_less_log_loss_that_loses_accuracy_is_refused_and_says_so() -> None:
    """The old margin is right everywhere and unsure; the new one is sure, and wrong on a fifth of the pictures."""
    tables = probabilities([[0.55] * 100, sure_and_wrong(100, 20)])
    fit = fitted_margin(tables, np.zeros(100, np.int64), (0.0, 0.1), 0.0, "mtcnn")
    assert fit.losses[1] < fit.losses[0] and fit.loss.high < 0
    assert (fit.best, fit.chosen) == (0.1, 0.0)
    assert fit.accuracy.difference == pytest.approx(-0.2) and fit.accuracy.low < -0.2 < fit.accuracy.high < 0
    (line,) = fit.warnings()
    assert line.startswith("margin 0.1 is refused: its log loss is less, but accuracy -20.0% (-")
    assert line in fit.table() and "0 before, 0 now; held-out accuracy 80.0% against 100.0% (-20.0%, -" in fit.summary()


def test_accuracy_that_chance_may_have_taken_is_a_warning() -> None:
    tables = probabilities([[0.55] * 100, sure_and_wrong(100, 1)])
    fit = fitted_margin(tables, np.zeros(100, np.int64), (0.0, 0.1), 0.0, "mtcnn")
    assert fit.chosen == 0.1 and fit.accuracy.high == 0
    (line,) = fit.warnings()
    assert line.startswith("warning: accuracy -1.0% (-") and "measure on more samples" in line


def test_a_gain_that_chance_may_have_given_is_a_warning() -> None:
    """One margin is a little better in every fold, by pairs of pictures of which one gets better and one worse."""
    old, new = [0.6, 0.6] * 40, [0.62, 0.59] * 40
    new[0], new[1] = 0.99, 0.3
    fit = fitted_margin(probabilities([old, new]), np.zeros(80, np.int64), (0.0, 0.1), 0.0, "mtcnn")
    assert fit.chosen == 0.1 and fit.loss.low < 0 < fit.loss.high
    (line,) = fit.warnings()
    assert line.startswith("warning: log loss -0.") and "which chance may explain: measure on more samples" in line


def test_a_margin_that_only_fits_the_samples_it_was_chosen_on_is_left() -> None:
    """Noise: one margin is best on all samples, and the folds' choices are worse than the old margin on others."""
    for seed in range(200):
        noise = np.random.default_rng(seed).uniform(0.2, 0.8, (3, 50))
        fit = fitted_margin(probabilities(noise.tolist()), np.zeros(50, np.int64), MARGINS_TRIED, 0.0, "haar")
        if fit.losses[0] > min(fit.losses) and fit.loss.value >= fit.losses[0]:
            assert fit.chosen == 0.0
            return
    pytest.fail("no such noise among the seeds")


def test_calibrate_writes_the_margin_of_the_bundles_detector(label_bundle: Path, tmp_path: Path) -> None:
    copy, samples = tmp_path / "bundle", tmp_path / "samples"
    shutil.copytree(label_bundle, copy)
    for sample in packaged_samples(70):
        assert isinstance(sample.source, Path) and sample.expression
        (samples / sample.expression).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sample.source, samples / sample.expression / sample.source.name)
    done = run(copy, "--samples", samples, "--fit-crop", "--detector", "mtcnn")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    warned = sum(line.startswith(("warning: ", "margin ")) for line in lines[:-2])
    assert len(lines) == 2 + len({*MARGINS, 0.1}) + warned + 2 and lines[-1] == str(copy)
    manifest = Bundle.open(copy).manifest
    crop = manifest.preprocessing.face
    assert crop is not None and crop.margins.keys() == {"mtcnn"} and f"{crop.margins['mtcnn']:g} now" in lines[-2]
    assert manifest.detector == "mtcnn" and manifest.provenance["crop_margin"] == lines[-2]


def test_a_fit_needs_labels_and_enough_of_them(label_bundle: Path, tmp_path: Path) -> None:
    copy, samples = tmp_path / "bundle", tmp_path / "samples"
    shutil.copytree(label_bundle, copy)
    samples.mkdir()
    for sample in packaged_samples(20):
        assert isinstance(sample.source, Path)
        shutil.copyfile(sample.source, samples / sample.source.name)
    words = (copy, "--samples", samples, "--fit-crop", "--collect", 1, "--measure", 16)
    unlabelled = run(*words)
    assert unlabelled.exit_code == 4 and "fitted on labelled samples" in unlabelled.stderr
    few = run(copy, "--samples", "synthetic:20", "--fit-crop")
    assert few.exit_code == 4 and "needs 50 at least" in few.stderr
    foreign = run(copy, "--samples", samples, "--fit-crop", "--labels", "ck8")
    assert foreign.exit_code == 4 and "--labels ck8: choose from rafdb7" in foreign.stderr
