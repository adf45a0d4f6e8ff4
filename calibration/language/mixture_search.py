"""A mixture of types for a size: the choice by measured damages, compared with llama.cpp's recipes and improved.

Damages of single groups are taken to add up, and do so only nearly. So every candidate is made and measured as a
whole, with and without statistics: the sum's own choice, and the largest stock recipe that fits. Changes that the
damages recommend are then tried on the better one: on a recipe, that is; the sum's choice has none left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.calibration.language.mixed_types import (
    BASE,
    EXACT,
    SEARCHED,
    Trials,
    divergence,
    grouped,
    matrices_of,
    mixed_types,
    overhead_of,
)
from emo_edge.calibration.language.type_search import Options
from emo_edge.errors import AccuracyGateError
from emo_edge.utils.files import replace_text
from emo_edge.utils.partial_results import is_number, kept_values

RECIPES = ("q6_k", "q5_k_m", "q4_k_m", "iq4_xs", "q3_k_m", "q2_k")
"""Stock file types made without statistics, the largest first."""
TRIES = 24
"""Changes of a recipe that are measured."""
RESOLUTION = 0.01
"""Of the size that a target of quality is met with."""


@dataclass(frozen=True)
class Mixture:
    """The type of every matrix, and what it costs on the samples of the search."""

    types: Mapping[str, str]
    importance: Path | None
    """Statistics that it is made with; None where it does better without."""
    divergence: float
    """Mean KL on the samples of the search."""
    origin: str
    """Origin of the types, for people."""


class MixtureSearch:
    """Measured candidates for a size.

    Args:
        trials: on the samples that types are chosen on.
        reference: full precision's label distributions there, [N, labels].
        options: of `measured_options`.
        importance: statistics to write files with; each is written without them, too.
        work: where files are made and removed, and what was measured is kept: of one model, one set of samples and
            one ``importance``.
    """

    def __init__(
        self, trials: Trials, reference: NDArray[np.float64], options: Options, importance: Path | None, work: Path
    ) -> None:
        self.trials, self.reference, self.options, self.importance = trials, reference, options, importance
        self.path = work / "candidate.gguf"
        self.matrices = matrices_of(trials.source)
        self.groups = grouped(self.matrices)
        self.overhead = self._overhead()
        self._recipes: dict[str, dict[str, str]] = {}
        self._kept = work / "mixtures.json"
        self._known: dict[str, float] = kept_values(self._kept, is_number)

    def best(self, target_size: int, report: Callable[[Mixture], None] = lambda mixture: None) -> Mixture:
        """Return the best mixture measured whose file has at most ``target_size`` bytes; ``report`` gets each.

        Raises AccuracyGateError if nothing is that small.
        """
        start = min(self._candidates(target_size, report), key=lambda one: one.divergence)
        return self._improved(start, target_size, report)

    def smallest(self, target_kl: float, report: Callable[[Mixture], None] = lambda mixture: None) -> Mixture:
        """Return the smallest measured mixture whose mean KL on the samples of the search is at most ``target_kl``.

        Sizes are halved between the smallest there is and everything in the largest type; whatever is returned was
        measured itself. Raises AccuracyGateError if the largest exceeds the target.
        """
        low = self.overhead + sum(min(one.size for one in types.values()) for types in self.options.values())
        largest = {matrix.name: SEARCHED[-1] for matrix in self.matrices}
        best = min(self._both(largest, f"everything in {SEARCHED[-1]}", report), key=lambda one: one.divergence)
        high = self.size(largest)
        if best.divergence > target_kl:
            raise AccuracyGateError(
                f"no mixture reaches a mean KL of {target_kl:g}: everything in {SEARCHED[-1]}, {high / 1e6:.1f} MB, "
                f"has {best.divergence:.2g}; ask for less"
            )
        while high - low > max(RESOLUTION * high, 1):
            middle = (low + high) // 2
            holding = [one for one in self._candidates(middle, report) if one.divergence <= target_kl]
            if holding:
                best = min(holding, key=lambda one: self.size(one.types))
                high = self.size(best.types)
            else:
                low = middle
        return best

    def size(self, types: Mapping[str, str]) -> int:
        """Bytes of a file with these types."""
        return self.overhead + sum(matrix.size(types[matrix.name]) for matrix in self.matrices)

    def _candidates(self, target_size: int, report: Callable[[Mixture], None]) -> list[Mixture]:
        """Measure the sum's own choice and the largest recipe that fits, with and without statistics."""
        chosen = mixed_types(self.options, self.trials.source, target_size, self.overhead)
        starts = {"the sum of measured damages": chosen}
        recipe = self._fitting_recipe(target_size)
        if recipe is not None:
            starts[f"the recipe of {recipe[0]}"] = recipe[1]
        return [one for origin, types in starts.items() for one in self._both(types, origin, report)]

    def _both(self, types: Mapping[str, str], origin: str, report: Callable[[Mixture], None]) -> list[Mixture]:
        mixtures = []
        for importance in dict.fromkeys((self.importance, None)):
            mixtures.append(Mixture(types, importance, self._measure(types, importance), origin))
            report(mixtures[-1])
        return mixtures

    def _improved(self, start: Mixture, target_size: int, report: Callable[[Mixture], None]) -> Mixture:
        """Try the changes that the damages recommend, the most promising first, and keep each that helps."""
        best, tried, changes = start, {_key(start.types)}, 0
        while len(tried) <= TRIES:
            types = next((types for types in self._changes(best.types, target_size) if _key(types) not in tried), None)
            if types is None:
                break
            tried.add(_key(types))
            changed = replace(best, types=types, divergence=self._measure(types, best.importance))
            if changed.divergence < best.divergence:
                changes += 1
                best = replace(changed, origin=f"{start.origin}, {changes} changed")
                report(best)
        return best

    def _changes(self, types: Mapping[str, str], target_size: int) -> Iterator[dict[str, str]]:
        """Yield the fitting changes of one group, or of two, that lessen the sum of damages: the largest gain first."""
        spare = target_size - self.size(types)
        moves = [
            (group, kind, *self._effect(types, group, kind)) for group in self.groups for kind in self.options[group]
        ]
        offers = [(gain, [(group, kind)]) for group, kind, grown, gain in moves if gain > 0 and grown <= spare]
        costly = [move for move in moves if move[3] > 0 and move[2] > spare]
        cheap = [move for move in moves if move[2] < 0]
        for group, kind, grown, gain in costly:
            offers += [
                (gain + lost, [(group, kind), (other, less)])
                for other, less, shrunk, lost in cheap
                if other != group and grown + shrunk <= spare and gain + lost > 0
            ]
        for _, changes in sorted(offers, key=lambda offer: -offer[0]):
            changed = dict(types)
            for group, kind in changes:
                changed |= {matrix.name: kind for matrix in self.groups[group]}
            yield changed

    def _effect(self, types: Mapping[str, str], group: str, kind: str) -> tuple[int, float]:
        """Bytes that a group grows by in another type, and the damage it loses."""
        own, options = self.groups[group], self.options[group]
        # A recipe may split a group: its damage is then the mean over its matrices.
        now = sum(options[types[matrix.name]].damage for matrix in own if types[matrix.name] in options) / len(own)
        return sum(matrix.size(kind) - matrix.size(types[matrix.name]) for matrix in own), now - options[kind].damage

    def _fitting_recipe(self, target_size: int) -> tuple[str, dict[str, str]] | None:
        for name in RECIPES:
            if name not in self._recipes:
                self._recipes[name] = self._types_of(name)
            types = self._recipes[name]
            # What llama.cpp falls back to for odd rows was never measured.
            if self.size(types) <= target_size and set(types.values()) <= {*SEARCHED, EXACT}:
                return name, types
        return None

    def _types_of(self, file_type: str) -> dict[str, str]:
        """Read off the file which type a recipe gives each matrix."""
        import gguf

        self.path.unlink(missing_ok=True)
        try:
            self.trials.make(self.path, file_type)
            return {
                tensor.name: tensor.tensor_type.name.lower()
                for tensor in gguf.GGUFReader(self.path).tensors
                if len(tensor.shape) > 1
            }
        finally:
            self.path.unlink(missing_ok=True)

    def _measure(self, types: Mapping[str, str], importance: Path | None) -> float:
        """Make a file and measure it, once: what was measured is kept for a search that goes on."""
        key = json.dumps([sorted(types.items()), importance is not None])
        if key not in self._known:
            self._known[key] = divergence(self.trials, self.reference, importance, types, self.path)
            replace_text(self._kept, json.dumps(self._known))
        return self._known[key]

    def _overhead(self) -> int:
        """Bytes of a file that are no matrix: vocabulary, norms, padding."""
        self.path.unlink(missing_ok=True)
        try:
            self.trials.make(self.path, BASE)
            return overhead_of(self.path)
        finally:
            self.path.unlink(missing_ok=True)


def _key(types: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(types.items())
