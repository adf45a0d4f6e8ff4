"""Calibrate the bundle of a VLM in llama.cpp's files: its reference quantized with its own prompts' statistics."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.gguf_types import FILE_TYPES, UNQUANTIZED
from emo_edge.bundle.imatrix_file import write_imatrix
from emo_edge.bundle.manifest import Manifest, Profile, Scoring, Variant
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.language.variants import GroundTruth
from emo_edge.calibration.samples.draw import DrawnSamples
from emo_edge.calibration.vlm.reference import VlmReference, label_scores
from emo_edge.calibration.vlm.scoring import ScoringFit, fitted_scoring
from emo_edge.calibration.workflow.config import CalibrationConfig, language_of
from emo_edge.calibration.workflow.prepare import SEARCHED, require_known_figures, true_labels, usable_samples
from emo_edge.calibration.workflow.question_cache import CacheSearch, takes_question_cache
from emo_edge.calibration.workflow.runs import SplitSamples
from emo_edge.console.progress import QUIET, Reports
from emo_edge.errors import AccuracyGateError, InputError
from emo_edge.export.bundles.detector import stored_detector, with_detector
from emo_edge.export.bundles.evaluate import chain_probabilities
from emo_edge.export.bundles.profiles import PROFILE_OF
from emo_edge.export.gguf.quantize import quantize_gguf
from emo_edge.metrics.gates import profile_gate
from emo_edge.utils.files import require_disk_space
from emo_edge.utils.suggestions import did_you_mean

STATISTICS = "statistics.imatrix.gguf"


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
        config: types, samples, labels and gate; None of types are the bundle's own quantized ones.
        choices: what else to make.
        threads: of each engine.
        reports: gets every step.

    Raises InputError for a bundle without an unquantized language model, or too few samples; AccuracyGateError, leaving
    the old bundle, where a type fails its gate and ``config.strict`` asks for all, or none of them holds.
    """
    old = Bundle.open(bundle)
    types = _requested_types(old, config, choices)
    if config.labels not in old.manifest.label_sets:
        raise InputError(f"`labels` {config.labels}: no such set{did_you_mean(config.labels, old.manifest.label_sets)}")
    writer, reference = BundleWriter(bundle.resolve(), overwrite=True), VlmReference.of(old) if types else None
    drawn = usable_samples(old, listed, config, reports)
    with writer:
        _link_files(old, writer)
        manifest = old.manifest
        if reference:
            run = VlmRun(reference, drawn, config, threads, reports)
            manifest = _with_types(run, types, choices, writer)
        if config.detector:
            manifest = with_detector(manifest, stored_detector(writer, config.detector))
        if choices.fit_scoring:
            manifest = _with_scoring(Bundle(writer.partial, manifest), drawn, config, threads, reports)
        return writer.finish(Manifest.model_validate(manifest.model_dump()))


def _requested_types(bundle: Bundle, config: CalibrationConfig, choices: VlmChoices) -> tuple[str, ...]:
    language = bundle.manifest.components.language
    own = tuple(name for name in (language.variants if language else {}) if name not in UNQUANTIZED)
    types = own if config.types is None else config.types
    unknown = [name for name in types if name not in FILE_TYPES or name in UNQUANTIZED]
    if unknown:
        raise InputError(f"`types` {', '.join(unknown)}: no quantized GGUF type{did_you_mean(unknown[0], FILE_TYPES)}")
    if not types and not choices.fit_scoring and not config.detector:
        raise InputError("nothing to do: name `types`, such as q4_k_m, `fit_scoring`, or a `detector`")
    return types


def _link_files(old: Bundle, writer: BundleWriter) -> None:
    """Carry the old files over, without a copy where the file system can."""
    for file in old.manifest.files():
        source, target = old.directory / file.path, writer.path(file.path)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


