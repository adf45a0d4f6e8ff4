"""Fit of the margin around a detector's faces on labelled samples, cross-validated.

A network answers best on crops as it was trained, and each detector draws its boxes a little larger or smaller. So the
margin is fitted for one detector, on that detector's boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.face_crops import CropSettings, Preprocessing
from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.workflow.assemble import link_file
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.calibration.workflow.prepare import drawn_samples, true_labels
from emo_edge.console.progress import QUIET, Reports
from emo_edge.errors import InputError
from emo_edge.export.bundles.detector import stored_detector, with_detector
from emo_edge.export.bundles.evaluate import chain_probabilities
from emo_edge.metrics.bootstrap import percentile_interval, resampled
from emo_edge.metrics.classification import paired_interval, war
from emo_edge.metrics.label_agreement import SMALLEST

MARGINS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0)
"""Tried besides the bundle's own."""
FOLDS = 5
FEWEST = 50
"""Labelled samples below which a fit says nothing."""
Probabilities = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Change:
    """A figure of the held-out folds, its difference from the old margin's, and the 95 % interval of that."""

    value: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class MarginFit:
    """Accuracy (WAR) and log loss of each margin, and the chosen one."""

    detector: str
    margins: tuple[float, ...]
    accuracies: tuple[float, ...]
    losses: tuple[float, ...]
    before: float
    """The bundle's margin so far."""
    best: float
    """That of the least log loss over all samples."""
    accuracy: Change
    """Of each fold with the margin that the other folds choose."""
    loss: Change
    """Likewise."""

    @property
    def loses_accuracy(self) -> bool:
        """True if the whole interval of the accuracy's difference is below 0: more than chance explains."""
        return self.accuracy.high < 0

    @property
    def chosen(self) -> float:
        """The margin of the least log loss, unless held-out folds are no better with it, or lose accuracy."""
        better = self.loss.difference < 0 and not self.loses_accuracy
        return self.best if better else self.before

    def table(self) -> str:
        """Return every margin as a Markdown table, and lines on the choice."""
        lines = ["| margin | accuracy | log loss |", "|---|---|---|"]
        for margin, accuracy, loss in zip(self.margins, self.accuracies, self.losses, strict=True):
            mark = " (chosen)" if margin == self.chosen else ""
            lines.append(f"| {margin:g}{mark} | {accuracy:.1%} | {loss:.4f} |")
        return "\n".join([*lines, *self.warnings(), self.summary()])

    def warnings(self) -> list[str]:
        """Return what a user should know besides the choice: a margin that was refused, or accuracy that fell."""
        change = f"accuracy {self.accuracy.difference:+.1%} ({self.accuracy.low:+.1%} to {self.accuracy.high:+.1%})"
        if self.best == self.before or self.loss.difference >= 0:
            return []
        if self.loses_accuracy:
            return [f"margin {self.best:g} is refused: its log loss is less, but {change} on held-out samples"]
        if self.loss.high >= 0:
            gain = f"log loss {self.loss.difference:+.4f} ({self.loss.low:+.4f} to {self.loss.high:+.4f})"
            return [f"warning: {gain} on held-out samples, which chance may explain: measure on more samples"]
        if self.accuracy.difference < 0:
            return [f"warning: {change} on held-out samples, which chance may explain: measure on more samples"]
        return []

    def summary(self) -> str:
        """Return the choice and its evidence as one line."""
        accuracy, loss, index = self.accuracy, self.loss, self.margins.index(self.before)
        return (
            f"margin of {self.detector}: {self.before:g} before, {self.chosen:g} now; held-out accuracy "
            f"{accuracy.value:.1%} against {self.accuracies[index]:.1%} "
            f"({accuracy.difference:+.1%}, {accuracy.low:+.1%} to {accuracy.high:+.1%}), log loss {loss.value:.4f} "
            f"against {self.losses[index]:.4f} ({loss.difference:+.4f}, {loss.low:+.4f} to {loss.high:+.4f})"
        )


def fit_crop_margin(
    bundle: Path,
    listed: Callable[[], Sequence[Sample]],
    config: CalibrationConfig,
    *,
    threads: int | None = None,
    reports: Reports = QUIET,
) -> MarginFit:
    """Fit the margin of the crop that gives the labels, and write it into the bundle for the detector.

    The bundle's margin stays where the fitted one is no better on samples that it was not fitted on.

    Args:
        bundle: the directory; it is replaced as a whole.
        listed: gives labelled pictures; their own boxes are not used.
        config: number of samples (``collect`` and ``measure`` together), label set, profile and detector.
        threads: of each engine.
        reports: gets every step.

    Raises InputError for samples without labels, for too few, and for a bundle that gives no labels.
    """
    old = Bundle.open(bundle)
    if config.labels not in old.manifest.label_sets:
        raise InputError(f"`labels` {config.labels}: choose from {', '.join(old.manifest.label_sets) or 'none'}")
    writer = BundleWriter(bundle.resolve(), replaces=old)
    drawn = drawn_samples(old, lambda: [replace(sample, box=None) for sample in listed()], config, reports)
    truth = _truth(drawn.samples, config, old.manifest)
    detector = config.detector.name if config.detector else old.manifest.detector
    before = _crop(old.manifest).margin_of(detector)
    margins = tuple(sorted({*MARGINS, before}))
    tables = [
        _probabilities(old, margin, drawn.samples, config, threads, reports.of(f"margin {margin:g}"))
        for margin in margins
    ]
    fit = fitted_margin(np.stack(tables), truth, margins, before, detector)
    with writer:
        for file in old.manifest.files():
            link_file(old.directory / file.path, writer.path(file.path))
        writer.finish(_fitted_manifest(writer, old.manifest, fit, config))
    return fit


