"""Gates: every threshold that a graph, an engine, a language file or a profile must hold, and the checks."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emo_edge.errors import InputError
from emo_edge.metrics.unit_agreement import AU_AGREEMENT

GRAPH_SIMILARITY = {"int8": 0.99, "fp16": 0.9995, "fp32": 0.9999}
"""Smallest similarity of a graph to its reference, the coarsest precision first.

Export asks it of a fp16 graph against PyTorch, calibration of an int8 graph against float32, and an engine is held to
all three against ONNX Runtime on the same file. Float32 leaves the order of sums.
"""
FP32_RELATIVE = 1e-4
"""Largest relative error of an exported fp32 graph against PyTorch."""
EXACT_AGREEMENT, EXACT_PROBABILITY = 0.995, 0.01
"""Smallest label agreement and largest error of a probability of a profile that is called exact."""
UNIT_AGREEMENT = 0.995
"""Smallest share of decisions on action units that an exported graph leaves as PyTorch makes them."""
DEVICE_PROBABILITY = 0.05
"""Largest difference of a label's probability between a device and the CPU, same bundle and profile.

A q4_k_m language model on CUDA sums in another order than on the CPU; a larger difference is another computation.
"""
DEVICE_POSE_DEGREES = 1.0
"""Largest difference of a head's pose between a device and the CPU, where a bundle has a face network."""

CENTRED = "centred_cosine"
"""Name in a graph's evidence of the cosine that its gate asks for."""
FIGURES = {
    "agreement": "label_agreement",
    "uar": "uar_delta_low",
    "war": "war_delta_low",
    "f1": "macro_f1_delta_low",
    "kl": "kl_mean",
    "kl95": "kl_p95",
    "cues": "cue_f1",
    "cosine": CENTRED,
    "au-agreement": AU_AGREEMENT,
}
"""Words of a gate, and the evidence that each reads. Differences count at their lower bound.

``cues`` is the F1 of described cues against full precision's words, ``cosine`` that of a graph's outputs over all
samples, full precision's mean subtracted from both, so that what all pictures have in common does not count.
``au-agreement`` is the share of decisions on action units, a sample and a unit each, that are full precision's.
"""
UNITS_WORD = "au-agreement"
"""Word of a gate on action units."""
GRAPH_FIGURES, PROFILE_FIGURES = ("cosine", UNITS_WORD), ("cues",)
"""Words that only a graph's gate, or only a profile's, can ask for; without labels a profile's asks for units."""
_TERM = re.compile(r"(?P<word>[a-z0-9-]+)\s*(?P<sign>>=|<=)\s*(?P<value>-?\d*\.?\d+(?:e-?\d+)?)")


@dataclass(frozen=True)
class Bound:
    """One figure and the side on which it must stay."""

    word: str
    sign: str
    value: float

    def failure(self, evidence: Mapping[str, float]) -> str | None:
        """Describe how the evidence fails this bound; None where it holds, or where truth is not known."""
        figure = evidence.get(FIGURES[self.word])
        if figure is None:
            return None
        holds = figure >= self.value if self.sign == ">=" else figure <= self.value
        return None if holds else f"{FIGURES[self.word]} {figure:.4g}, the gate is {self.word}{self.sign}{self.value:g}"


@dataclass(frozen=True)
class Gate:
    """Bounds that must all hold."""

    bounds: tuple[Bound, ...]

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Read ``agreement>=0.99,uar>=-0.01,kl<=0.02``; raise InputError naming what cannot be read."""
        bounds = []
        for term in (part.strip() for part in text.split(",")):
            match = _TERM.fullmatch(term)
            if match is None or match["word"] not in FIGURES or math.isinf(float(match["value"])):
                known = ", ".join(FIGURES)
                raise InputError(f"a gate reads like agreement>=0.99,uar>=-0.01,kl<=0.02 (of {known}), not {term!r}")
            bounds.append(Bound(match["word"], match["sign"], float(match["value"])))
        return cls(tuple(bounds))

    def with_default(self, default: Gate, word: str) -> Gate:
        """Return the gate with the default's bounds on ``word``, if it has none itself."""
        if any(bound.word == word for bound in self.bounds):
            return self
        return Gate((*self.bounds, *(bound for bound in default.bounds if bound.word == word)))

    def missing(self, evidence: Mapping[str, float]) -> list[str]:
        """Name the words whose figure is not in the evidence."""
        return [bound.word for bound in self.bounds if FIGURES[bound.word] not in evidence]

    def failures(self, evidence: Mapping[str, float]) -> list[str]:
        """Describe the bounds that fail, and by how much; empty if the variant may be used."""
        return [failure for bound in self.bounds if (failure := bound.failure(evidence)) is not None]

    def __str__(self) -> str:
        return ",".join(f"{bound.word}{bound.sign}{bound.value:g}" for bound in self.bounds)