@dataclass(frozen=True)
class VlmRun(SplitSamples):
    """Everything that the types of one calibration are made and measured with."""

    reference: VlmReference
    drawn: DrawnSamples
    config: CalibrationConfig
    threads: int | None
    reports: Reports

    @cached_property
    def truth(self) -> GroundTruth:
        """Baseline of the samples that everything is measured on."""
        known = true_labels(self.measured, self.config.labels, self.labels)
        return GroundTruth(self.probabilities(self.measured, "reference"), known)

    @cached_property
    def cache_search(self) -> CacheSearch:
        """Samples and baseline of the search for a question cache."""
        samples, config = self.collected[:SEARCHED], self.config
        reference = self.probabilities(samples, "reference of the search")
        return CacheSearch(samples, reference, self.measured, self.truth, config.labels, self.threads, self.reports)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that everything is measured on."""
        return self.reference.bundle.manifest.label_sets[self.config.labels]

    def probabilities(self, samples: Sequence[Sample], step: str) -> NDArray[np.float64]:
        """Label distributions of the unquantized model on samples: [N, labels]."""
        own, progress = self.reference, self.reports.of(step)
        return chain_probabilities(
            own.bundle, own.name, samples, self.config.labels, threads=self.threads, progress=progress
        ).probabilities


def _with_types(run: VlmRun, types: Sequence[str], choices: VlmChoices, writer: BundleWriter) -> Manifest:
    """Make, measure and gate each type; those that hold their gate stay."""
    reference = run.reference
    manifest = reference.bundle.manifest
    require_known_figures(run.config, run.truth, manifest)
    require_disk_space(writer.partial, len(types) * reference.model.stat().st_size)
    dataset, progress = f"{len(run.collected)} samples of a calibration", run.reports.of("statistics")
    imatrix = reference.statistics(run.collected, run.config.labels, dataset, run.threads, progress)
    statistics = writer.path(STATISTICS)
    write_imatrix(imatrix, statistics)
    if choices.keep_imatrix:
        shutil.copyfile(statistics, choices.keep_imatrix)
    failures: list[str] = []
    for name in types:
        run.reports.progress(f"quantize {name}", 0, 1)
        path = writer.path(f"language-{name}.gguf")
        path.unlink(missing_ok=True)
        quantize_gguf(reference.model, path, name, importance=statistics)
        tried = _with_type(manifest, name, path, reference.profile, writer)
        held, missed = _measured(run, Bundle(writer.partial, tried), name)
        failures += missed
        if not missed:
            manifest = _with_profile(tried, PROFILE_OF.get(name, name), held)
    if failures and (run.config.strict or manifest is reference.bundle.manifest):
        raise AccuracyGateError("\n".join(failures))
    return manifest


def _measured(run: VlmRun, draft: Bundle, file_type: str) -> tuple[Profile, list[str]]:
    """Return the profile of a type with its evidence and its question cache, and what its gate misses."""
    name = PROFILE_OF.get(file_type, file_type)
    profile, gate = draft.manifest.profiles[name], run.config.gate or profile_gate(name)
    progress = run.reports.of(f"profile {name}")
    chain = chain_probabilities(draft, name, run.measured, run.config.labels, threads=run.threads, progress=progress)
    evidence = run.truth.evidence(chain.probabilities)
    missed = gate.failures(evidence)
    size = draft.files(language_of(draft).variants[file_type])[0].stat().st_size
    run.reports.line(
        f"{name} ({file_type}, {size / 1e6:.1f} MB): label agreement {evidence['label_agreement']:.4f}, "
        f"mean KL {evidence['kl_mean']:.1e}" + (f"; left out: {'; '.join(missed)}" if missed else "")
    )
    profile = profile.model_copy(update={"evidence": evidence})
    if not missed and takes_question_cache(run.config, name, profile):
        profile = run.cache_search.cached(draft, name, profile, gate)
    return profile, [f"{name}: {reason}" for reason in missed]


def _with_type(manifest: Manifest, name: str, path: Path, profile: Profile, writer: BundleWriter) -> Manifest:
    language = manifest.components.language
    assert language is not None
    variants = {**language.variants, name: Variant(files=(writer.entry(path),))}
    parts = manifest.components.model_copy(update={"language": language.model_copy(update={"variants": variants})})
    own = profile.model_copy(update={"language": name, "question_cache": None, "evidence": {}})
    profiles = {**manifest.profiles, PROFILE_OF.get(name, name): own}
    return manifest.model_copy(update={"components": parts, "profiles": profiles})


def _with_profile(manifest: Manifest, name: str, profile: Profile) -> Manifest:
    return manifest.model_copy(update={"profiles": {**manifest.profiles, name: profile}})


def _with_scoring(
    draft: Bundle, drawn: DrawnSamples, config: CalibrationConfig, threads: int | None, reports: Reports
) -> Manifest:
    """Fit the scoring of the default profile, or of the one that is named, on all samples."""
    manifest = draft.manifest
    profile, samples = config.profile or manifest.default_profile, drawn.samples
    truth = true_labels(samples, config.labels, manifest.label_sets[config.labels])
    if truth is None:
        raise InputError("a fit of the scoring needs a label of every sample: a folder with one folder a label")
    reports.progress("fit the scoring", 0, 1)
    fit: ScoringFit = fitted_scoring(
        lambda prior: label_scores(draft, profile, samples, config.labels, prior=prior, threads=threads),
        truth,
        manifest.scoring,
    )
    scoring: Scoring = fit.scoring
    reports.line(
        f"scoring: temperature {scoring.temperature}, prior correction {'on' if scoring.prior_correction else 'off'}; "
        + ", ".join(
            f"{name} {fit.evidence[f'{name}_before']:.3f} -> {fit.evidence[f'{name}_after']:.3f}"
            for name in ("nll", "ece", "war")
        )
        + f" (after: held-out folds of {len(samples)} samples)"
    )
    evidence = {**manifest.profiles[profile].evidence, **fit.evidence}
    fitted = manifest.profiles[profile].model_copy(update={"evidence": evidence})
    return _with_profile(manifest.model_copy(update={"scoring": scoring}), profile, fitted)
