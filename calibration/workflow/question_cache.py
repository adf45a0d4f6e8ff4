"""The question cache of a profile: the fewest positions of a prompt, computed for each picture, that hold its gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.gguf_types import UNQUANTIZED
from emo_edge.bundle.manifest import Profile, QuestionCache
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.language.variants import GroundTruth
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.console.progress import Reports
from emo_edge.export.bundles.evaluate_question_cache import CachedRuns, runs_with_question_caches
from emo_edge.metrics.gates import Gate
from emo_edge.metrics.label_agreement import label_evidence

CANDIDATES = tuple(
    QuestionCache(head=head, tail=tail)
    for head, tail in ((0, 1), (7, 1), (16, 1), (24, 1), (7, 8), (32, 1), (40, 1), (24, 8), (48, 1), (0, 32), (24, 32))
)
"""Caches that are tried, the cheapest first.

Positions at the head are computed in the call of the pictures, which is made in any case; those at the tail take a call
of their own, which reads every weight once more.
"""
UNCACHED = "uncached_"
"""Before the names of the figures that the profile has without its cache."""

EXACT_PROFILE = "exact"
"""Profile that computes every position."""

Probabilities = NDArray[np.float64]


def takes_question_cache(config: CalibrationConfig, name: str, profile: Profile) -> bool:
    """Return whether a cache is searched for a profile: a quantized language model, and not the exact profile."""
    quantized = profile.language is not None and profile.language not in UNQUANTIZED
    return config.question_cache and quantized and name != EXACT_PROFILE


def with_profile(bundle: Bundle, name: str, profile: Profile) -> Bundle:
    """Return the bundle with another profile of a name."""
    profiles = {**bundle.manifest.profiles, name: profile}
    return Bundle(bundle.directory, bundle.manifest.model_copy(update={"profiles": profiles}))


@dataclass(frozen=True)
class CacheSearch:
    """Samples that a cache is chosen on, others that it is measured on, and how."""

    searched: Sequence[Sample]
    reference: Probabilities
    """Full precision's, on ``searched``: [N, labels]."""
    measured: Sequence[Sample]
    truth: GroundTruth
    """Of the measured samples."""
    labels: str
    threads: int | None
    reports: Reports

    def cached(self, draft: Bundle, name: str, profile: Profile, gate: Gate) -> Profile:
        """Return a measured profile of the bundle with its cache, if one holds the gate: see `with_question_cache`."""
        bundle = with_profile(draft, name, profile)

        def runs(samples: Sequence[Sample], step: str, caches: Sequence[QuestionCache]) -> CachedRuns:
            progress = self.reports.of(f"profile {name}, {step}")
            return runs_with_question_caches(
                bundle, name, samples, self.labels, caches, threads=self.threads, progress=progress
            )

        return with_question_cache(
            name,
            profile,
            gate,
            self.reference,
            lambda caches: runs(self.searched, "search its question cache", caches),
            lambda cache: self.truth.evidence(runs(self.measured, "with its question cache", [cache]).probabilities[0]),
            self.reports.line,
        )


def with_question_cache(
    name: str,
    profile: Profile,
    gate: Gate,
    reference: Probabilities,
    searched: Callable[[Sequence[QuestionCache]], CachedRuns],
    measured: Callable[[QuestionCache], dict[str, float]],
    report: Callable[[str], None],
) -> Profile:
    """Give a profile the smallest cache that holds its gate, if one holds it on other samples, too.

    Args:
        name: of the profile.
        profile: measured, without a cache.
        gate: the one that must hold.
        reference: full precision's label distributions on the samples of the search, [N, labels].
        searched: runs the profile with each of some caches on the same samples.
        measured: gives the label evidence of the profile with one cache on samples that nothing was chosen on.
        report: gets a line of what came out.
    """
    # The cheapest alone: it often holds.
    for tried in (CANDIDATES[:1], CANDIDATES[1:]):
        runs = searched(tried)
        for cache, used, probabilities in zip(tried, runs.used, runs.probabilities, strict=True):
            if used and not gate.failures(label_evidence(reference, probabilities)):
                return _verified(name, profile, gate, cache, measured, report)
    report(f"profile {name}: no question cache holds {gate} on {len(reference)} samples; every position is computed")
    return profile


def _verified(
    name: str,
    profile: Profile,
    gate: Gate,
    cache: QuestionCache,
    measured: Callable[[QuestionCache], dict[str, float]],
    report: Callable[[str], None],
) -> Profile:
    own = measured(cache)
    evidence = {**profile.evidence, **own}
    failures = gate.failures(evidence)
    line = (
        f"profile {name} with its question cached but for {cache.head} positions at the head and {cache.tail} at the "
        f"tail: agreement {own['label_agreement']:.4f}, mean KL {own['kl_mean']:.2e}"
    )
    if failures:
        report(f"{line}; fails its gate ({'; '.join(failures)}), so that every position is computed")
        return profile
    report(line)
    before = {f"{UNCACHED}{figure}": profile.evidence[figure] for figure in ("label_agreement", "kl_mean")}
    return profile.model_copy(update={"question_cache": cache, "evidence": {**evidence, **before}})
