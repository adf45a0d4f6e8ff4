"""Sums of squares of what a model's matrices are multiplied with, taken while llama.cpp computes.

What its ``tools/imatrix`` collects from text, on prompts with pictures: it asks this callback before and after every
operation. A tensor is read as ``ggml.h`` lays it out; `MatmulInputs` compares that with ggml's own functions first.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.imatrix_file import added_counts
from emo_edge.errors import DeviceError
from emo_edge.runtimes.llama_cpp.library import library

AXES, SOURCES, NAME, PARAMETERS = 4, 10, 64, 16
F32, I32 = 0, 26
"""``GGML_TYPE_F32`` and ``_I32``."""
MATMUL, EXPERTS = b"MUL_MAT", b"MUL_MAT_ID"
"""A product with a matrix, and with the matrices of the experts that each row was given to."""
LAYERS, WEIGHT = "blk.", ".weight"
"""Matrices of layers alone: as in llama.cpp's own statistics, the head is left out."""


class _Tensor(ctypes.Structure):
    """``struct ggml_tensor``."""


_Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * AXES),
    ("nb", ctypes.c_size_t * AXES),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * PARAMETERS),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(_Tensor) * SOURCES),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * NAME),
    ("extra", ctypes.c_void_p),
    ("padding", ctypes.c_char * 8),
]


class MatmulInputs:
    """Statistics of one model's matrices while ``recording``. Keep it as long as the session that it observes."""

    def __init__(self) -> None:
        native = library()
        self.recording = False
        self.sums: dict[str, NDArray[np.float64]] = {}
        """GGUF tensor name to the sum over rows of each input column, squared: [columns], or [experts, columns]."""
        self.counts: dict[str, int | tuple[int, ...]] = {}
        """The same names to the number of rows; of experts, to that of each."""
        self._base = native._lib
        self._base.ggml_op_name.restype, self._base.ggml_op_name.argtypes = ctypes.c_char_p, (ctypes.c_int,)
        self._base.ggml_get_data.restype, self._base.ggml_get_data.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
        self._checked = False
        self.failure = ""
        """Reason why nothing could be read; no exception passes through llama.cpp."""
        self.callback = native.ggml_backend_sched_eval_callback(self._called)

    def require_sound(self) -> None:
        """Raise DeviceError where this build's tensors could not be read."""
        if self.failure or not self.sums:
            raise DeviceError(f"this llama-cpp-python gives no statistics: {self.failure or 'it computed no matrix'}")

    def _called(self, address: int, ask: bool, _: Any) -> bool:
        tensor = ctypes.cast(address, ctypes.POINTER(_Tensor)).contents
        if ask:
            return self.recording and not self.failure and self._name(tensor) is not None
        try:
            self._add(address, tensor)
        except (ValueError, OSError) as error:
            self.failure = str(error)
        return True

    def _name(self, tensor: _Tensor) -> str | None:
        """Return the matrix's name if this is a product with one of a layer's."""
        if self._base.ggml_op_name(tensor.op) not in (MATMUL, EXPERTS) or not tensor.src[0] or not tensor.src[1]:
            return None
        name = str(tensor.src[0].contents.name.decode("utf-8", "replace"))
        return name if name.startswith(LAYERS) and name.endswith(WEIGHT) else None

    def _add(self, address: int, tensor: _Tensor) -> None:
        name, inputs = self._name(tensor), tensor.src[1].contents
        if name is None:
            return
        if not self._checked:
            if self._base.ggml_get_data(address) != tensor.data:
                raise ValueError("its tensors are laid out in another way")
            self._checked = True
        if inputs.type != F32 or inputs.nb[0] != 4 or not inputs.data:
            raise ValueError(f"the input of {name} is not plain float32")
        if self._base.ggml_op_name(tensor.op) == EXPERTS:
            self._add_experts(name, tensor, inputs)
            return
        columns, rows = inputs.ne[0], inputs.ne[1] * inputs.ne[2] * inputs.ne[3]
        if inputs.nb[1] != 4 * columns:
            raise ValueError(f"the input of {name} is not plain float32")
        values = np.ctypeslib.as_array(ctypes.cast(inputs.data, ctypes.POINTER(ctypes.c_float)), (rows, columns))
        self._keep(name, np.square(values, dtype=np.float64).sum(0), int(rows))

    def _add_experts(self, name: str, tensor: _Tensor, inputs: _Tensor) -> None:
        """Add each row to the experts that it was given to, as ``collect_imatrix`` of ``imatrix.cpp`` does.

        Expert ids are [tokens, used]. Inputs are [tokens, used, columns], or [tokens, 1, columns] for all of them.
        """
        chosen = tensor.src[2].contents
        if chosen.type != I32 or inputs.ne[3] != 1 or not chosen.data:
            raise ValueError(f"the experts of {name} are in another form")
        tokens, used, experts = chosen.ne[1], chosen.ne[0], tensor.src[0].contents.ne[2]
        ids = _view(chosen.data, np.dtype(np.int32), (tokens, used), (chosen.nb[1], chosen.nb[0]))
        shape, strides = (inputs.ne[2], inputs.ne[1], inputs.ne[0]), (inputs.nb[2], inputs.nb[1], inputs.nb[0])
        values = _view(inputs.data, np.dtype(np.float32), shape, strides)
        if len(values) != tokens or ids.min() < 0 or ids.max() >= experts:
            raise ValueError(f"the experts of {name} are in another form")
        squares = np.square(values, dtype=np.float64)[:, np.arange(used) % shape[1]]
        sums = np.zeros((experts, shape[2]))
        np.add.at(sums, ids, squares)
        self._keep(name, sums, tuple(np.bincount(ids.reshape(-1), minlength=experts).tolist()))

    def _keep(self, name: str, squares: NDArray[np.float64], count: int | tuple[int, ...]) -> None:
        known = name in self.sums
        self.sums[name] = self.sums[name] + squares if known else squares
        self.counts[name] = added_counts(self.counts[name], count) if known else count


def _view(address: int, dtype: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...]) -> NDArray[Any]:
    """Return memory of llama.cpp's as an array, valid during the call."""
    size = dtype.itemsize + sum((count - 1) * stride for count, stride in zip(shape, strides, strict=True))
    content = np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))
    return np.ndarray(shape, dtype, content, strides=strides)
