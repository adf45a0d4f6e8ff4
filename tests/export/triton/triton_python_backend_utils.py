"""The part of the Python backend's module that the model uses, for tests without a server; the real one is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


@dataclass
class Tensor:
    tensor_name: str
    value: np.ndarray

    def name(self) -> str:
        return self.tensor_name

    def as_numpy(self) -> np.ndarray:
        return self.value


class TritonError(NamedTuple):
    text: str
    code: str

    INVALID_ARG = "INVALID_ARG"  # type: ignore[misc]
    INTERNAL = "INTERNAL"  # type: ignore[misc]


@dataclass
class InferenceResponse:
    output_tensors: list[Tensor]
    error: TritonError | None = None


def get_input_tensor_by_name(request: list[Tensor], name: str) -> Any:
    return next((tensor for tensor in request if tensor.tensor_name == name), None)
