"""Language variants with importance statistics: made, measured beside the same type without, the better one kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.calibration.label_evidence import label_evidence
from emo_edge.calibration.mixed_types import BASE, Trials, measured_options, mixed_types, overhead_of

UNWEIGHTED = ("f32", "f16", "bf16", "q8_0")
"""Types that llama.cpp makes without statistics, whatever it is given."""
MIXED = "mixed"
"""Name of the variant whose types were searched."""
Heard = Callable[[int, int], None]


@dataclass(frozen=True)
class Truth:
    """What variants are compared with, on the samples they are measured on."""

    probabilities: NDArray[np.float64]
    """Full precision's, [N, labels]."""
    labels: Sequence[int] | None
    """Index of each sample's true label; None unless all have one."""


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


def measured_file(trials: Trials, path: Path, file_type: str, truth: Truth) -> dict[str, float]:
    """Score the reference's prompts and answers with one file: `label_evidence`, and ``perplexity`` of the answers."""
    found = label_evidence(truth.probabilities, trials.probabilities(path, file_type), truth.labels)
    return found | {"perplexity": math.exp(-trials.answer_log_prob(path, file_type))}


def calibrated_type(
    trials: Trials,
    file_type: str,
    importance: Path,
    truth: Truth,
    place: Callable[[str], Path],
    *,
    needs_statistics: bool,
) -> LanguageVariant:
    """Make a type with statistics and, where it can be, without; keep the one of lower mean KL.

    Statistics help on average, not always: what was measured decides, and ``made`` tells both. ``place`` gives the
    path for a file name.
    """
    uses: list[Path | None] = [] if file_type in UNWEIGHTED else [importance]
    uses += [] if needs_statistics else [None]
    found = []
    for statistics in uses:
        kind = "with imatrix" if statistics else "without imatrix"
        path = place(f"language-{file_type}-{kind.replace(' ', '-')}.gguf")
        trials.make(path, file_type, statistics)
        found.append((kind, path, measured_file(trials, path, file_type, truth)))
    found.sort(key=lambda one: one[2]["kl_mean"])
    for _, path, _ in found[1:]:
        path.unlink()
    kind, path, evidence = found[0]
    told = ", ".join(f"{other} {measured['kl_mean']:.2e}" for other, _, measured in found)
    return LanguageVariant(file_type, path, evidence, f"{kind} (mean KL {told})")


def mixed_variant(
    search: Trials,
    trials: Trials,
    importance: Path,
    reference: NDArray[np.float64],
    truth: Truth,
    target_size: int,
    place: Callable[[str], Path],
    work: Path,
    progress: Heard = lambda done, total: None,
) -> LanguageVariant:
    """Choose the types that do the least damage within ``target_size`` bytes, and measure the file.

    Args:
        search: trials on the samples that the types are chosen on, never those that it is measured on.
        trials: those on which the file is measured.
        importance: the imatrix.
        reference: full precision's label distributions on the samples of ``search``.
        truth: as of `measured_file`.
        target_size: of the file.
        place: gives the path for a file name.
        work: keeps what a stopped search measured.
        progress: told of the measurements.

    Raises AccuracyGateError if nothing is that small.
    """
    options = measured_options(search, reference, importance, work, progress)
    path = place(f"language-{MIXED}.gguf")
    trials.make(path, BASE, importance)
    overhead = overhead_of(path)
    path.unlink()
    types = mixed_types(options, trials.source, target_size, overhead)
    trials.make(path, BASE, importance, types)
    counts = {kind: list(types.values()).count(kind) for kind in sorted(set(types.values()))}
    made = f"searched for {target_size / 1e6:.1f} MB: {', '.join(f'{n} {kind}' for kind, n in counts.items())}"
    return LanguageVariant(MIXED, path, measured_file(trials, path, BASE, truth), made, types)
