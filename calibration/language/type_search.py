"""Choice of each tensor's type: the least measured damage that fits a size.

Each group of tensors is measured alone in each type, everything else nearly lossless; damages are taken to add up.
The size is met as in rate-distortion coding: one price a byte for all groups (Shoham and Gersho 1988), then the bytes
that are left go where a byte buys most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emo_edge.errors import AccuracyGateError

STEPS = 100
"""Halvings of the price: enough to tell any two doubles apart."""


@dataclass(frozen=True)
class Option:
    """One group of tensors in one type."""

    size: int
    """Bytes."""
    damage: float
    """Mean KL of the label distribution with this group alone in this type."""


Options = Mapping[str, Mapping[str, Option]]
"""Group to type to what it costs."""


def chosen_types(options: Options, budget: int) -> dict[str, str]:
    """Return the type of each group, of least total damage within ``budget`` bytes for all of them.

    Raises AccuracyGateError naming the smallest size there is if nothing fits.
    """
    smallest = sum(min(option.size for option in types.values()) for types in options.values())
    if smallest > budget:
        raise AccuracyGateError(
            f"no mixture of these types fits {budget / 1e6:.1f} MB for the matrices: the smallest needs "
            f"{smallest / 1e6:.1f} MB; allow more, or types of fewer bits"
        )
    return _filled(options, _at_price(options, _price(options, budget)), budget)


def total_size(options: Options, types: Mapping[str, str]) -> int:
    """Bytes of all groups in these types."""
    return sum(options[group][name].size for group, name in types.items())


def total_damage(options: Options, types: Mapping[str, str]) -> float:
    """Mean KL that the groups' own measurements add up to."""
    return sum(options[group][name].damage for group, name in types.items())


def _at_price(options: Options, price: float) -> dict[str, str]:
    def best(types: Mapping[str, Option]) -> str:
        return min(types, key=lambda name: (types[name].damage + price * types[name].size, types[name].size))

    return {group: best(types) for group, types in options.items()}


def _price(options: Options, budget: int) -> float:
    """Find the lowest price a byte at which everything fits."""
    low, high = 0.0, 1e-12
    if total_size(options, _at_price(options, low)) <= budget:
        return low
    while total_size(options, _at_price(options, high)) > budget:
        high *= 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if total_size(options, _at_price(options, middle)) > budget else (low, middle)
    return high


def _filled(options: Options, types: dict[str, str], budget: int) -> dict[str, str]:
    """Spend what is left: one change at a time, the largest gain for a byte first."""
    while True:
        spare, best, gain = budget - total_size(options, types), None, 0.0
        for group, name in types.items():
            now = options[group][name]
            for other, option in options[group].items():
                added, won = option.size - now.size, now.damage - option.damage
                if won > 0 and added <= spare and won / max(added, 1) > gain:
                    best, gain = (group, other), won / max(added, 1)
        if best is None:
            return types
        types = {**types, best[0]: best[1]}