GATES = {
    "exact": Gate.parse(f"agreement>={EXACT_AGREEMENT:g},kl<=0.001"),
    "balanced": Gate.parse("agreement>=0.99,uar>=-0.01,kl<=0.02"),
    "small": Gate.parse("agreement>=0.95,uar>=-0.03,kl<=0.1"),
}
"""Default gate of a profile by its name."""
OTHERS_GATE = "small"
"""Gate of a profile that no gate is named after."""
INT8_GATE = Gate.parse(f"agreement>=0.99,kl<=0.001,cosine>={GRAPH_SIMILARITY['int8']:g}")
"""Default gate of a graph in INT8, all else in full precision."""
INT8_UNITS_GATE = Gate.parse("au-agreement>=0.99")
"""The same, besides, where a bundle gives action units."""


def profile_gate(name: str) -> Gate:
    """Return a profile's default gate."""
    return GATES.get(name, GATES[OTHERS_GATE])


def unit_profile_gate(name: str) -> Gate:
    """Return the default gate of a profile that gives action units and no labels."""
    return Gate.parse(f"{UNITS_WORD}>={UNIT_AGREEMENT:g}") if name == "exact" else INT8_UNITS_GATE


def graph_failures(precision: str, measured: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Describe the outputs of an exported graph that fail the gate of its precision; ``measured``: see `distances`."""
    if precision == "fp32":
        return [
            f"{name}: relative error {row['relative_error']:.2e}, the gate is {FP32_RELATIVE:.0e}"
            for name, row in measured.items()
            if not row["relative_error"] <= FP32_RELATIVE
        ]
    gate = GRAPH_SIMILARITY["fp16"]
    return [
        f"{name}: cosine {row['cosine']:.6f}, the gate is {gate}"
        for name, row in measured.items()
        if not row["cosine"] >= gate
    ]


def unit_failures(measured: Mapping[str, float]) -> list[str]:
    """Describe how an exported graph fails the gate of action units; ``measured``: see `unit_agreement`."""
    agreement = measured[AU_AGREEMENT]
    return [] if agreement >= UNIT_AGREEMENT else [f"{AU_AGREEMENT} {agreement:.4f}, the gate is {UNIT_AGREEMENT}"]


def engine_failure(variant: str, similarity: Mapping[str, float]) -> str:
    """Describe the outputs of an engine that fail the gate of the variant; empty if none does."""
    gate = next((gate for name, gate in GRAPH_SIMILARITY.items() if variant.startswith(name)), GRAPH_SIMILARITY["int8"])
    failing = [f"{name} {value:.5f}" for name, value in similarity.items() if not value >= gate]
    return f"similarity to ONNX Runtime: {', '.join(failing)}, the gate is {gate}" if failing else ""


def exact_failures(measured: Mapping[str, float]) -> list[str]:
    """Describe what keeps a profile from being called exact."""
    checks: Sequence[tuple[bool, str]] = (
        (
            measured["label_agreement"] >= EXACT_AGREEMENT,
            f"label agreement {measured['label_agreement']:.4f}, the gate is {EXACT_AGREEMENT}",
        ),
        (
            measured["max_probability_error"] <= EXACT_PROBABILITY,
            f"probability error {measured['max_probability_error']:.4f}, the gate is {EXACT_PROBABILITY}",
        ),
    )
    return [message for holds, message in checks if not holds]
