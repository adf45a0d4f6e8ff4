"""File types that llama.cpp writes, and those of them that fit a model's rows."""

from __future__ import annotations

from emo_edge.errors import CheckpointError
from emo_edge.export.models.network_config import LanguageConfig

FILE_TYPES = {
    "f32": 0,
    "f16": 1,
    "bf16": 32,
    "q8_0": 7,
    "q5_0": 8,
    "q5_1": 9,
    "q4_0": 2,
    "q4_1": 3,
    "iq4_nl": 25,
    "q6_k": 18,
    "q5_k_m": 17,
    "q5_k_s": 16,
    "q4_k_m": 15,
    "q4_k_s": 14,
    "q3_k_l": 13,
    "q3_k_m": 12,
    "q3_k_s": 11,
    "q2_k": 10,
    "iq4_xs": 30,
    "iq3_m": 27,
    "iq3_s": 26,
}
"""File type to llama.cpp's ``LLAMA_FTYPE`` number. Left out: formats that a model is trained in (tq, mxfp4, q1_0)."""
IMATRIX_TYPES = {
    "iq3_xs": 22,
    "iq3_xxs": 23,
    "iq2_m": 29,
    "iq2_s": 28,
    "iq2_xs": 20,
    "q2_k_s": 21,
    "iq2_xxs": 19,
    "iq1_m": 31,
    "iq1_s": 24,
}
"""The same, for file types that llama.cpp makes only from importance statistics (an imatrix)."""
TENSOR_TYPES = ("f16", "q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k", "iq4_xs", "iq4_nl", "q4_0", "q5_0", "iq3_s")
"""What a single tensor may be made in, by name; llama.cpp's own recipes mix these."""
_SMALL_BLOCKS = ("q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "iq4_nl")


def available_file_types(config: LanguageConfig, *, importance: bool = False) -> list[str]:
    """List the file types whose blocks divide this model's rows, from the most bits to the fewest.

    Those that need importance statistics are among them only if there are some.
    """
    rows = (config.hidden_size, config.intermediate_size)
    known = {**FILE_TYPES, **(IMATRIX_TYPES if importance else {})}
    return [name for name in known if all(row % block_size(name) == 0 for row in rows)]


def block_size(name: str) -> int:
    """Values that share a scale: ggml's ``QK`` constants; a mixture counts by its largest."""
    if name in ("f32", "f16", "bf16"):
        return 1
    return 32 if name in _SMALL_BLOCKS else 256


def require_offered(file_type: str, *, importance: bool) -> None:
    """Raise CheckpointError for an unknown file type, or one that needs the statistics that are not there."""
    if file_type in IMATRIX_TYPES and not importance:
        raise CheckpointError(f"{file_type} needs importance statistics (an imatrix); without: {', '.join(FILE_TYPES)}")
    if file_type not in {**FILE_TYPES, **IMATRIX_TYPES}:
        raise CheckpointError(f"no file type {file_type!r}; there are: {', '.join(FILE_TYPES)}")
