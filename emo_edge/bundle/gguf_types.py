"""Types of GGUF files and of their tensors: llama.cpp's numbers, block sizes, bits a weight."""

from __future__ import annotations

from typing import NamedTuple


class TensorType(NamedTuple):
    """Storage of a tensor's values."""

    number: int
    """ggml's ``GGML_TYPE``."""
    block: int
    """Values that have one scale in common: ggml's ``QK`` constants."""
    size: int
    """Bytes of a block."""

    @property
    def bits(self) -> float:
        """Bits a value."""
        return 8 * self.size / self.block


TENSOR_TYPES = {
    "f32": TensorType(0, 1, 4),
    "f16": TensorType(1, 1, 2),
    "bf16": TensorType(30, 1, 2),
    "q8_0": TensorType(8, 32, 34),
    "q5_0": TensorType(6, 32, 22),
    "q5_1": TensorType(7, 32, 24),
    "q4_0": TensorType(2, 32, 18),
    "q4_1": TensorType(3, 32, 20),
    "iq4_nl": TensorType(20, 32, 18),
    "q6_k": TensorType(14, 256, 210),
    "q5_k": TensorType(13, 256, 176),
    "q4_k": TensorType(12, 256, 144),
    "q3_k": TensorType(11, 256, 110),
    "q2_k": TensorType(10, 256, 84),
    "iq4_xs": TensorType(23, 256, 136),
    "iq3_s": TensorType(21, 256, 110),
    "iq3_xxs": TensorType(18, 256, 98),
    "iq2_s": TensorType(22, 256, 82),
    "iq2_xs": TensorType(17, 256, 74),
    "iq2_xxs": TensorType(16, 256, 66),
    "iq1_m": TensorType(29, 256, 56),
    "iq1_s": TensorType(19, 256, 50),
}
"""Types of a single tensor that this project writes or reads."""


class FileType(NamedTuple):
    """A mixture of tensor types that llama.cpp writes under one name."""

    number: int
    """llama.cpp's ``LLAMA_FTYPE``."""
    bits: float
    """Bits a weight to reserve: a tenth above what llama.cpp's ``tools/quantize`` states of 8B models."""
    needs_imatrix: bool = False
    """llama.cpp makes it from importance statistics alone."""


FILE_TYPES = {
    "f32": FileType(0, 32.0),
    "f16": FileType(1, 16.0),
    "bf16": FileType(32, 16.0),
    "q8_0": FileType(7, 9.4),
    "q5_0": FileType(8, 6.2),
    "q5_1": FileType(9, 6.7),
    "q4_0": FileType(2, 5.2),
    "q4_1": FileType(3, 5.7),
    "iq4_nl": FileType(25, 5.2),
    "q6_k": FileType(18, 7.3),
    "q5_k_m": FileType(17, 6.3),
    "q5_k_s": FileType(16, 6.2),
    "q4_k_m": FileType(15, 5.4),
    "q4_k_s": FileType(14, 5.2),
    "q3_k_l": FileType(13, 4.8),
    "q3_k_m": FileType(12, 4.5),
    "q3_k_s": FileType(11, 4.1),
    "q2_k": FileType(10, 3.7),
    "iq4_xs": FileType(30, 5.0),
    "iq3_m": FileType(27, 4.2),
    "iq3_s": FileType(26, 4.1),
    "iq3_xs": FileType(22, 3.9, needs_imatrix=True),
    "iq3_xxs": FileType(23, 3.6, needs_imatrix=True),
    "iq2_m": FileType(29, 3.3, needs_imatrix=True),
    "iq2_s": FileType(28, 3.1, needs_imatrix=True),
    "iq2_xs": FileType(20, 2.9, needs_imatrix=True),
    "q2_k_s": FileType(21, 3.3, needs_imatrix=True),
    "iq2_xxs": FileType(19, 2.7, needs_imatrix=True),
    "iq1_m": FileType(31, 2.4, needs_imatrix=True),
    "iq1_s": FileType(24, 2.3, needs_imatrix=True),
}
"""File types by name, in the order that commands offer them. Left out: formats that a model is trained in (tq, mxfp4,
q1_0)."""
EXACT = ("f32", "f16")
"""File types of a profile that is called exact. Not bf16: its 8 bits of mantissa round float16 weights."""
UNQUANTIZED = (*EXACT, "bf16")
"""File types without blocks: their attention cache stays float32, and llama.cpp has neither AMX kernels nor repacked
weights for them."""
UNQUANTIZED_NUMBERS = frozenset(FILE_TYPES[name].number for name in UNQUANTIZED)
UNQUANTIZED_TENSORS = frozenset(TENSOR_TYPES[name].number for name in UNQUANTIZED)
UNWEIGHTED = (*UNQUANTIZED, "q8_0")
"""File types that llama.cpp makes without importance statistics, whatever it is given."""


def block_size(name: str) -> int:
    """Return the block size of a tensor type, or of a file type: a mixture counts by its largest block."""
    return TENSOR_TYPES[name].block if name in TENSOR_TYPES else 256
