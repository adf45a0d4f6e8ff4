"""GGUF at fewer bits: llama.cpp's own quantizer, with importance statistics and types tensor by tensor."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from ctypes import POINTER, byref, c_float
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.bundle.checks.gguf import check_gguf
from emo_edge.bundle.gguf_header import StoredTensor, read_gguf_structure
from emo_edge.bundle.gguf_types import TENSOR_TYPES as STORED_TYPES
from emo_edge.bundle.gguf_types import block_size
from emo_edge.bundle.imatrix_file import Imatrix, read_imatrix
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.gguf.file_types import FILE_TYPES, IMATRIX_TYPES, TENSOR_TYPES, require_offered
from emo_edge.machine.cpus import usable_cpus
from emo_edge.runtimes.llama_cpp.admitted import is_admitted
from emo_edge.runtimes.llama_cpp.library import library, native_errors
from emo_edge.storage.output_files import new_file

QUANTIZED_AT_ONCE = 1 << 29
"""Bytes of a tensor's rows that llama.cpp holds while it quantizes; its own default is 8 GiB."""
UNWEIGHTED = ("token_embd.weight", "output.weight")
"""Matrices that an imatrix need not hold: one is looked up in, llama.cpp's own collector leaves the other out."""
PLAIN: dict[int, np.dtype[Any]] = {
    STORED_TYPES["f32"].number: np.dtype("<f4"),
    STORED_TYPES["f16"].number: np.dtype("<f2"),
}
"""Types that llama.cpp quantizes from."""


def quantize_gguf(
    source: Path,
    target: Path,
    file_type: str,
    *,
    importance: Path | None = None,
    types: Mapping[str, str] | None = None,
    known_finite: bool = False,
) -> None:
    """Make a GGUF file of fewer bits from an f16 or f32 one.

    Args:
        source: the unquantized file.
        target: the new one; refused if it is there.
        file_type: of `FILE_TYPES`; with ``importance`` also of `IMATRIX_TYPES`.
        importance: an imatrix file of this model: see `emo_edge.bundle.imatrix_file`.
        types: tensor name to a type of `TENSOR_TYPES` where it is not to be what ``file_type`` makes of it.
        known_finite: spare the checks of a file that `gguf_from_checkpoint` wrote, for a type of
            `available_file_types`.

    Raises CheckpointError, before the slow work, for an unknown type, one that needs importance statistics or whose
    blocks do not divide the rows, values that are not finite (they would end the process inside llama.cpp);
    InputError for statistics of another model, or a machine that cannot write it.
    """
    require_offered(file_type, importance=importance is not None)
    overrides = dict(types or {})
    statistics = read_imatrix(importance) if importance else None
    if not known_finite or overrides or statistics:
        columns = _check_source(source, file_type, overrides, known_finite)
        if statistics is not None:
            _require_same_model(statistics, columns, f"{importance}", f"{source}")
    native = library()
    parameters = native.llama_model_quantize_default_params()
    parameters.nthread = usable_cpus()
    parameters.ftype = {**FILE_TYPES, **IMATRIX_TYPES}[file_type]
    parameters.max_buf_size = QUANTIZED_AT_ONCE
    # Kept until the call returns: ctypes does not keep what a pointer points to.
    kept = [_set_overrides(native, parameters, overrides), _set_importance(native, parameters, statistics)]
    with new_file(target) as partial:
        if native.llama_model_quantize(os.fsencode(source), os.fsencode(partial), byref(parameters)):
            # What is wrong with the source was refused before: this is the machine.
            raise InputError(f"{target}: llama.cpp cannot make {file_type}: {native_errors()}; is there room?")
    del kept


def _check_source(source: Path, file_type: str, overrides: Mapping[str, str], known_finite: bool) -> dict[str, int]:
    """Refuse what llama.cpp could not quantize; return the values that a matrix needs statistics of."""
    tensors = _plain_tensors(source)
    columns = {name: tensor.shape[0] for name, tensor in tensors.items() if len(tensor.shape) > 1}
    for name, row in columns.items():
        kind = overrides.get(name, file_type)
        if row % block_size(kind) and not is_admitted(source):
            # Of other architectures' matrices llama.cpp makes another type where the rows do not fit.
            raise CheckpointError(f"{kind} needs rows that are multiples of {block_size(kind)}: {name} has {row}")
    _check_overrides(columns, overrides, source)
    if not is_admitted(source):
        check_gguf(source)
    if not known_finite:
        _check_finite(tensors, source)
    return {name: row * _experts(tensors[name].shape) for name, row in columns.items()}


