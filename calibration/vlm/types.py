"""GGUF types of a VLM's bundle: made of its own reference with statistics of its own prompts, measured and gated."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.imatrix_file import write_imatrix
from emo_edge.bundle.manifest import Manifest, Profile, Variant
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.language.variants import GroundTruth
from emo_edge.calibration.samples.draw import DrawnSamples
from emo_edge.calibration.vlm.reference import VlmReference
from emo_edge.calibration.workflow.config import CalibrationConfig, language_of
from emo_edge.calibration.workflow.prepare import SEARCHED, require_known_figures, true_labels
from emo_edge.calibration.workflow.question_cache import CacheSearch, takes_question_cache
from emo_edge.calibration.workflow.runs import SplitSamples
from emo_edge.console.progress import Reports
from emo_edge.errors import AccuracyGateError
from emo_edge.export.bundles.evaluate import chain_probabilities
from emo_edge.export.bundles.profiles import PROFILE_OF
from emo_edge.export.gguf.quantize import quantize_gguf
from emo_edge.metrics.gates import FIGURES, profile_gate
from emo_edge.storage.output_files import OutputFile
from emo_edge.utils.files import require_disk_space

STATISTICS = "statistics.imatrix.gguf"


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


def with_types(
    run: VlmRun, types: Sequence[str], kept: OutputFile | None, writer: BundleWriter, *, fitted: bool
) -> Manifest:
    """Make, measure and gate each type; those that hold their gate stay, and so does what the bundle had before.

    Raises AccuracyGateError where a type fails its gate and ``config.strict`` asks for all, or where none holds and
    nothing was ``fitted`` that is worth a new bundle.
    """
    reference = run.reference
    manifest = reference.bundle.manifest
    require_known_figures(run.config, run.truth, manifest)
    require_disk_space(writer.partial, len(types) * reference.model.stat().st_size)
    statistics = _statistics(run, kept, writer)
    failures: list[str] = []
    for name in types:
        run.reports.progress(f"quantize {name}", 0, 1)
        # Under a name of its own: where it fails its gate, the bundle's file of that type stays.
        made, path = writer.path(f"made-{name}.gguf"), writer.path(f"language-{name}.gguf")
        quantize_gguf(reference.model, made, name, importance=statistics)
        profile = PROFILE_OF.get(name, name)
        tried = _with_type(manifest, name, made, reference.profile, writer)
        held, missed = _measured(run, Bundle(writer.partial, tried), profile)
        failures += missed
        if missed:
            made.unlink()
        else:
            made.replace(path)
            manifest = with_profile(_with_type(manifest, name, path, reference.profile, writer), profile, held)
    if failures and (run.config.strict or (manifest is reference.bundle.manifest and not fitted)):
        raise AccuracyGateError("\n".join(failures))
    return manifest


def measured_again(run: VlmRun, manifest: Manifest, writer: BundleWriter) -> Manifest:
    """Measure the quantized profiles that have figures of another scoring.

    Raises AccuracyGateError where one fails its gate and ``config.strict`` asks for all. Otherwise it stays, with what
    was measured.
    """
    before, failures = run.reference.bundle.manifest.profiles, []
    for name, profile in manifest.profiles.items():
        old = profile is before.get(name) and FIGURES["agreement"] in profile.evidence
        if name == run.reference.name or not old:
            continue
        plain = profile.model_copy(update={"question_cache": None, "evidence": {}})
        held, missed = _measured(run, Bundle(writer.partial, with_profile(manifest, name, plain)), name)
        failures += missed
        manifest = with_profile(manifest, name, held)
    if failures and run.config.strict:
        raise AccuracyGateError("\n".join(failures))
    return manifest


def with_profile(manifest: Manifest, name: str, profile: Profile) -> Manifest:
    """Return the manifest with another profile of a name."""
    return manifest.model_copy(update={"profiles": {**manifest.profiles, name: profile}})


def _statistics(run: VlmRun, kept: OutputFile | None, writer: BundleWriter) -> Path:
    dataset, progress = f"{len(run.collected)} samples of a calibration", run.reports.of("statistics")
    imatrix = run.reference.statistics(run.collected, run.config.labels, dataset, run.threads, progress)
    path = writer.path(STATISTICS)
    write_imatrix(imatrix, path)
    if kept:
        shutil.copyfile(path, kept.partial)
        kept.finish()
    return path


def _measured(run: VlmRun, draft: Bundle, name: str) -> tuple[Profile, list[str]]:
    """Return a quantized profile with its evidence and its question cache, and what its gate misses."""
    profile, gate = draft.manifest.profiles[name], run.config.gate or profile_gate(name)
    file_type = profile.language
    assert file_type is not None
    progress = run.reports.of(f"profile {name}")
    chain = chain_probabilities(draft, name, run.measured, run.config.labels, threads=run.threads, progress=progress)
    evidence = run.truth.evidence(chain.probabilities)
    missed = gate.failures(evidence)
    size = draft.files(language_of(draft).variants[file_type])[0].stat().st_size
    run.reports.line(
        f"{name} ({file_type}, {size / 1e6:.1f} MB): label agreement {evidence['label_agreement']:.4f}, "
        f"mean KL {evidence['kl_mean']:.1e}" + (f"; fails its gate: {'; '.join(missed)}" if missed else "")
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
