"""From upstream's tensor names to the checkpoint's: renamed ones, unused ones with the reason, unknown ones.

`joined` puts the files of one model together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from emo_edge.errors import CheckpointError
from emo_edge.export.reference.tensor_files import StoredTensor, StoredTensors

VISION = "vision."
WRAPPINGS = ("module.", "_orig_mod.", "base_model.model.")
"""Prefixes that DataParallel, ``torch.compile`` and PEFT put before the name of every tensor."""
SHOWN = 5
"""Unknown names that a line lists."""


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
        wrapping, plain = _unwrapped(tensors)
        for name, stored in plain.items():
            target, why = self.target(name), self.reason(name)
            if target is not None:
                mapped[target] = stored
            elif why is not None:
                unused[name] = why
            else:
                unknown.append(name)
        return Piece(piece, mapped, unused, unknown, wrapping, _file_names(tensors))


@dataclass(frozen=True)
class Piece:
    """Tensors that one upstream file or directory gives to the checkpoint."""

    name: str
    tensors: StoredTensors
    """By the checkpoint's name."""
    unused: dict[str, str]
    """Upstream name to reason."""
    unknown: list[str]
    wrapping: str = ""
    """Prefix of every name in the file, left out."""
    files: tuple[str, ...] = ()
    """Names of the files that were read."""

    def problems(self) -> list[str]:
        """Name what no rule covers: it may be a part of the model that would silently be missing."""
        return [f"unknown: {name} in {self.name}" for name in sorted(self.unknown)]

    def lines(self) -> list[str]:
        """Report for a person: how many tensors went where, and why the rest did not."""
        kept = sum(target == stored.name for target, stored in self.tensors.items())
        counts = {"matched": kept, "renamed": len(self.tensors) - kept, "unused": len(self.unused)}
        counts |= {"unknown": len(self.unknown)} if self.unknown else {}
        return [
            f"{self.name}: {', '.join(f'{count} {what}' for what, count in counts.items())}",
            *([f"  read: {self.read()}"] if self.files and self.files != (self.name,) else []),
            *([f"  left out before every name: {self.wrapping}"] if self.wrapping else []),
            *(f"  unused: {count} x {why}" for why, count in _counted(self.unused.values())),
            *([f"  unknown: {self.shown_unknown()}"] if self.unknown else []),
        ]

    def read(self) -> str:
        """Name the files that were read, the first and the last of many."""
        return ", ".join(self.files) if len(self.files) < 3 else f"{self.files[0]} to {self.files[-1]}"

    def shown_unknown(self) -> str:
        """Name the first unknown tensors."""
        more = len(self.unknown) - SHOWN
        return ", ".join(sorted(self.unknown)[:SHOWN]) + (f" and {more} more" if more > 0 else "")

    def without(self, unused: Mapping[str, str]) -> Piece:
        """Return the same without some of the checkpoint's tensors: its name to the reason."""
        kept = {name: stored for name, stored in self.tensors.items() if name not in unused}
        reasons = {self.tensors[name].name: why for name, why in unused.items() if name in self.tensors}
        return replace(self, tensors=kept, unused={**self.unused, **reasons})


def require_parts(hints: Mapping[str, str], opened: Sequence[Piece], tensors: StoredTensors, model: object) -> None:
    """Raise CheckpointError if no tensor has one of the beginnings, with the unknown names of every file.

    Args:
        hints: beginning of a part's names to the argument that gives the part.
        opened: what was read.
        tensors: joined, by the checkpoint's names.
        model: the directory, for the message.
    """
    absent = [field for part, field in hints.items() if not any(name.startswith(part) for name in tensors)]
    if absent:
        unknown = [
            f"{len(one.unknown)} unknown in {one.read() or one.name}: {one.shown_unknown()}"
            for one in opened
            if one.unknown
        ]
        listing = "".join(f"\n  {line}" for line in unknown)
        raise CheckpointError(f"{model}: lacks whole parts; give {' and '.join(absent)}{listing}")


def joined(opened: Sequence[Piece], report: Callable[[str], None]) -> StoredTensors:
    """Take every tensor from the last piece that has it, and report where two had one."""
    tensors: StoredTensors = {}
    for piece in opened:
        for line in piece.lines():
            report(line)
        twice = [name for name in piece.tensors if name in tensors]
        if twice:
            differing = sum(not _same(tensors[name].read(), piece.tensors[name].read()) for name in twice)
            report(f"  {len(twice)} of them were there before; {piece.name} wins, {differing} differ")
        if any(name.startswith(VISION) for name in piece.tensors):
            # Half a tower is never filled up from another.
            tensors = {name: stored for name, stored in tensors.items() if not name.startswith(VISION)}
        tensors |= piece.tensors
    return tensors


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Compare in the coarser of the two types: one file may be the other, rounded."""
    coarse = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    return one.shape == other.shape and torch.equal(one.to(coarse), other.to(coarse))


def _unwrapped(tensors: StoredTensors) -> tuple[str, StoredTensors]:
    """Leave out what wraps every name: the wrapping, and the tensors by their plain names."""
    wrapping, plain = "", tensors
    while own := next((one for one in WRAPPINGS if plain and all(name.startswith(one) for name in plain)), None):
        wrapping += own
        plain = {name.removeprefix(own): replace(stored, name=name.removeprefix(own)) for name, stored in plain.items()}
    return wrapping, plain


def without_wrappings(name: str) -> str:
    """Return a name without the wrappings before it."""
    while own := next((one for one in WRAPPINGS if name.startswith(one)), None):
        name = name.removeprefix(own)
    return name


def _file_names(tensors: StoredTensors) -> tuple[str, ...]:
    return tuple(sorted({stored.path.name for stored in tensors.values()}))


def _counted(reasons: Iterable[str]) -> list[tuple[str, int]]:
    listed = list(reasons)
    return [(why, listed.count(why)) for why in dict.fromkeys(listed)]