def _plain_tensors(source: Path) -> dict[str, StoredTensor]:
    """List the tensors of a file, all of them float16 or float32."""
    if not source.is_file():
        raise CheckpointError(f"{source}: no such file")
    try:
        # gguf's own reader takes a tenth of a second a file, and a search of types reads the same one again and again.
        tensors = read_gguf_structure(source).tensors
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{source}: not readable as GGUF (truncated or corrupt): {error}") from error
    for name, tensor in tensors.items():
        if tensor.type not in PLAIN:
            kind = next((one for one, known in STORED_TYPES.items() if known.number == tensor.type), f"{tensor.type}")
            raise CheckpointError(f"{source}: {name} is {kind}; quantize an f16 or f32 file")
        if tensor.bytes < math.prod(tensor.shape) * PLAIN[tensor.type].itemsize:
            raise CheckpointError(f"{source}: not readable as GGUF (truncated or corrupt): {name} is cut off")
    return tensors


def _experts(shape: tuple[int, ...]) -> int:
    return shape[2] if len(shape) > 2 else 1


def _check_finite(tensors: Mapping[str, StoredTensor], source: Path) -> None:
    import torch

    from emo_edge.export.reference.weights import all_finite

    for name, tensor in tensors.items():
        # Copy-on-write: torch wants arrays that may be written.
        values = np.memmap(source, PLAIN[tensor.type], "c", tensor.start, tensor.shape[::-1])
        if not all_finite(torch.from_numpy(values)):
            raise CheckpointError(f"{source}: not finite: {name}")


def _check_overrides(columns: Mapping[str, int], overrides: Mapping[str, str], source: Path) -> None:
    absent = sorted(overrides.keys() - columns.keys())
    unknown = sorted(set(overrides.values()) - set(TENSOR_TYPES))
    if absent:
        raise CheckpointError(f"{source}: has no matrix called {', '.join(absent)}")
    if unknown:
        raise CheckpointError(f"no tensor type {', '.join(unknown)}; there are: {', '.join(TENSOR_TYPES)}")


def _require_same_model(statistics: Imatrix, columns: Mapping[str, int], importance: str, source: str) -> None:
    """Raise CheckpointError for an imatrix of another model; llama.cpp itself ignores names that it does not know."""
    weighted = {name: row for name, row in columns.items() if name not in UNWEIGHTED}
    problems = [f"{name} is not in it" for name in weighted.keys() - statistics.sums.keys()]
    problems += [f"{name} is not in the model" for name in statistics.sums.keys() - columns.keys()]
    problems += [
        f"{name} has {row} columns, not {statistics.sums[name].size}"
        for name, row in weighted.items()
        if name in statistics.sums and statistics.sums[name].size != row
    ]
    if problems:
        listing = "; ".join(sorted(problems)[:5])
        raise InputError(f"{importance}: statistics of another model than {source}: {listing}; collect them anew")


def _set_overrides(native: Any, parameters: Any, overrides: Mapping[str, str]) -> Any:
    import gguf

    if not overrides:
        return None
    array = (native.llama_model_tensor_override * (len(overrides) + 1))()
    for entry, (name, wanted) in zip(array, overrides.items(), strict=False):
        entry.pattern = f"^{re.escape(name)}$".encode()
        entry.type = int(gguf.GGMLQuantizationType[wanted.upper()])
    parameters.tt_overrides = array
    return array


def _set_importance(native: Any, parameters: Any, statistics: Imatrix | None) -> Any:
    if statistics is None:
        return None
    array = (native.llama_model_imatrix_data * (len(statistics.sums) + 1))()
    rows = [np.ascontiguousarray(statistics.means(name)) for name in statistics.sums]
    for entry, name, row in zip(array, statistics.sums, rows, strict=False):
        entry.name, entry.size = name.encode(), row.size
        entry.data = row.ctypes.data_as(POINTER(c_float))
    parameters.imatrix = array
    return array, rows
