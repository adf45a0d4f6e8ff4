"""Bounds of figures by their names: what no measurement can give is no evidence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from emo_edge.utils.text import quoted

ROUNDING = 1e-6
LARGEST_FIGURE = 1e38
"""Magnitude of any figure: a relative error divides by 1e-30 where the reference is zero."""


class _Bound(NamedTuple):
    """Figures of one kind: their names in whole, and the least and the largest value."""

    names: re.Pattern[str]
    low: float
    high: float


_ENDS = r"(_low|_high)?"
BOUNDS = (
    _Bound(re.compile(rf"(war|uar|macro_f1|cue_f1_truth)_delta{_ENDS}"), -1.0, 1.0),
    _Bound(
        re.compile(
            rf"(label_agreement|au_agreement(_worst)?|accuracy|war|uar|macro_f1|chance|(auc|correct|ece)_\w+?){_ENDS}"
        ),
        0.0,
        1.0,
    ),
    _Bound(re.compile(r"mcnemar_p|cue_f1(_truth)?|max_probability_error"), 0.0, 1.0),
    _Bound(re.compile(r"cosine"), -1.0, 1.0),
    _Bound(re.compile(r"(kl|nll)_\w+"), 0.0, 1e6),
    _Bound(re.compile(r"samples|cue_samples|answers|clips"), 0.0, 1e12),
    _Bound(re.compile(r"ratio(_p\d+)?"), 0.0, 1e6),
)


def figure_checks(figures: Mapping[str, float]) -> list[tuple[bool, str]]:
    """Require of every figure a value that its name allows: each check and its message."""
    checks = []
    for name, value in figures.items():
        low, high = bounds_of(name)
        fits = low - ROUNDING <= value <= high + ROUNDING
        checks.append((fits, f"{quoted(name)} {value:.6g} is not from {low:g} to {high:g}"))
    return checks


def bounds_of(name: str) -> tuple[float, float]:
    """Return the least and the largest value of a figure."""
    for bound in BOUNDS:
        if bound.names.fullmatch(name):
            return bound.low, bound.high
    return -LARGEST_FIGURE, LARGEST_FIGURE
