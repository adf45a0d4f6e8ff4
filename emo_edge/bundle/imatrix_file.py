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


@dataclass(frozen=True)
class Imatrix:
    """Statistics of the inputs of one model's matrices."""

    sums: Mapping[str, NDArray[np.float32]]
    """GGUF tensor name to the sum over tokens of each input column, squared: [columns]."""
    counts: Mapping[str, int]
    """The same names to the number of tokens."""
    prompts: int
    """Prompts, answers included, that were read."""
    datasets: tuple[str, ...]
    """Sources of the prompts."""

    def means(self, name: str) -> NDArray[np.float32]:
        """Mean square of each input column of a tensor, as a quantizer weighs it: float32 [columns]."""
        return np.asarray(self.sums[name] / np.float32(self.counts[name]), np.float32)

    def merged(self, other: Imatrix) -> Imatrix:
        """Join the statistics of two sets of prompts; raise InputError unless both are of one model."""
        if {name: len(row) for name, row in self.sums.items()} != {name: len(row) for name, row in other.sums.items()}:
            raise InputError("the statistics are of different models: their tensors or widths differ")
        return Imatrix(
            {name: np.asarray(row + other.sums[name], np.float32) for name, row in self.sums.items()},
            {name: count + other.counts[name] for name, count in self.counts.items()},
            self.prompts + other.prompts,
            tuple(dict.fromkeys((*self.datasets, *other.datasets))),
        )


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
    writer.add_uint32(CHUNK_SIZE_KEY, max(1, max(imatrix.counts.values()) // max(1, imatrix.prompts)))
    for name, row in imatrix.sums.items():
        writer.add_tensor(f"{name}{SUMS}", np.ascontiguousarray(row, np.float32)[None])
        writer.add_tensor(f"{name}{COUNTS}", np.array([[imatrix.counts[name]]], np.float32))
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
        {name: tensors[name + SUMS].reshape(-1) for name in names},
        {name: int(tensors[name + COUNTS].reshape(-1)[0]) for name in names},
        int(fields.get(CHUNKS_KEY, 0)),
        tuple(fields.get(DATASETS_KEY, ())),
    )


def _require_small_head(path: Path) -> None:
    """Raise ValueError for a head that the reader would take minutes for: it makes an array of every value."""
    structure = read_gguf_structure(path)
    head = min((tensor.start for tensor in structure.tensors.values()), default=path.stat().st_size)
    if head > LARGEST_HEAD:
        raise ValueError(f"a head of {head} bytes, where statistics have at most {LARGEST_HEAD}")


def _problem(tensors: Mapping[str, NDArray[np.float32]], name: str) -> str:
    row, count = tensors[name + SUMS], tensors.get(name + COUNTS)
    if count is None or count.size != 1:
        return f"  {name}: the number of tokens is missing, or there is more than one"
    if row.dtype != np.float32 or count.dtype != np.float32:
        return f"  {name}: float32 was expected, not {row.dtype} and {count.dtype}"
    if not (np.isfinite(row).all() and (row >= 0).all() and 1 <= float(count.reshape(-1)[0]) < 2**53):
        return f"  {name}: not finite, negative, or of no tokens"
    return ""
