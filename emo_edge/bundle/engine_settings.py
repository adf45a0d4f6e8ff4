"""Settings of compiled engines and of CUDA in a bundle: sizes they are compiled for, memory they may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from emo_edge.errors import BundleError
from emo_edge.tensors import TensorSpec
from emo_edge.utils.settings import Section, Size, require

ROWS, QUESTION_LENGTH = "N", "L"
"""Names of the varying axes: faces or frames, and tokens of a question."""
LIKELY_QUESTION = 16
"""Tokens of a question that engines are tuned for; "What is the expression of this face?" has about a dozen."""


Rows = Annotated[int, Field(ge=1, le=1024, strict=True)]


class RowRange(Section):
    """Faces or frames a compiled engine computes at once; a larger feed is computed in parts."""

    likely: Rows = 1
    most: Rows = 16

    @model_validator(mode="after")
    def _ordered(self) -> RowRange:
        require((self.likely <= self.most, f"likely {self.likely} is more than most {self.most}"))
        return self


class CudaSettings(Section):
    """Options of ONNX Runtime's CUDA provider, by what they are for.

    Source: onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html.
    """

    memory_limit_mib: Size | None = None
    """Of one graph's arena; None leaves it to the card."""
    grow: Literal["as-requested", "doubling"] = "as-requested"
    """``as-requested`` wastes less where a card has several engines, ``doubling`` asks the driver less often."""
    convolution_search: Literal["exhaustive", "heuristic", "default"] = "heuristic"
    """``exhaustive`` tries every kernel at the first run of each size."""
    tf32: bool = False
    """Round float32 matmuls to 10 bits of mantissa; a bundle's evidence was measured without."""
    graphs: bool = True
    """Capture a CUDA graph for each size of feed, where ONNX Runtime can and is new enough to do it safely: a small
    network waits for its launches (on an H200 a reading of emo-tiny took 5.0 ms with, 11.8 and 19.4 ms without:
    docs/results/h200.md)."""
    tensorrt_provider: bool = False
    """Let ONNX Runtime's own TensorRT provider take what it can; it compiles anew at each start."""


class TensorRtSettings(Section):
    """Settings of TensorRT's builds and runs of a graph."""

    workspace_mib: Size = 1024
    """Scratch memory a kernel may ask for, and what trying kernels may take: an Orin Nano of 8 GB leaves 5.2 GB."""
    optimization_level: Annotated[int, Field(ge=0, le=5)] = 3
    graphs: bool = False
    """Capture a CUDA graph for each size of feed; helps small networks, whose kernels are shorter than their launch."""


class LlamaSettings(Section):
    """Settings of llama.cpp's prompt."""

    cache: Literal["f16", "q8_0"] = "f16"
    """Type of attention's keys and values. ``q8_0`` takes half the memory and needs flash attention, which is enabled
    for it; elsewhere llama.cpp decides. Unquantized models keep float32, whatever this says."""


class EngineSettings(Section):
    """Settings of every engine; every field has a default that suits the networks of this project."""

    rows: RowRange = RowRange()
    cuda: CudaSettings = CudaSettings()
    tensorrt: TensorRtSettings = TensorRtSettings()
    llama: LlamaSettings = LlamaSettings()


@dataclass(frozen=True)
class AxisRange:
    """Sizes of one varying axis: the smallest, the one tuned for, the largest."""

    least: int
    likely: int
    most: int


def axis_ranges(rows: RowRange, max_question_tokens: int | None) -> dict[str, AxisRange]:
    """Return the range of each varying axis that a bundle's graphs may have."""
    ranges = {ROWS: AxisRange(1, rows.likely, rows.most)}
    if max_question_tokens is not None:
        ranges[QUESTION_LENGTH] = AxisRange(1, min(LIKELY_QUESTION, max_question_tokens), max_question_tokens)
    return ranges


def shape_ranges(
    inputs: Sequence[TensorSpec], axes: Mapping[str, AxisRange]
) -> dict[str, tuple[list[int], list[int], list[int]]]:
    """Smallest, likely and largest shape of every input; raise BundleError for an axis of unknown range."""
    unknown = {axis for spec in inputs for axis in spec.shape if isinstance(axis, str)} - axes.keys()
    if unknown:
        raise BundleError(
            f"no range is known for the axes {', '.join(sorted(unknown))}; an engine can be compiled for "
            f"{', '.join(axes)}: export the bundle again, or use `device` cuda or cpu"
        )

    def sizes(spec: TensorSpec, which: str) -> list[int]:
        return [int(getattr(axes[axis], which)) if isinstance(axis, str) else axis for axis in spec.shape]

    return {spec.name: (sizes(spec, "least"), sizes(spec, "likely"), sizes(spec, "most")) for spec in inputs}
