"""Language variants with importance statistics: made, measured beside the same type without, the better one kept."""

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
from emo_edge.metrics.label_agreement import cue_evidence, kl_divergence, label_evidence
from emo_edge.utils.progress import Progress

MIXED = "mixed"
"""Name of the variant whose types were searched."""


@dataclass(frozen=True)
class GroundTruth:
    """What variants are compared with, on the samples they are measured on."""

    probabilities: NDArray[np.float64]
    """Full precision's, [N, labels]."""
    labels: Sequence[int] | None
    """Index of each sample's true label; None unless all have one."""
    descriptions: Sequence[str] = ()
    """What full precision writes of the first samples."""
    cues: Sequence[Collection[int]] | None = None
    """Action units of the same samples; None unless they are known of all."""

    def evidence(
        self, probabilities: NDArray[np.float64], descriptions: Sequence[str] | None = None
    ) -> dict[str, float]:
        """Compare what a variant says of the samples: see `label_evidence`, and `cue_evidence` if it described them."""
        found = label_evidence(self.probabilities, probabilities, self.labels)
        return found if descriptions is None else found | cue_evidence(self.descriptions, descriptions, self.cues)


@dataclass(frozen=True)
class LanguageVariant:
    """One file and what was measured of it."""

    name: str
    path: Path
    evidence: dict[str, float]
    made: str
    """How, for people."""
    types: dict[str, str] = field(default_factory=dict)
    """Of each matrix, where a search chose them."""


def measured_file(trials: Trials, path: Path, file_type: str, truth: GroundTruth) -> dict[str, float]:
    """Score the reference's prompts with one file: labels, described cues, and ``perplexity`` of its answers."""
    found = truth.evidence(trials.probabilities(path, file_type), trials.descriptions(path, file_type))
    return found | {"perplexity": math.exp(-trials.answer_log_prob(path, file_type))}


def calibrated_type(
    search: Trials,
    trials: Trials,
    file_type: str,
    importance: Path,
    reference: NDArray[np.float64],
    truth: GroundTruth,
    place: Callable[[str], Path],
    *,
    needs_statistics: bool,
) -> LanguageVariant:
    """Make a type with statistics and, where it can be, without; keep the one of lower mean KL, and measure it.

    Statistics help on average, not always: what was measured decides, and ``made`` tells both.

    Args:
        search: trials on the samples that this is decided on, never those that the file is measured on.
        trials: those on which it is measured.
        file_type: its name.
        importance: the imatrix.
        reference: full precision's label distributions on the samples of ``search``.
        truth: as of `measured_file`.
        place: gives the path for a file name.
        needs_statistics: whether the type cannot be made without.
    """
    uses: list[Path | None] = [] if file_type in UNWEIGHTED else [importance]
    uses += [] if needs_statistics else [None]
    found = []
    for statistics in uses:
        kind = "with imatrix" if statistics else "without imatrix"
        path = place(f"language-{file_type}-{kind.replace(' ', '-')}.gguf")
        search.make(path, file_type, statistics)
        shares = search.probabilities(path, file_type, len(reference))
        found.append((float(kl_divergence(reference, shares).mean()), kind, path))
    found.sort(key=lambda one: one[0])
    for _, _, path in found[1:]:
        path.unlink()
    _, kind, path = found[0]
    told = ", ".join(f"{other} {divergence:.2e}" for divergence, other, _ in found)
    evidence = measured_file(trials, path, file_type, truth)
    return LanguageVariant(file_type, path, evidence, f"{kind} (mean KL where that was decided: {told})")


def mixed_variant(
    search: Trials,
    trials: Trials,
    importance: Path,
    reference: NDArray[np.float64],
    truth: GroundTruth,
    target: int | float,
    place: Callable[[str], Path],
    work: Path,
    progress: Progress = lambda done, total: None,
) -> LanguageVariant:
    """Choose the types of least damage within a size, or of least size within a damage, and measure the file.

    Args:
        search: trials on the samples that the types are chosen on, never those that it is measured on.
        trials: those on which the file is measured.
        importance: the imatrix.
        reference: full precision's label distributions on the samples of ``search``.
        truth: as of `measured_file`.
        target: bytes of the file (int), or the mean KL on the samples of the search (float).
        place: gives the path for a file name.
        work: keeps what a stopped search measured.
        progress: told of the measurements.

    Raises AccuracyGateError if nothing is that small, or that good.
    """
    options = measured_options(search, reference, importance, work, progress)
    searching = MixtureSearch(search, reference, options, importance, work)
    mixture = searching.best(target) if isinstance(target, int) else searching.smallest(target)
    types, path = dict(mixture.types), place(f"language-{MIXED}.gguf")
    trials.make(path, BASE, mixture.importance, types)
    counts = {kind: list(types.values()).count(kind) for kind in sorted(set(types.values()))}
    made = (
        f"for {_asked(target)}, {', '.join(f'{n} {kind}' for kind, n in counts.items())}; by "
        f"{mixture.origin}, {'with' if mixture.importance else 'without'} imatrix"
    )
    return LanguageVariant(MIXED, path, measured_file(trials, path, BASE, truth), made, types)


def _asked(target: int | float) -> str:
    return f"at most {target / 1e6:.1f} MB" if isinstance(target, int) else f"a mean KL of at most {target:g}"
