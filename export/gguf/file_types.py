"""File types that llama.cpp writes, and those of them that fit a model's rows."""

from __future__ import annotations

from emo_edge.bundle import gguf_types
from emo_edge.bundle.gguf_types import block_size
from emo_edge.errors import CheckpointError
from emo_edge.export.configs.networks import LanguageConfig
from emo_edge.utils.suggestions import did_you_mean

FILE_TYPES = {name: kind.number for name, kind in gguf_types.FILE_TYPES.items() if not kind.needs_imatrix}
"""File type to llama.cpp's ``LLAMA_FTYPE`` number."""
IMATRIX_TYPES = {name: kind.number for name, kind in gguf_types.FILE_TYPES.items() if kind.needs_imatrix}
"""The same, for file types that llama.cpp makes only from importance statistics (an imatrix)."""
TENSOR_TYPES = ("f16", "q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k", "iq4_xs", "iq4_nl", "q4_0", "q5_0", "iq3_s")
"""Types of a single tensor, by name; llama.cpp's own recipes mix these."""


def available_file_types(config: LanguageConfig, *, importance: bool = False) -> list[str]:
    """List the file types whose blocks divide this model's rows, from the most bits to the fewest.

    Those that need importance statistics are among them only if there are some.
    """
    rows = (config.hidden_size, config.intermediate_size)
    known = {**FILE_TYPES, **(IMATRIX_TYPES if importance else {})}
    return [name for name in known if all(row % block_size(name) == 0 for row in rows)]


def block_misfit(file_type: str, config: LanguageConfig) -> str:
    """Return why the rows of this model do not take a known file type; empty where they do, or nobody knows it."""
    kind = {**FILE_TYPES, **IMATRIX_TYPES}.get(file_type)
    if kind is None or file_type in available_file_types(config, importance=True):
        return ""
    rows = " and ".join(map(str, (config.hidden_size, config.intermediate_size)))
    return f"it needs rows that are multiples of {block_size(file_type)}, and this model's are {rows}"


def require_offered(file_type: str, *, importance: bool) -> None:
    """Raise CheckpointError for an unknown file type, or one that needs the statistics that are not there."""
    if file_type in IMATRIX_TYPES and not importance:
        raise CheckpointError(f"{file_type} needs importance statistics (an imatrix); without: {', '.join(FILE_TYPES)}")
    if file_type not in {**FILE_TYPES, **IMATRIX_TYPES}:
        listing = f"{', '.join(FILE_TYPES)}{did_you_mean(file_type, FILE_TYPES)}"
        raise CheckpointError(f"no file type {file_type!r}; there are: {listing}")
