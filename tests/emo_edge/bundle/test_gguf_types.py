"""Types of GGUF files, against the tables of the gguf package and of llama.cpp."""

from __future__ import annotations

import gguf
import pytest

from emo_edge.bundle.gguf_types import (
    EXACT,
    FILE_TYPES,
    TENSOR_TYPES,
    UNQUANTIZED,
    UNQUANTIZED_NUMBERS,
    UNWEIGHTED,
    block_size,
)  # fmt: skip


@pytest.mark.parametrize("name", TENSOR_TYPES)
def test_tensor_types_are_ggmls(name: str) -> None:
    number = gguf.GGMLQuantizationType[name.upper()]
    assert TENSOR_TYPES[name] == (number, *gguf.GGML_QUANT_SIZES[number])


@pytest.mark.parametrize("name", FILE_TYPES)
def test_file_types_are_llama_cpps(name: str) -> None:
    prefix = "ALL" if name == "f32" else "MOSTLY"
    assert FILE_TYPES[name].number == gguf.LlamaFileType[f"{prefix}_{name.upper()}"]


def test_the_unquantized_types_have_no_blocks() -> None:
    assert {name for name in FILE_TYPES if block_size(name) == 1} == set(UNQUANTIZED) > set(EXACT)
    assert set(UNWEIGHTED) - set(UNQUANTIZED) == {"q8_0"}
    assert frozenset({0, 1, 32}) == UNQUANTIZED_NUMBERS


def test_a_mixture_counts_by_its_largest_block() -> None:
    assert [block_size(name) for name in ("f16", "q8_0", "iq4_nl", "q4_k_m", "iq2_xs")] == [1, 32, 32, 256, 256]
