"""Importance statistics of a language model's matrices, in llama.cpp's imatrix GGUF format.

Per tensor: how large, squared and summed over tokens, each column's input was. A quantizer spends its error where the
inputs are small. Keys and names are those of llama.cpp's ``tools/imatrix/imatrix.cpp``; its ``llama-quantize`` and
`emo_edge.export.gguf.quantize` read the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.gguf_header import read_gguf_structure
from emo_edge.errors import InputError
from emo_edge.utils.files import replaced_file

if TYPE_CHECKING:
    import gguf

SUMS, COUNTS = ".in_sum2", ".counts"
ARCHITECTURE_KEY = "general.architecture"
TYPE_KEY, DATASETS_KEY = "general.type", "imatrix.datasets"
CHUNKS_KEY, CHUNK_SIZE_KEY = "imatrix.chunk_count", "imatrix.chunk_size"
LARGEST_HEAD = 512 << 10
"""Bytes before the tensors; the statistics of 126 layers have 130 KB."""
Count = int | tuple[int, ...]
"""Tokens of a matrix, or of each expert of a matrix of experts."""


@dataclass(frozen=True)
class Imatrix:
    """Statistics of the inputs of one model's matrices."""

    sums: Mapping[str, NDArray[np.float32]]
    """GGUF tensor name to the sum over tokens of each input column, squared: [columns], or [experts, columns]."""
    counts: Mapping[str, Count]
    """The same names to the number of tokens; of experts, to that of each."""
    prompts: int
    """Prompts, answers included, that were read."""
    datasets: tuple[str, ...]
    """Sources of the prompts."""

    def means(self, name: str) -> NDArray[np.float32]:
        """Mean square of each input column of a tensor, as a quantizer weighs it: float32 [columns].

        Of experts [experts, columns]; one that no token was given to has ones, as in llama.cpp's ``quantize.cpp``.
        """
        tokens = np.array(self.counts[name], np.float32)[..., None]
        return np.where(tokens > 0, self.sums[name] / np.maximum(tokens, 1), 1).astype(np.float32)

    def merged(self, other: Imatrix) -> Imatrix:
        """Join the statistics of two sets of prompts; raise InputError unless both are of one model."""
        if {name: row.shape for name, row in self.sums.items()} != {
            name: row.shape for name, row in other.sums.items()
        }:
            raise InputError("the statistics are of different models: their tensors or widths differ")
        return Imatrix(
            {name: np.asarray(row + other.sums[name], np.float32) for name, row in self.sums.items()},
            {name: added_counts(count, other.counts[name]) for name, count in self.counts.items()},
            self.prompts + other.prompts,
            tuple(dict.fromkeys((*self.datasets, *other.datasets))),
        )


def added_counts(one: Count, other: Count) -> Count:
    """Add numbers of tokens, those of experts one by one; both are of one matrix."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return tuple(np.add(one, other).tolist())


def write_imatrix(imatrix: Imatrix, path: Path) -> None:
    """Write the file as a whole; a file of that name is replaced."""
    import gguf

    with replaced_file(path) as partial:
        _write(imatrix, gguf.GGUFWriter(partial, ""))


def _write(imatrix: Imatrix, writer: gguf.GGUFWriter) -> None:
    # The writer's own key for the architecture has no place in a file that is no model.
    writer.kv_data[0].pop(ARCHITECTURE_KEY, None)
    writer.add_type("imatrix")
    writer.add_array(DATASETS_KEY, list(imatrix.datasets))
    writer.add_uint32(CHUNKS_KEY, imatrix.prompts)
    tokens = max(int(np.max(count)) for count in imatrix.counts.values())
    writer.add_uint32(CHUNK_SIZE_KEY, max(1, tokens // max(1, imatrix.prompts)))
    for name, row in imatrix.sums.items():
        writer.add_tensor(f"{name}{SUMS}", np.ascontiguousarray(row, np.float32).reshape(-1, row.shape[-1]))
        writer.add_tensor(f"{name}{COUNTS}", np.array(imatrix.counts[name], np.float32).reshape(-1, 1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_imatrix(path: Path) -> Imatrix:
    """Read a file that this module, or llama.cpp's ``llama-imatrix``, wrote.

    Raises InputError for one that is missing, truncated, of another kind, or holds values that no sum of squares has.
    """
    import gguf

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        _require_small_head(path)
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    except Exception as error:  # the reader raises whatever the broken bytes lead it to
        raise InputError(f"{path}: not readable as GGUF (truncated or corrupt): {error}") from error
    names = [name.removesuffix(SUMS) for name in tensors if name.endswith(SUMS)]
    if fields.get(TYPE_KEY) != "imatrix" or not names:
        raise InputError(f"{path}: a GGUF file, but no importance statistics; emo-edge calibrate writes them")
    problems = [problem for name in names if (problem := _problem(tensors, name))]
    if problems:
        raise InputError("\n".join([f"{path}: {len(problems)} problem(s); collect the statistics again:", *problems]))
    return Imatrix(
        {name: _rows(tensors[name + SUMS], tensors[name + COUNTS].size) for name in names},
        {name: _count(tensors[name + COUNTS]) for name in names},
        int(fields.get(CHUNKS_KEY, 0)),
        tuple(fields.get(DATASETS_KEY, ())),
    )


def _require_small_head(path: Path) -> None:
    """Raise ValueError for a head that the reader would take minutes for: it makes an array of every value."""
    structure = read_gguf_structure(path)
    head = min((tensor.start for tensor in structure.tensors.values()), default=path.stat().st_size)
    if head > LARGEST_HEAD:
        raise ValueError(f"a head of {head} bytes, where statistics have at most {LARGEST_HEAD}")


def _rows(sums: NDArray[np.float32], experts: int) -> NDArray[np.float32]:
    return sums.reshape(-1) if experts == 1 else sums.reshape(experts, -1)


def _count(tokens: NDArray[np.float32]) -> Count:
    each = [int(value) for value in tokens.reshape(-1)]
    return each[0] if len(each) == 1 else tuple(each)


def _problem(tensors: Mapping[str, NDArray[np.float32]], name: str) -> str:
    row, count = tensors[name + SUMS], tensors.get(name + COUNTS)
    if count is None or count.size not in (1, row.size // row.shape[-1]):
        return f"  {name}: the number of tokens is missing, or there are more than matrices"
    if row.dtype != np.float32 or count.dtype != np.float32:
        return f"  {name}: float32 was expected, not {row.dtype} and {count.dtype}"
    finite = np.isfinite(row).all() and np.isfinite(count).all()
    if not (finite and (row >= 0).all() and (count >= 0).all() and 1 <= float(count.max()) < 2**53):
        return f"  {name}: not finite, negative, or of no tokens"
    return ""
