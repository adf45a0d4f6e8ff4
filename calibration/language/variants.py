"""Language variants with importance statistics, compared with the same type without; the better one is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.gguf_types import UNWEIGHTED
from emo_edge.calibration.language.mixed_types import BASE, Trials, measured_options
from emo_edge.calibration.language.mixture_search import MixtureSearch
from emo_edge.console.progress import Progress
from emo_edge.metrics.label_agreement import cue_evidence, kl_divergence, label_evidence

MIXED = "mixed"
"""Name of the variant whose types were searched."""


@dataclass(frozen=True)
class GroundTruth:
    """Baseline of the variants on the samples they are measured on."""

    probabilities: NDArray[np.float64]
    """Full precision's, [N, labels]."""
    labels: Sequence[int] | None
    """Index of each sample's true label; None unless all have one."""
    descriptions: Sequence[str] = ()
    """Text that full precision writes about the first samples."""
    cues: Sequence[Collection[int]] | None = None
    """Action units of the same samples; None unless they are known of all."""

    def evidence(
        self, probabilities: NDArray[np.float64], descriptions: Sequence[str] | None = None
    ) -> dict[str, float]:
        """Compare a variant's outputs: see `label_evidence`, and `cue_evidence` if it described the samples."""
        evidence = label_evidence(self.probabilities, probabilities, self.labels)
        return evidence if descriptions is None else evidence | cue_evidence(self.descriptions, descriptions, self.cues)


@dataclass(frozen=True)
class LanguageVariant:
    """One file and its measurements."""

    name: str
    path: Path
    evidence: dict[str, float]
    origin: str
    """Recipe, for people."""
    types: dict[str, str] = field(default_factory=dict)
    """Of each matrix, where a search chose them."""


def measured_file(trials: Trials, path: Path, file_type: str, truth: GroundTruth) -> dict[str, float]:
    """Score the reference's prompts with one file: labels, described cues, and ``perplexity`` of its answers."""
    evidence = truth.evidence(trials.probabilities(path, file_type), trials.descriptions(path, file_type))
    return evidence | {"perplexity": math.exp(-trials.answer_log_prob(path, file_type))}


@dataclass(frozen=True)
class LanguageSearch:
    """One language model to make variants of: the samples to choose on, and those to measure on."""

    search: Trials
    """On the samples that choices are made on, never those that a file is measured on."""
    measure: Trials
    """On the samples that the chosen file is measured on."""
    reference: NDArray[np.float64]
    """Full precision's label distributions on the samples of ``search``."""
    importance: Path
    """The imatrix."""
    truth: GroundTruth
    """Of the samples of ``measure``."""


def calibrated_type(
    language: LanguageSearch, file_type: str, path_of: Callable[[str], Path], *, needs_statistics: bool
) -> LanguageVariant:
    """Write a type with statistics and, where it can be, without; keep the one of lower mean KL, and measure it.

    Statistics help on average, not always: the measurement decides, and ``origin`` names both.

    Args:
        language: the model and its samples.
        file_type: its name.
        path_of: gives the path for a file name.
        needs_statistics: whether the type cannot be made without.
    """
    uses: list[Path | None] = [] if file_type in UNWEIGHTED else [language.importance]
    uses += [] if needs_statistics else [None]
    candidates = []
    for statistics in uses:
        kind = "with imatrix" if statistics else "without imatrix"
        path = path_of(f"language-{file_type}-{kind.replace(' ', '-')}.gguf")
        language.search.make(path, file_type, statistics)
        probabilities = language.search.probabilities(path, file_type, len(language.reference))
        candidates.append((float(kl_divergence(language.reference, probabilities).mean()), kind, path))
    candidates.sort(key=lambda one: one[0])
    for _, _, path in candidates[1:]:
        path.unlink()
    _, kind, path = candidates[0]
    compared = ", ".join(f"{other} {divergence:.2e}" for divergence, other, _ in candidates)
    evidence = measured_file(language.measure, path, file_type, language.truth)
    return LanguageVariant(file_type, path, evidence, f"{kind} (mean KL where that was decided: {compared})")


def mixed_variant(
    language: LanguageSearch,
    target: int | float,
    path_of: Callable[[str], Path],
    work: Path,
    progress: Progress = lambda done, total: None,
) -> LanguageVariant:
    """Choose the types of least damage within a size, or of least size within a damage, and measure the file.

    Args:
        language: the model and its samples.
        target: bytes of the file (int), or the mean KL on the samples of the search (float).
        path_of: gives the path for a file name.
        work: keeps what a stopped search measured.
        progress: gets the measurements done and in all.

    Raises AccuracyGateError if nothing is that small, or that good.
    """
    options = measured_options(language.search, language.reference, language.importance, work, progress)
    searching = MixtureSearch(language.search, language.reference, options, language.importance, work)
    mixture = searching.best(target) if isinstance(target, int) else searching.smallest(target)
    types, path = dict(mixture.types), path_of(f"language-{MIXED}.gguf")
    language.measure.make(path, BASE, mixture.importance, types)
    counts = {kind: list(types.values()).count(kind) for kind in sorted(set(types.values()))}
    origin = (
        f"for {_requested(target)}, {', '.join(f'{n} {kind}' for kind, n in counts.items())}; by "
        f"{mixture.origin}, {'with' if mixture.importance else 'without'} imatrix"
    )
    return LanguageVariant(MIXED, path, measured_file(language.measure, path, BASE, language.truth), origin, types)


def _requested(target: int | float) -> str:
    return f"at most {target / 1e6:.1f} MB" if isinstance(target, int) else f"a mean KL of at most {target:g}"
