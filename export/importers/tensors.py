"""One tensor of an imported checkpoint: read, then merged or resized where it must be."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as fn

from emo_edge.errors import CheckpointError
from emo_edge.export.importers.lora import Adapter, LoraPair
from emo_edge.export.reference.tensor_files import StoredTensor, StoredTensors
from emo_edge.export.reference.weights import structure_problems

POSITIONS = "vision.pos_embed"
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class ImportedTensor:
    """A tensor under the checkpoint's name, read and changed when it is written."""

    name: str
    stored: StoredTensor
    shape: tuple[int, ...]
    pair: LoraPair | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Default type of the written tensor: as it is stored, and float32 where it is computed."""
        computed = self.pair is not None or self.shape != self.stored.shape
        return torch.float32 if computed or self.stored.dtype is None else self.stored.dtype

    def origin(self) -> str:
        """Name the tensor and the files it is made of."""
        pair = self.pair
        sources = [self.stored, *([pair.down, pair.up] if pair else [])]
        return f"{self.name} ({', '.join(f'{one.name} in {one.path.name}' for one in sources)})"

    def stamp(self) -> str:
        """Name the files, their sizes and times, and the factor that an adapter is merged with."""
        pair = self.pair
        sources = [self.stored, *([pair.down, pair.up] if pair else [])]
        status = [(str(one.path.absolute()), one.name, one.path.stat()) for one in sources]
        stamps = [(path, name, stat.st_size, stat.st_mtime_ns) for path, name, stat in status]
        return json.dumps([stamps, pair and pair.scale])

    def value(self) -> torch.Tensor:
        """Read the tensor and merge or resize it."""
        tensor = self.stored.read()
        if self.pair is not None:
            tensor = self.pair.merged(tensor)
        return resized_positions(tensor, self.shape[1]) if self.shape != self.stored.shape else tensor


def resized_positions(table: torch.Tensor, tokens: int) -> torch.Tensor:
    """Stretch a position table [1, 1 + g*g, D] to ``tokens`` rows, bicubically and in float32.

    The class token's row stays (``interpolate_pos_embed`` of LAVIS's ``eva_vit.py``).
    """
    own, side = (round((count - 1) ** 0.5) for count in (table.shape[1], tokens))
    cells = table[:, 1:].float().reshape(1, own, own, -1).permute(0, 3, 1, 2)
    stretched = fn.interpolate(cells, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1].float(), stretched.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def imported_tensors(
    expected: Mapping[str, tuple[int, ...]],
    stored: StoredTensors,
    adapter: Adapter | None,
    adapted: Mapping[str, LoraPair],
    problems: Sequence[str] = (),
) -> list[ImportedTensor]:
    """Pair every tensor that the model has with the stored one, in the model's order.

    Raises CheckpointError naming every tensor that is missing, too much, misshapen or of no floating-point type, and an
    adapter's first weight that does not fit.
    """
    shapes = {name: _imported_shape(name, one, expected) for name, one in stored.items()}
    structure = [_with_origin(problem, stored) for problem in structure_problems(expected, shapes)]
    factors = [factor for pair in adapted.values() for factor in (pair.down, pair.up)]
    kinds = [
        f"wrong dtype: {one.name} in {one.path.name} is {one.dtype}, expected a floating-point type"
        for one in (*stored.values(), *factors)
        if one.dtype not in FLOATS
    ]
    problems = [*problems, *structure, *kinds]
    if problems:
        raise CheckpointError(f"{len(problems)} problem(s) in the weights:\n" + listing(problems))
    if adapter is not None:
        _check_adapter(adapter, adapted, expected)
    return [ImportedTensor(name, stored[name], shape, adapted.get(name)) for name, shape in expected.items()]


def listing(problems: Sequence[str]) -> str:
    """Put a problem on each line."""
    return "\n".join(f"  {problem}" for problem in problems)


def _imported_shape(name: str, stored: StoredTensor, expected: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape that a tensor will have: a square position table is stretched to the requested size."""
    shape = stored.shape
    stretched = name == POSITIONS and len(shape) == 3 and shape[1] > 1 and math.isqrt(shape[1] - 1) ** 2 == shape[1] - 1
    return (shape[0], expected[name][1], shape[2]) if stretched and name in expected else shape


def _with_origin(problem: str, tensors: StoredTensors) -> str:
    name = problem.split(": ", 1)[1].split(" ", 1)[0]
    stored = tensors.get(name)
    return f"{problem} ({stored.name} in {stored.path.name})" if stored else problem


def _check_adapter(adapter: Adapter, adapted: Mapping[str, LoraPair], expected: Mapping[str, tuple[int, ...]]) -> None:
    for name in [*expected, *adapted]:
        pair = adapted.get(name)
        if pair is not None and expected.get(name) != pair.shape:
            there = list(expected[name]) if name in expected else "not there"
            raise CheckpointError(
                f"{adapter.directory}: made for another base model: {name} is {there}, "
                f"the adapter changes a {list(pair.shape)}"
            )
