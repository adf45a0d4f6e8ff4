"""The numbers of small values that are known before a graph runs: constants, and arithmetic on shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.graphs.model import BOOL, DOUBLE, FLOAT, FLOAT16, INT32, INT64, KEPT_VALUES, Node, Shape

Array = NDArray[Any]
DTYPES: Mapping[int, Any] = {
    BOOL: np.bool_,
    DOUBLE: np.float64,
    FLOAT: np.float32,
    FLOAT16: np.float16,
    INT32: np.int32,
    INT64: np.int64,
}
SAME_NUMBERS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""The numbers of the first input in another shape."""


def known_values(
    node: Node, shapes: Sequence[Shape | None], values: Sequence[Array | None], made: Shape
) -> Array | None:
    """Compute a node's first output where it is small and follows from what is known; None for any other.

    Args:
        node: the operator.
        shapes: of its inputs.
        values: of its inputs, None where only a run gives them.
        made: the shape of the output.
    """
    if math.prod(made) > KEPT_VALUES:
        return None
    if node.operator == "Constant":
        return node.constant.values if node.constant else _attribute(node)
    if node.operator in ("Shape", "Size") and shapes and shapes[0] is not None:
        return _shape(node, shapes[0])
    given = [value for value in values if value is not None]
    if not values or len(given) < sum(shape is not None for shape in shapes):
        return None
    try:
        with np.errstate(all="ignore"):
            return _computed(node, given, made)
    except (ArithmeticError, IndexError, TypeError, ValueError):
        return None


def _attribute(node: Node) -> Array | None:
    if numbers := node.numbers.get("value_ints"):
        return np.array(numbers, np.int64)
    if "value_int" in node.numbers:
        return np.array(node.numbers["value_int"][0], np.int64)
    if "value_float" in node.floats:
        return np.array(node.floats["value_float"][:1], np.float32).reshape(())
    return np.array(node.floats["value_floats"], np.float32) if "value_floats" in node.floats else None


def _shape(node: Node, shape: Shape) -> Array:
    if node.operator == "Size":
        return np.array(math.prod(shape), np.int64)
    return np.array(shape[slice(node.number("start", 0), node.number("end", len(shape)))], np.int64)


def _computed(node: Node, given: list[Array], made: Shape) -> Array | None:
    if node.operator in SAME_NUMBERS:
        return given[0].reshape(made)
    if node.operator == "ConstantOfShape":
        value = node.constant.values if node.constant else None
        return np.broadcast_to(np.float32(0) if value is None else value.reshape(()), made)
    if node.operator == "Cast":
        kind = DTYPES.get(node.number("to", 0))
        return None if kind is None else given[0].astype(kind)
    rule = RULES.get(node.operator)
    result = None if rule is None else rule(node, given)
    return result if result is not None and result.shape == made else None


def _quotient(node: Node, given: list[Array]) -> Array:
    first, second = given
    if not np.issubdtype(first.dtype, np.integer):
        return np.divide(first, second)
    return np.asarray(np.trunc(np.true_divide(first, second)).astype(first.dtype))


def _clipped(node: Node, given: list[Array]) -> Array:
    """Bound the first input; the bounds are optional inputs, attributes before opset 11."""
    names = [name for name in node.inputs if name]
    inputs = dict(zip(names, given, strict=True))
    result = given[0]
    for place, (bound, key) in enumerate(((np.maximum, "min"), (np.minimum, "max")), 1):
        name = node.inputs[place] if len(node.inputs) > place else ""
        limit = inputs[name] if name else node.floats.get(key)
        result = result if limit is None else bound(result, np.asarray(limit, result.dtype).reshape(()))
    return np.asarray(result)


def _sliced(node: Node, given: list[Array]) -> Array:
    lists = [[int(number) for number in value.reshape(-1)] for value in given[1:]]
    starts, ends = lists[0], lists[1]
    axes = lists[2] if len(lists) > 2 else list(range(len(starts)))
    steps = lists[3] if len(lists) > 3 else [1] * len(starts)
    cut = [slice(None)] * given[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cut[axis] = slice(start, end, step)
    return np.asarray(given[0][tuple(cut)])


RULES: dict[str, Callable[[Node, list[Array]], Array]] = {
    "Abs": lambda node, given: np.abs(given[0]),
    "Add": lambda node, given: np.add(*given),
    "Ceil": lambda node, given: np.ceil(given[0]),
    "Clip": _clipped,
    "Concat": lambda node, given: np.concatenate(given, axis=node.number("axis", 0)),
    "Div": _quotient,
    "Equal": lambda node, given: np.equal(*given),
    "Expand": lambda node, given: np.broadcast_to(given[0], np.broadcast_shapes(given[0].shape, tuple(given[1]))),
    "Floor": lambda node, given: np.floor(given[0]),
    "Gather": lambda node, given: np.take(given[0], given[1], axis=node.number("axis", 0)),
    "Greater": lambda node, given: np.greater(*given),
    "Less": lambda node, given: np.less(*given),
    "Max": lambda node, given: np.maximum.reduce(np.broadcast_arrays(*given)),
    "Min": lambda node, given: np.minimum.reduce(np.broadcast_arrays(*given)),
    "Mod": lambda node, given: np.mod(*given),
    "Mul": lambda node, given: np.multiply(*given),
    "Neg": lambda node, given: np.negative(given[0]),
    "Not": lambda node, given: np.logical_not(given[0]),
    "Range": lambda node, given: np.arange(given[0].item(), given[1].item(), given[2].item(), dtype=given[0].dtype),
    "ReduceProd": lambda node, given: np.prod(given[0], keepdims=bool(node.number("keepdims", 1))),
    "Slice": _sliced,
    "Sqrt": lambda node, given: np.sqrt(given[0]),
    "Sub": lambda node, given: np.subtract(*given),
    "Transpose": lambda node, given: np.transpose(given[0], node.numbers.get("perm") or None),
    "Where": lambda node, given: np.where(*given),
}
"""Of the operators that shapes are computed with."""
