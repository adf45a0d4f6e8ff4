"""EmoLA's landmark network: an ONNX graph that the user gives, checked, run, and put before the landmark token.

Upstream (``feature_extraction/landmark/landmark_features.py``) stretches the face to the network's square, keeps
OpenCV's order of the colours (blue first), divides by 255 and takes the raw numbers of the first output.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper

from emo_edge.errors import CheckpointError
from emo_edge.export.user_graphs.plain_graph import (
    behind_pixels,
    fed_inputs,
    measured_outputs,
    open_graph,
    plain_graph,
    random_crops,
    reason,
    run_graph,
)

LANDMARKS_NAME = "landmarks.onnx"
"""Name of the user's file in a checkpoint."""
DEFAULT_SIZE = 192
"""Input side of InsightFace's ``2d106det.onnx``, for a graph of no fixed size."""
LARGEST_SIZE = 1024


class LandmarkNetwork:
    """The user's graph from uint8 pixels to raw landmark numbers, open in ONNX Runtime on the CPU.

    Attributes:
        content: the user's file.
        image_size: side of the crops in pixels.
        outputs: how many numbers come out, 212 of InsightFace's network.
        model: the graph from ``image``, uint8 RGB [N, s, s, 3], to ``landmarks``, float32 [N, outputs].
    """

    def __init__(self, content: bytes, name: str = LANDMARKS_NAME) -> None:
        user = plain_graph(content, name, "a landmark network", DEFAULT_SIZE)
        self.content, self.name = content, name
        self.image_size = _image_size(user.graph, name)
        try:
            self.model = _from_pixels(user, self.image_size)
        except Exception as error:  # a constant of any odd kind, or shapes that do not fit
            raise CheckpointError(f"{name}: not a graph that can be joined with pixels: {reason(error)}") from error
        self._session = open_graph(self.model, name)
        crops = random_crops(self.image_size)
        self.outputs = measured_outputs(self.run(crops), [self.run(crops[row : row + 1]) for row in range(2)], name)

    def run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the raw numbers [N, outputs] of uint8 RGB crops [N, s, s, 3].

        Raises CheckpointError if the graph fails, or gives numbers that are not finite.
        """
        return run_graph(self._session, {"image": crops}, self.name)


def _image_size(graph: GraphProto, name: str) -> int:
    (value,) = fed_inputs(graph)
    kind = value.type.tensor_type
    sizes = [dim.dim_value for dim in kind.shape.dim]
    if kind.elem_type != TensorProto.FLOAT or len(sizes) != 4 or sizes[1] not in (0, 3) or sizes[2] != sizes[3]:
        raise CheckpointError(f"{name}: reads no float32 pictures [N, 3, s, s] but {sizes}")
    size = sizes[2] or DEFAULT_SIZE
    if not 0 < size <= LARGEST_SIZE:
        raise CheckpointError(f"{name}: reads pictures of {size} pixels a side; a landmark network reads a face")
    return size


def _from_pixels(user: ModelProto, image_size: int) -> ModelProto:
    """Put pixels before the user's graph, and one row a picture behind it."""
    front = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["pixels", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["channels_first", "blue_first"], ["fed"], axis=1),
    ]
    back = [helper.make_node("Flatten", ["given"], ["landmarks"], axis=1)]
    constants = {"scale": np.asarray(np.float32(255)), "blue_first": np.array([2, 1, 0])}
    return behind_pixels(user, image_size, front, back, constants, "landmarks")
