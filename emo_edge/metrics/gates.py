"""What a compressed variant must hold to be shipped in a profile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from emo_edge.errors import InputError

CENTRED = "centred_cosine"
"""What a graph's evidence calls the cosine that its gate asks for."""
FIGURES = {
    "agreement": "label_agreement",
    "uar": "uar_delta_low",
    "war": "war_delta_low",
    "f1": "macro_f1_delta_low",
    "kl": "kl_mean",
    "kl95": "kl_p95",
    "cues": "cue_f1",
    "cosine": CENTRED,
}
"""What a gate can ask for: its word, and the evidence that answers. Differences count at their lower bound.

``cues`` is the F1 of described cues against full precision's words, ``cosine`` that of a graph's outputs over all
samples, full precision's mean taken from both, so that what every picture has in common counts for nothing.
"""
GRAPH_FIGURES, PROFILE_FIGURES = ("cosine",), ("cues",)
"""Words that only a graph's gate, or only a profile's, can ask for."""
_TERM = re.compile(r"(?P<word>[a-z0-9]+)\s*(?P<sign>>=|<=)\s*(?P<value>-?\d*\.?\d+(?:e-?\d+)?)")


@dataclass(frozen=True)
class Bound:
    """One figure and the side on which it must stay."""

    word: str
    sign: str
    value: float

    def failure(self, evidence: Mapping[str, float]) -> str | None:
        """Say how the evidence misses this bound; None where it holds, or where truth is not known."""
        found = evidence.get(FIGURES[self.word])
        if found is None:
            return None
        holds = found >= self.value if self.sign == ">=" else found <= self.value
        return None if holds else f"{FIGURES[self.word]} {found:.4g}, the gate is {self.word}{self.sign}{self.value:g}"


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
            if match is None or match["word"] not in FIGURES:
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
        """Name the words whose figure the evidence has not."""
        return [bound.word for bound in self.bounds if FIGURES[bound.word] not in evidence]

    def failures(self, evidence: Mapping[str, float]) -> list[str]:
        """Say which bounds are missed, and by how much; empty if the variant may be used."""
        return [failure for bound in self.bounds if (failure := bound.failure(evidence)) is not None]

    def __str__(self) -> str:
        return ",".join(f"{bound.word}{bound.sign}{bound.value:g}" for bound in self.bounds)


GATES = {
    "exact": Gate.parse("agreement>=0.995,kl<=0.001"),
    "balanced": Gate.parse("agreement>=0.99,uar>=-0.01,kl<=0.02"),
    "small": Gate.parse("agreement>=0.95,uar>=-0.03,kl<=0.1"),
}
"""Default gate of a profile by its name."""
INT8_GATE = Gate.parse("agreement>=0.99,kl<=0.001,cosine>=0.99")
"""Default gate of a graph in INT8, all else in full precision."""
