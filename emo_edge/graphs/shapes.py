"""The shape that each operator gives, from the shapes it reads: the operators that a bundle's graphs may hold.

The rules are those of ONNX's ``Operators.md``. What is not listed is refused: control flow and sequences, whose work no
reading bounds, and operators that no network of these families needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from emo_edge.graphs.model import Node, Shape
from emo_edge.graphs.operators import BROADCAST, REDUCTIONS, SAME
from emo_edge.graphs.reads import Reads


def output_shapes(node: Node, reads: Reads) -> list[Shape]:
    """Return the shape of each output of a node; raise ValueError for an operator that is not known or does not fit."""
    operator = node.operator
    if operator in SAME:
        shape = reads.shape(0)
    elif operator in BROADCAST:
        shape = tuple(np.broadcast_shapes(*reads.shapes()))
    elif operator in REDUCTIONS:
        shape = _reduced(node, reads)
    elif operator == "Split":
        return _split(node, reads)
    elif operator in RULES:
        shape = RULES[operator](node, reads)
    else:
        raise ValueError("an operator that no graph of ours holds")
    return [shape] * len(node.outputs)


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} of {rank}")
    return axis % rank


def _reduced(node: Node, reads: Reads) -> Shape:
    shape = reads.shape(0)
    axes = reads.listed(node, "axes", 1)
    if not axes:
        axes = [] if node.number("noop_with_empty_axes", 0) else list(range(len(shape)))
    return _without(shape, [_axis(axis, len(shape)) for axis in axes], keep=bool(node.number("keepdims", 1)))


def _best(node: Node, reads: Reads) -> Shape:
    shape = reads.shape(0)
    return _without(shape, [_axis(node.number("axis", 0), len(shape))], keep=bool(node.number("keepdims", 1)))


def _largest(node: Node, reads: Reads) -> Shape:
    shape, counts = reads.shape(0), reads.listed(node, "k", 1) or []
    axis = _axis(node.number("axis", -1), len(shape))
    if len(counts) != 1 or not 0 <= counts[0] <= shape[axis]:
        raise ValueError(f"the largest {counts[:8]} of {shape[axis]}")
    return (*shape[:axis], counts[0], *shape[axis + 1 :])


def _without(shape: Shape, axes: Sequence[int], *, keep: bool) -> Shape:
    return tuple(1 if place in axes else size for place, size in enumerate(shape) if keep or place not in axes)


def _matmul(node: Node, reads: Reads) -> Shape:
    left, right = reads.shape(0), reads.shape(1)
    rows, columns = left if len(left) > 1 else (1, *left), right if len(right) > 1 else (*right, 1)
    if not left or not right or rows[-1] != columns[-2]:
        raise ValueError(f"{list(left)} and {list(right)} do not multiply")
    outer = tuple(np.broadcast_shapes(rows[:-2], columns[:-2]))
    return (*outer, *([rows[-2]] if len(left) > 1 else []), *([columns[-1]] if len(right) > 1 else []))


def _gemm(node: Node, reads: Reads) -> Shape:
    left, right = reads.shape(0), reads.shape(1)
    if len(left) != 2 or len(right) != 2:
        raise ValueError("a Gemm of other than matrices")
    left = left[::-1] if node.number("transA", 0) else left
    right = right[::-1] if node.number("transB", 0) else right
    if left[1] != right[0]:
        raise ValueError(f"{list(left)} and {list(right)} do not multiply")
    return (left[0], right[1])


def _conv(node: Node, reads: Reads) -> Shape:
    weight = reads.shape(1)
    batch, *sides = _windows(node, reads.shape(0), weight[2:])
    return (batch, weight[0], *sides)


def _pool(node: Node, reads: Reads) -> Shape:
    image = reads.shape(0)
    batch, *sides = _windows(node, image, tuple(node.numbers.get("kernel_shape", ())))
    return (batch, image[1], *sides)


def _windows(node: Node, image: Shape, kernel: Shape) -> Shape:
    """Return the batch and the places of a kernel along each side of an image [N, C, ...]."""
    sides = image[2:]
    rank = len(sides)
    strides = node.numbers.get("strides") or [1] * rank
    dilations = node.numbers.get("dilations") or [1] * rank
    pads = node.numbers.get("pads") or [0] * 2 * rank
    if not (len(image) > 2 and len(kernel) == len(strides) == len(dilations) == rank and len(pads) == 2 * rank):
        raise ValueError("a window of other axes than the picture's")
    if min(*strides, *dilations, *kernel) < 1 or min(pads) < 0:
        raise ValueError("a window of no size")
    automatic = node.texts.get("auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        return (image[0], *(-(-side // stride) for side, stride in zip(sides, strides, strict=True)))
    pads = [0] * 2 * rank if automatic == "VALID" else pads
    upwards = node.number("ceil_mode", 0)
    places = []
    for axis, side in enumerate(sides):
        free = side + pads[axis] + pads[axis + rank] - dilations[axis] * (kernel[axis] - 1) - 1
        places.append((-(-free // strides[axis]) if upwards else free // strides[axis]) + 1)
    return (image[0], *places)


def _global_pool(node: Node, reads: Reads) -> Shape:
    image = reads.shape(0)
    return (*image[:2], *(1 for _ in image[2:]))


def _flatten(node: Node, reads: Reads) -> Shape:
    shape = reads.shape(0)
    axis = node.number("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return (math.prod(shape[:axis]), math.prod(shape[axis:]))


def _reshape(node: Node, reads: Reads) -> Shape:
    shape, asked = reads.shape(0), reads.numbers(1)
    zero = node.number("allowzero", 0)
    sizes = [
        shape[place] if size == 0 and not zero and place < len(shape) else size for place, size in enumerate(asked)
    ]
    if sizes.count(-1) > 1 or any(size < -1 for size in sizes):
        raise ValueError(f"reshaped to {asked[:8]}")
    known = math.prod(size for size in sizes if size != -1)
    whole = [math.prod(shape) // max(known, 1) if size == -1 else size for size in sizes]
    if math.prod(whole) != math.prod(shape):
        raise ValueError(f"{list(shape)} reshaped to {asked[:8]}")
    return tuple(whole)


def _transpose(node: Node, reads: Reads) -> Shape:
    shape = reads.shape(0)
    order = node.numbers.get("perm") or list(range(len(shape)))[::-1]
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"axes in the order {order[:8]}")
    return tuple(shape[axis] for axis in order)


def _concat(node: Node, reads: Reads) -> Shape:
    first, *others = reads.shapes()
    axis = _axis(node.number("axis", 0), len(first))
    for other in others:
        if len(other) != len(first) or any(
            a != b for p, (a, b) in enumerate(zip(first, other, strict=True)) if p != axis
        ):
            raise ValueError("parts of different shapes are joined")
    return tuple(
        sum(shape[axis] for shape in (first, *others)) if place == axis else size for place, size in enumerate(first)
    )


def _split(node: Node, reads: Reads) -> list[Shape]:
    shape = reads.shape(0)
    axis, count = _axis(node.number("axis", 0), len(shape)), len(node.outputs)
    piece = -(-shape[axis] // max(count, 1))
    even = [max(min(piece, shape[axis] - piece * place), 0) for place in range(count)]
    sizes = reads.listed(node, "split", 1) or even
    if len(sizes) != count or sum(sizes) != shape[axis] or min(sizes) < 0:
        raise ValueError(f"{shape[axis]} rows split to {sizes[:8]}")
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _slice(node: Node, reads: Reads) -> Shape:
    shape = list(reads.shape(0))
    starts, ends = reads.listed(node, "starts", 1) or [], reads.listed(node, "ends", 2) or []
    axes = reads.listed(node, "axes", 3) or list(range(len(starts)))
    steps = (reads.numbers(4) if reads.has(4) else None) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ValueError("a slice of lists that do not match")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise ValueError("a slice with steps of 0")
        place = _axis(axis, len(shape))
        shape[place] = len(range(*slice(start, end, step).indices(shape[place])))
    return tuple(shape)


def _gather(node: Node, reads: Reads) -> Shape:
    shape = reads.shape(0)
    axis = _axis(node.number("axis", 0), len(shape))
    return (*shape[:axis], *reads.shape(1), *shape[axis + 1 :])


def _squeeze(node: Node, reads: Reads) -> Shape:
    shape = reads.shape(0)
    axes = reads.listed(node, "axes", 1)
    ones = [place for place, size in enumerate(shape) if size == 1]
    gone = ones if axes is None else [_axis(axis, len(shape)) for axis in axes]
    if any(shape[place] != 1 for place in gone):
        raise ValueError("an axis of more than one is dropped")
    return _without(shape, gone, keep=False)


def _unsqueeze(node: Node, reads: Reads) -> Shape:
    axes = reads.listed(node, "axes", 1) or []
    rank = len(reads.shape(0)) + len(axes)
    new = {_axis(axis, rank) for axis in axes}
    old = iter(reads.shape(0))
    return tuple(1 if place in new else next(old) for place in range(rank))


def _expand(node: Node, reads: Reads) -> Shape:
    return tuple(np.broadcast_shapes(reads.shape(0), tuple(_sizes(reads.numbers(1)))))


def _sizes(numbers: Sequence[int]) -> Shape:
    if any(size < 0 for size in numbers):
        raise ValueError(f"a shape {list(numbers)[:8]}")
    return tuple(numbers)


def _shape(node: Node, reads: Reads) -> Shape:
    rank = len(reads.shape(0))
    return (len(range(*slice(node.number("start", 0), node.number("end", rank)).indices(rank))),)


def _tile(node: Node, reads: Reads) -> Shape:
    shape, repeats = reads.shape(0), _sizes(reads.numbers(1))
    return tuple(size * times for size, times in zip(shape, repeats, strict=True))


def _pad(node: Node, reads: Reads) -> Shape:
    shape, pads = list(reads.shape(0)), reads.listed(node, "pads", 1) or []
    axes = reads.numbers(3) if reads.has(3) else list(range(len(shape)))
    if len(pads) != 2 * len(axes):
        raise ValueError("a margin for other axes")
    for place, axis in enumerate(axes):
        shape[_axis(axis, len(shape))] += pads[place] + pads[place + len(axes)]
    return _sizes(shape)


def _resize(node: Node, reads: Reads) -> Shape:
    shape = reads.shape(0)
    place = 1 if node.operator == "Upsample" or reads.opset < 11 else 2
    axes = [_axis(axis, len(shape)) for axis in node.numbers.get("axes", range(len(shape)))]
    sizes = list(shape)
    if reads.has(3) and 0 not in reads.shape(3):
        asked = list(_sizes(reads.numbers(3)))
        for axis, size in zip(axes, asked, strict=True):
            sizes[axis] = size
    else:
        scales = node.floats.get("scales") if not reads.has(place) else reads.reals(place)
        for axis, scale in zip(axes, scales or (), strict=True):
            if not 0 < scale < 1e6:
                raise ValueError(f"resized by {scale}")
            sizes[axis] = math.floor(shape[axis] * scale)
    return tuple(sizes)


def _constant_of_shape(node: Node, reads: Reads) -> Shape:
    return _sizes(reads.numbers(0))


def _range(node: Node, reads: Reads) -> Shape:
    start, limit, step = (reads.reals(place)[0] for place in range(3))
    if step == 0 or not math.isfinite((limit - start) / step):
        raise ValueError("a range without an end")
    return (max(math.ceil((limit - start) / step), 0),)


def _blocks(node: Node, reads: Reads) -> Shape:
    batch, channels, height, width = reads.shape(0)
    size = node.number("blocksize", 1)
    if size < 1:
        raise ValueError(f"blocks of {size}")
    if node.operator == "DepthToSpace":
        return (batch, channels // size**2, height * size, width * size)
    return (batch, channels * size**2, height // size, width // size)


RULES: dict[str, Callable[[Node, Reads], Shape]] = {
    "ArgMax": _best,
    "ArgMin": _best,
    "AveragePool": _pool,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "DepthToSpace": _blocks,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": lambda node, reads: reads.shape(1),
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Size": lambda node, reads: (),
    "Slice": _slice,
    "SpaceToDepth": _blocks,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _largest,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
}
"""Of the operators whose shape is one of its own."""
