"""The work of every stage of a model of known sizes, as its graphs do it in float32.

Counted by hand from the modules that are exported; `emo_edge.planning.cost.onnx_graphs` counts the same
from the graphs themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from emo_edge.bundle.model_shape import (
    ConnectorShape,
    FaceInfoShape,
    FaceShape,
    LanguageShape,
    ModelShape,
    UnitsShape,
    VisionShape,
)
from emo_edge.planning.cost.work import FLOAT, Node, Work, attention, function, linear, move, view
from emo_edge.taxonomy import AGE_BINS, CELEBA_ATTRIBUTES, GENDERS, LANDMARK_REGIONS, PARSING_CLASSES, RACES
from emo_edge.taxonomy import VISIBILITY_POINTS as VISIBILITY

LANDMARKS = 68
HEAD_WIDTHS = (2 * LANDMARKS, 3, len(CELEBA_ATTRIBUTES), VISIBILITY, len(AGE_BINS), len(GENDERS), len(RACES))
"""Outputs of FaceXFormer's heads, each with a token; the masks' tokens are read by the decoder, too."""


def vision_work(shape: VisionShape, batch: int) -> Work:
    """Count the image tower on ``batch`` pictures."""
    width, layers, tokens = shape.width, shape.layers, 1 + shape.patches
    rows = batch * tokens
    patch = linear(batch * shape.patches, 3 * shape.patch_size**2, width)
    layer = [
        linear(rows, width, 3 * width, count=layers),
        *attention(rows, tokens, width, shape.heads, count=layers),
        linear(rows, width, width, count=layers),
        linear(rows, width, shape.mlp, count=layers),
        linear(rows, shape.mlp, width, count=layers),
        function(rows * width, count=2 * layers),
        function(rows * shape.mlp, count=layers),
        move(3 * rows * width, count=5 * layers),
        move(rows * width, count=5 * layers),
        view(7 * layers),
    ]
    return Work((patch, *layer, move(batch * 3 * shape.image_size**2, count=4), move(rows * width, count=2)))


def connector_work(shape: ConnectorShape, vision: VisionShape, width: int, batch: int, question: int) -> Work:
    """Count the connector on ``batch`` frames and a question of ``question`` tokens; ``width`` is the language's."""
    rows = batch * shape.content_tokens
    nodes = [linear(rows, vision.width, width)] if shape.projector_depth else []
    nodes += [linear(rows, width, width, count=shape.projector_depth - 1)] if shape.projector_depth > 1 else []
    nodes += [function(rows * width, count=max(shape.projector_depth - 1, 1)), move(batch * vision.patches * width)]
    return Work((*nodes, *_context(shape, vision, width, batch, question)))


def _context(shape: ConnectorShape, vision: VisionShape, width: int, batch: int, question: int) -> Iterator[Node]:
    """Count the Q-Former and the context token; the last layer leaves the text."""
    former = shape.qformer
    if former is None:
        return
    queries, tokens, wide = former.queries, 1 + vision.patches, vision.width
    for layer in range(former.layers):
        last, both = layer == former.layers - 1, queries + question
        rows = batch * (queries if last else both)
        yield linear(rows, former.width, former.width, count=2)
        yield linear(batch * both, former.width, former.width, count=2)
        yield from attention(rows, both, former.width, former.heads)
        if layer % former.cross_every == 0:
            yield linear(batch * queries, former.width, former.width, count=2)
            yield linear(batch * tokens, wide, former.width, count=2)
            yield from attention(batch * queries, tokens, former.width, former.heads)
        for part in (queries,) if last else (queries, question):
            yield linear(batch * part, former.width, former.mlp)
            yield linear(batch * part, former.mlp, former.width)
        yield function(rows * former.width, count=4)
        yield move(rows * former.width, count=33)
        yield view(10)
    yield linear(batch * queries, former.width, wide)
    yield linear(batch * vision.patches, wide, wide)
    yield from attention(batch * queries, vision.patches, wide, 1)
    yield linear(batch, wide, width)
    yield function(batch * tokens * wide)
    yield move(batch * vision.patches * wide, count=3)


def face_work(shape: ModelShape, batch: int) -> Work:
    """Count the network of the face's crops, with its tokens; a landmark network of the user's is not counted."""
    width, outputs = shape.language.width, shape.landmark_outputs
    if outputs is not None:
        return Work((linear(batch, outputs, width), linear(batch, width, width), function(batch * width)))
    if shape.face is None:
        return Work(())
    mining = _mined(shape.face_info, shape.face, width, batch) if shape.face_info else ()
    units = _detected(shape.units, shape.face, batch) if shape.units else ()
    return Work((*_trunk(shape.face, batch), *_decoded(shape.face, batch), *mining, *units))


