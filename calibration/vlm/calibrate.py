"""Calibrate the bundle of a VLM in llama.cpp's files: its scoring fitted, its reference quantized inside gates."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.gguf_types import FILE_TYPES, UNQUANTIZED
from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.samples.draw import DrawnSamples
from emo_edge.calibration.vlm.reference import VlmReference, label_scores
from emo_edge.calibration.vlm.scoring import DELTA, ScoringFit, fitted_scoring
from emo_edge.calibration.vlm.types import VlmRun, measured_again, with_profile, with_types
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.calibration.workflow.prepare import true_labels, usable_samples
from emo_edge.console.progress import QUIET, Reports
from emo_edge.errors import InputError
from emo_edge.export.bundles.detector import stored_detector, with_detector
from emo_edge.metrics.gates import FIGURES
from emo_edge.storage.output_files import claimed_file
from emo_edge.utils.suggestions import did_you_mean


@dataclass(frozen=True)
class VlmChoices:
    """Choices of a VLM's calibration besides its `CalibrationConfig`."""

    fit_scoring: bool = False
    """Fit temperature and prior correction on the labelled samples."""
    keep_imatrix: Path | None = None


def calibrate_vlm(
    bundle: Path,
    listed: Callable[[], Sequence[Sample]],
    config: CalibrationConfig,
    choices: VlmChoices = VlmChoices(),
    *,
    threads: int | None = None,
    reports: Reports = QUIET,
) -> Bundle:
    """Replace a bundle by one with quantized types that hold their gates, or with a fitted scoring.

    Args:
        bundle: the directory; it stays as it is until the new one is complete.
        listed: gives the pictures to draw samples from.
        config: types, samples, labels and gate; None of types are the bundle's own quantized ones, if it holds what
            they are made of.
        choices: what else to make.
        threads: of each engine.
        reports: gets every step.

    Raises InputError for a bundle without an unquantized language model, or too few samples; AccuracyGateError, leaving
    the old bundle, where a type fails its gate and ``config.strict`` asks for all, or none of them holds and no scoring
    was fitted.
    """
    old = Bundle.open(bundle)
    types = _requested_types(old, config, choices)
    if config.labels not in old.manifest.label_sets:
        raise InputError(f"`labels` {config.labels}: no such set{did_you_mean(config.labels, old.manifest.label_sets)}")
    scored = _scored_profile(old.manifest, config) if choices.fit_scoring else None
    compared = bool(types) or (scored is not None and _has_agreement(old.manifest))
    if compared:
        VlmReference.of(old)  # whose absence is reported before the slow work
    with claimed_file(choices.keep_imatrix, "keep_imatrix") as kept:
        writer, drawn = BundleWriter(bundle.resolve(), replaces=old), usable_samples(old, listed, config, reports)
        with writer:
            _link_files(old, writer)
            # The scoring comes first: a quantization is measured with the scoring that the bundle is used with.
            fit = _fitted(old, scored, drawn, config, threads, reports) if scored else None
            manifest = old.manifest.model_copy(update={"scoring": fit.scoring}) if fit else old.manifest
            if compared:
                run = VlmRun(VlmReference.of(Bundle(old.directory, manifest)), drawn, config, threads, reports)
                manifest = with_types(run, types, kept, writer, fitted=fit is not None) if types else manifest
                manifest = (
                    measured_again(run, manifest, writer) if manifest.scoring != old.manifest.scoring else manifest
                )
            if config.detector:
                manifest = with_detector(manifest, stored_detector(writer, config.detector))
            if scored and fit:
                manifest = _with_evidence(manifest, scored, fit)
            return writer.finish(Manifest.model_validate(manifest.model_dump()))


def _requested_types(bundle: Bundle, config: CalibrationConfig, choices: VlmChoices) -> tuple[str, ...]:
    language = bundle.manifest.components.language
    present = tuple(language.variants) if language else ()
    own = tuple(name for name in present if name not in UNQUANTIZED)
    if (choices.fit_scoring or config.detector) and own == present:
        own = ()  # nothing to make them of, and something else to do
    types = own if config.types is None else config.types
    unknown = [name for name in types if name not in FILE_TYPES or name in UNQUANTIZED]
    if unknown:
        raise InputError(f"`types` {', '.join(unknown)}: no quantized GGUF type{did_you_mean(unknown[0], FILE_TYPES)}")
    if not types and not choices.fit_scoring and not config.detector:
        raise InputError("nothing to do: name `types`, such as q4_k_m, `fit_scoring`, or a `detector`")
    return types


def _scored_profile(manifest: Manifest, config: CalibrationConfig) -> str:
    """Return the profile that the scoring is fitted with; raise InputError for one that the bundle has not yet."""
    name = config.profile or manifest.default_profile
    if name not in manifest.profiles:
        there = ", ".join(manifest.profiles)
        raise InputError(f"`profile` {name}: the scoring is fitted first, with one that the bundle has: {there}")
    return name


def _has_agreement(manifest: Manifest) -> bool:
    """Return whether profiles were compared with the unquantized model."""
    return any(FIGURES["agreement"] in profile.evidence for profile in manifest.profiles.values())


def _link_files(old: Bundle, writer: BundleWriter) -> None:
    """Carry the old files over, without a copy where the file system can."""
    for file in old.manifest.files():
        source, target = old.directory / file.path, writer.path(file.path)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def _fitted(
    bundle: Bundle, profile: str, drawn: DrawnSamples, config: CalibrationConfig, threads: int | None, reports: Reports
) -> ScoringFit:
    """Fit the scoring of a profile on all samples."""
    manifest, samples = bundle.manifest, drawn.samples
    truth = true_labels(samples, config.labels, manifest.label_sets[config.labels])
    if truth is None:
        raise InputError("a fit of the scoring needs a label of every sample: a folder with one folder a label")
    reports.progress("fit the scoring", 0, 1)
    fit = fitted_scoring(
        lambda prior: label_scores(bundle, profile, samples, config.labels, prior=prior, threads=threads),
        truth,
        manifest.scoring,
    )
    reports.line(
        f"scoring: temperature {fit.scoring.temperature}, "
        f"prior correction {'on' if fit.scoring.prior_correction else 'off'}; "
        + ", ".join(
            f"{name} {fit.evidence[f'{name}_before']:.3f} -> {fit.evidence[f'{name}_after']:.3f}"
            for name in ("nll", "ece", "war")
        )
        + f" (after: held-out folds of {len(samples)} samples); {fit.accuracy_text()}"
    )
    if fit.refused:
        reports.line(fit.refused)
    elif fit.evidence[DELTA] < 0:
        reports.line("warning: accuracy falls on held-out folds, which chance may explain: fit on more samples")
    return fit


def _with_evidence(manifest: Manifest, name: str, fit: ScoringFit) -> Manifest:
    """Add the figures of the fit to those of its profile."""
    profile = manifest.profiles[name]
    return with_profile(manifest, name, profile.model_copy(update={"evidence": {**profile.evidence, **fit.evidence}}))
