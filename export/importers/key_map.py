"""From upstream's tensor names to the checkpoint's: renamed ones, unused ones with the reason, unknown ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emo_edge.export.reference.tensor_files import StoredTensor, StoredTensors


@dataclass(frozen=True)
class KeyMap:
    """The names of one upstream format, as regular expressions of whole names; the first that matches counts."""

    renames: Mapping[str, str]
    """Pattern to the checkpoint's name, with groups."""
    unused: Mapping[str, str]
    """Pattern to the reason why leaving such a tensor out is right."""

    def target(self, name: str) -> str | None:
        """Return the checkpoint's name of an upstream tensor; None for one that it does not use."""
        return next(
            (match.expand(new) for old, new in self.renames.items() if (match := re.fullmatch(old, name))),
            None,
        )

    def reason(self, name: str) -> str | None:
        """Return why an upstream tensor is not needed; None for one that is not known."""
        return next((why for pattern, why in self.unused.items() if re.fullmatch(pattern, name)), None)

    def placed(self, piece: str, tensors: StoredTensors) -> Piece:
        """Sort a file's tensors into those of the checkpoint, those it does not need and unknown ones."""
        mapped: dict[str, StoredTensor] = {}
        unused: dict[str, str] = {}
        unknown: list[str] = []
        for name, stored in tensors.items():
            target, why = self.target(name), self.reason(name)
            if target is not None:
                mapped[target] = stored
            elif why is not None:
                unused[name] = why
            else:
                unknown.append(name)
        return Piece(piece, mapped, unused, unknown)


@dataclass(frozen=True)
class Piece:
    """Tensors that one upstream file or directory gives to the checkpoint."""

    name: str
    tensors: StoredTensors
    """By the checkpoint's name."""
    unused: dict[str, str]
    """Upstream name to reason."""
    unknown: list[str]

    def problems(self) -> list[str]:
        """Name what no rule covers: it may be a part of the model that would silently be missing."""
        return [f"unknown: {name} in {self.name}" for name in sorted(self.unknown)]

    def lines(self) -> list[str]:
        """Report for a person: how many tensors went where, and why the rest did not."""
        kept = sum(target == stored.name for target, stored in self.tensors.items())
        return [
            f"{self.name}: {kept} matched, {len(self.tensors) - kept} renamed, {len(self.unused)} unused",
            *(f"  unused: {count} x {why}" for why, count in _counted(self.unused.values())),
        ]


def _counted(reasons: Iterable[str]) -> list[tuple[str, int]]:
    listed = list(reasons)
    return [(why, listed.count(why)) for why in dict.fromkeys(listed)]