def _trunk(shape: FaceShape, batch: int) -> Iterator[Node]:
    side, window = shape.image_size // shape.patch_size, shape.window
    first = side * side
    yield linear(batch * first, 3 * shape.patch_size**2, shape.width)
    for stage, (depth, heads) in enumerate(zip(shape.depths, shape.heads, strict=True)):
        width = shape.width << stage
        if stage:
            side = -(-side // 2)
            yield linear(batch * side * side, 2 * width, width)
            yield move(batch * side * side * 2 * width, count=6)
            yield function(batch * side * side * 2 * width)
        rows, padded = batch * side * side, batch * (-(-side // window) * window) ** 2
        hidden = int(width * shape.mlp_ratio)
        yield linear(padded, width, 3 * width, count=depth)
        yield from attention(padded, window * window, width, heads, count=depth)
        yield move(padded * heads * window * window, count=depth)
        yield linear(padded, width, width, count=depth)
        yield linear(rows, width, hidden, count=depth)
        yield linear(rows, hidden, width, count=depth)
        yield function(rows * width, count=2 * depth)
        yield function(rows * hidden, count=depth)
        yield move(padded * width, count=26 * depth)
        yield move(heads * window**2, count=10 * depth)
        yield view(15 * depth)
        # Each stage's map is brought to the decoder's width, then fused at the first one's size.
        yield linear(rows, width, shape.decoder_width)
        yield linear(rows, shape.decoder_width, shape.decoder_width)
        yield move(batch * first * shape.decoder_width, count=2)


def _decoded(shape: FaceShape, batch: int) -> Iterator[Node]:
    width, pixels = shape.decoder_width, (shape.image_size // shape.patch_size) ** 2
    tokens = len(HEAD_WIDTHS) + len(PARSING_CLASSES)
    for _ in range(shape.decoder_depth):
        yield from _attends(tokens, tokens, width, width, shape.decoder_heads, batch)
        yield from _attends(tokens, pixels, width, width // 2, shape.decoder_heads, batch)
        yield linear(batch * tokens, width, shape.decoder_mlp)
        yield linear(batch * tokens, shape.decoder_mlp, width)
        yield from _attends(pixels, tokens, width, width // 2, shape.decoder_heads, batch)
        yield function(batch * pixels * width)
        yield function(batch * tokens * width, count=4)
        yield move(batch * pixels * width, count=8)
    yield from _attends(tokens, pixels, width, width // 2, shape.decoder_heads, batch)
    yield move(batch * pixels * width, count=4)
    for outputs in HEAD_WIDTHS:
        yield linear(batch, width, width, count=2)
        yield linear(batch, width, outputs)
        yield function(batch * width, count=2)


def _attends(queries: int, keys: int, width: int, inner: int, heads: int, batch: int) -> Iterator[Node]:
    yield linear(batch * queries, width, inner)
    yield linear(batch * keys, width, inner, count=2)
    yield from attention(batch * queries, keys, inner, heads)
    yield linear(batch * queries, inner, width)


def _mined(shape: FaceInfoShape, face: FaceShape, width: int, batch: int) -> Iterator[Node]:
    pixels, regions, hidden = (face.image_size // face.patch_size) ** 2, len(LANDMARK_REGIONS), shape.width
    yield Node("attention", 2.0 * batch * LANDMARKS * pixels * face.decoder_width, 0.0, FLOAT * batch * pixels * 100)
    yield move(batch * LANDMARKS * pixels, count=4)
    yield linear(batch * shape.grid**2, face.decoder_width, hidden)
    yield linear(batch * regions, face.decoder_width, hidden)
    yield linear(batch, 2 * LANDMARKS // regions, hidden, count=regions)
    yield from _attends(shape.tokens, shape.grid**2 + regions, hidden, hidden, shape.heads, batch)
    yield linear(batch * shape.tokens, hidden, shape.mlp)
    yield linear(batch * shape.tokens, shape.mlp, hidden)
    yield linear(batch * shape.tokens, hidden, width)


def _detected(shape: UnitsShape, face: FaceShape, batch: int) -> Iterator[Node]:
    """Count SACL: on each of three stages several scales, a node a unit, and a step of the graph of all units."""
    width, units = shape.width, batch * shape.units
    for stage in range(1, 4):
        side = -(-(face.image_size // face.patch_size) // (1 << stage))
        cells = batch * side * side
        yield linear(cells, face.width << stage, width)
        yield linear(cells, 9 * width, width // 4, count=3)
        yield linear(cells, 3 * (width // 4), width)
        yield function(cells * width, count=2)
        yield function(cells * width // 4, count=2)
        yield move(cells * width, count=4)
        yield from attention(units, side * side, width, 1)
        yield linear(units, width, width, count=4)
        yield Node("attention", 2.0 * units * shape.units * width, 0.0, FLOAT * units * (2 * width + shape.units), 2)
        yield function(units * width, count=2)
        yield function(units * shape.units, count=2)
        yield move(units * width, count=4)
        yield move(units * shape.units, count=5)
        yield view(4)
    yield move(3 * units * width, count=3 if shape.intensity else 2)


def language_work(
    shape: LanguageShape, rows: int, attended: float, layer_bytes: float, output_bytes: float, outputs: int = 1
) -> Work:
    """Count one call of the language model.

    Args:
        shape: its sizes.
        rows: positions computed.
        attended: positions that each of them attends to, on average.
        layer_bytes: size of one layer's weights as they are stored.
        output_bytes: the same of the output matrix.
        outputs: rows that give logits.
    """
    cache = 2 * 2.0 * attended * shape.kv_width
    layer = Node(
        "matmul",
        2.0 * rows * shape.layer_parameters + 4.0 * rows * attended * shape.width,
        layer_bytes,
        cache + FLOAT * rows * (10 * shape.width + 3 * shape.mlp),
        shape.layers,
        "fp16",
    )
    if not outputs:
        return Work((layer,))
    logits = 2.0 * outputs * shape.output_parameters
    return Work((layer, Node("matmul", logits, output_bytes, FLOAT * outputs * shape.vocabulary, 1, "fp16")))