def fitted_margin(
    probabilities: Probabilities, truth: Ids, margins: tuple[float, ...], before: float, detector: str
) -> MarginFit:
    """Compare the margins, and the choice of the least log loss with the old margin on held-out folds.

    Args:
        probabilities: [margins, N, labels].
        truth: index of each sample's label, [N].
        margins: tried, ``before`` among them.
        before: the margin that stays otherwise.
        detector: of the boxes.
    """
    rows, old = np.arange(len(truth)), margins.index(before)
    losses = -np.log(np.maximum(probabilities[:, rows, truth], SMALLEST))
    predicted = probabilities.argmax(2)
    folds = np.random.default_rng(0).permutation(len(truth)) % FOLDS
    by_fold = [int(losses[:, folds != fold].mean(1).argmin()) for fold in range(FOLDS)]
    choice = np.array(by_fold)[folds]
    means = losses.mean(1)
    return MarginFit(
        detector,
        margins,
        accuracies=tuple(war(truth, table) for table in predicted),
        losses=tuple(means.tolist()),
        before=before,
        best=margins[int(means.argmin())],
        accuracy=_accuracy_change(truth, predicted[old], predicted[choice, rows]),
        loss=_loss_change(losses[old], losses[choice, rows]),
    )


def _accuracy_change(truth: Ids, before: Ids, after: Ids) -> Change:
    value = war(truth, after)
    return Change(value, value - war(truth, before), *paired_interval(war, truth, before, after))


def _loss_change(before: Probabilities, after: Probabilities) -> Change:
    changes = after - before
    interval = percentile_interval(resampled(lambda draw: float(changes[draw].mean()), len(changes)))
    return Change(float(after.mean()), float(changes.mean()), *interval)


def _truth(samples: Sequence[Sample], config: CalibrationConfig, manifest: Manifest) -> Ids:
    truth = true_labels(samples, config.labels, manifest.label_sets[config.labels])
    if truth is None:
        raise InputError("a margin is fitted on labelled samples: a folder a label, or a list with labels")
    if len(truth) < FEWEST:
        raise InputError(f"{len(truth)} labelled samples with a face: a fit of the margin needs {FEWEST} at least")
    return np.array(truth, np.int64)


def _part(manifest: Manifest) -> str:
    """Return the crop that the labels come from."""
    return "face" if manifest.face_labels.expression else "vision"


def _crop(manifest: Manifest) -> CropSettings:
    crop: CropSettings | None = getattr(manifest.preprocessing, _part(manifest))
    if crop is None:
        raise InputError("the bundle gives no labels: there is no margin to fit")
    return crop


def _with_crop(manifest: Manifest, **changes: object) -> Preprocessing:
    crops = manifest.preprocessing
    parts = {_part(manifest): _crop(manifest)} | ({"clip": crops.clip} if crops.clip else {})
    return crops.model_copy(update={name: crop.model_copy(update=changes) for name, crop in parts.items()})


def _probabilities(
    bundle: Bundle,
    margin: float,
    samples: Sequence[Sample],
    config: CalibrationConfig,
    threads: int | None,
    progress: Callable[[int, int], None],
) -> Probabilities:
    """Read the samples in their boxes with one margin, whatever detector gave the boxes."""
    preprocessing = _with_crop(bundle.manifest, margin=margin, margins={})
    draft = Bundle(bundle.directory, bundle.manifest.model_copy(update={"preprocessing": preprocessing}))
    profile = config.profile or bundle.manifest.default_profile
    return chain_probabilities(draft, profile, samples, config.labels, threads=threads, progress=progress).probabilities


def _fitted_manifest(writer: BundleWriter, old: Manifest, fit: MarginFit, config: CalibrationConfig) -> Manifest:
    margins = {**_crop(old).margins, fit.detector: fit.chosen}
    changes = {
        "preprocessing": _with_crop(old, margins=margins),
        "provenance": {**old.provenance, "crop_margin": fit.summary()},
    }
    manifest = Manifest.model_validate(old.model_copy(update=changes).model_dump())
    return with_detector(manifest, stored_detector(writer, config.detector)) if config.detector else manifest
