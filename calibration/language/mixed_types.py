"""Measure what each tensor costs in each type, and choose a mixture of types for a size."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.gguf_header import read_gguf_structure
from emo_edge.calibration.language.type_search import Option, Options, chosen_types
from emo_edge.errors import AccuracyGateError
from emo_edge.metrics.label_agreement import kl_divergence
from emo_edge.utils.files import replace_text
from emo_edge.utils.partial_results import is_number, kept_values

BASE = "q8_0"
"""File type of every file that is made here; the type of each matrix is named."""
EXACT = "f16"
"""Type of everything else while one group is tried: its own rounding would hide, or undo, the group's effect."""
SEARCHED = ("q2_k", "q3_k", "iq4_xs", "q4_k", "q5_k", "q6_k", "q8_0")
ALIGNMENT = 32
"""Of tensors in a GGUF file: llama.cpp's ``GGUF_DEFAULT_ALIGNMENT``."""
MOST_GROUPS = 64
"""A model of more matrices is searched by role and third of its depth."""


class Trials(Protocol):
    """A language model that can be written in any type and scored: `export.gguf.trials` has one."""

    source: Path
    """The unquantized GGUF file."""

    def make(
        self, target: Path, file_type: str, importance: Path | None = None, types: Mapping[str, str] | None = None
    ) -> None:
        """Write one file."""

    def probabilities(self, path: Path, file_type: str, samples: int | None = None) -> NDArray[np.float64]:
        """Label distributions of a file on the first ``samples`` prompts: [N, labels]."""

    def answer_log_prob(self, path: Path, file_type: str) -> float:
        """Mean log-probability of each token of the reference's answers."""

    def descriptions(self, path: Path, file_type: str) -> list[str]:
        """Let a file describe the pictures that the reference described."""


@dataclass(frozen=True)
class Matrix:
    """One tensor that can be quantized."""

    name: str
    values: int

    def size(self, kind: str) -> int:
        """Bytes in a type, padded as they are in a file."""
        import gguf

        block, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind.upper()]]
        return _padded(self.values // int(block) * int(block_bytes))


def matrices_of(source: Path) -> list[Matrix]:
    """List the matrices of an unquantized GGUF file."""
    tensors = read_gguf_structure(source).tensors
    return [Matrix(name, math.prod(tensor.shape)) for name, tensor in tensors.items() if len(tensor.shape) > 1]


def grouped(matrices: Sequence[Matrix]) -> dict[str, list[Matrix]]:
    """Return a group for each matrix, or join those of one role in one third of the layers if they are many."""
    if len(matrices) <= MOST_GROUPS:
        return {matrix.name: [matrix] for matrix in matrices}
    depth = 1 + max(_layer(matrix.name) for matrix in matrices)
    groups: dict[str, list[Matrix]] = {}
    for matrix in matrices:
        layer, role = _layer(matrix.name), matrix.name.split(".")[-2]
        groups.setdefault(role if layer < 0 else f"{role}, third {3 * layer // depth + 1}", []).append(matrix)
    return groups


def _layer(name: str) -> int:
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blk" else -1


def measured_options(
    trials: Trials,
    reference: NDArray[np.float64],
    importance: Path | None,
    work: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, Option]]:
    """Measure every group in every type: the mean KL on the samples of ``reference`` [N, labels] that it adds.

    The measurements stay in ``work``, so that a stopped search goes on; the folder belongs to one model, one set of
    samples and one imatrix.
    """
    work.mkdir(parents=True, exist_ok=True)
    matrices, kept = matrices_of(trials.source), work / "damages.json"
    groups = grouped(matrices)
    known: dict[str, float] = kept_values(kept, is_number)
    pairs = [(group, kind) for group in groups for kind in SEARCHED]
    for number, (group, kind) in enumerate(pairs):
        key = f"{group} {kind}"
        if key not in known:
            types = dict.fromkeys((matrix.name for matrix in matrices), EXACT)
            types |= {matrix.name: kind for matrix in groups[group]}
            known[key] = divergence(trials, reference, importance, types, work / "searched.gguf", EXACT)
            replace_text(kept, json.dumps(known))
        progress(number + 1, len(pairs))
    return {
        group: {kind: Option(sum(matrix.size(kind) for matrix in own), known[f"{group} {kind}"]) for kind in SEARCHED}
        for group, own in groups.items()
    }


def mixed_types(options: Options, source: Path, target_size: int, overhead: int) -> dict[str, str]:
    """Choose the type of every matrix so that the file has at most ``target_size`` bytes.

    ``overhead`` is what a file holds besides its matrices. Raises AccuracyGateError if nothing fits.
    """
    chosen = chosen_types(options, target_size - overhead)
    groups = grouped(matrices_of(source))
    return {matrix.name: chosen[group] for group, matrices in groups.items() for matrix in matrices}


def require_reachable(source: Path, target: int | float) -> None:
    """Raise AccuracyGateError if the matrices alone are larger than ``target`` bytes in the smallest types there are.

    A target that is a quality (float) needs measurements.
    """
    smallest = sum(min(matrix.size(kind) for kind in SEARCHED) for matrix in matrices_of(source))
    if isinstance(target, int) and smallest > target:
        raise AccuracyGateError(
            f"no mixture of these types fits {target / 1e6:.1f} MB: the matrices alone need {smallest / 1e6:.1f} MB; "
            "allow more"
        )


def overhead_of(path: Path) -> int:
    """Bytes of a GGUF file that are no matrix: vocabulary, norms, their padding."""
    tensors = read_gguf_structure(path).tensors.values()
    return path.stat().st_size - sum(_padded(tensor.bytes) for tensor in tensors if len(tensor.shape) > 1)


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def divergence(
    trials: Trials,
    reference: NDArray[np.float64],
    importance: Path | None,
    types: Mapping[str, str],
    path: Path,
    cache: str = BASE,
) -> float:
    """Mean KL on the samples of ``reference`` of a file with these types, made at ``path`` and removed.

    ``cache`` is the file type whose attention cache the file is read with.
    """
    path.unlink(missing_ok=True)
    try:
        trials.make(path, BASE, importance, types)
        probabilities = trials.probabilities(path, cache, len(reference))
    finally:
        path.unlink(missing_ok=True)
    return float(kl_divergence(reference, probabilities).mean())
