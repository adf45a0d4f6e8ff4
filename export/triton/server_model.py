"""The Python model that a Triton server runs: pictures in, emotions out, one pipeline for all requests.

``model.py`` of the repository imports `TritonPythonModel` from here, in the server's Python, which has emo-edge
installed. A batch of requests is one call of the pipeline. Source of the interface: github.com/triton-inference-server/
python_backend.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.errors import EmoEdgeError, InputError
from emo_edge.export.triton.contract import (
    BOXES,
    BUNDLE,
    DEVICE,
    ENCODED,
    JSON,
    LABEL,
    LABELS,
    PIXELS,
    PROBABILITIES,
    PROFILE,
)
from emo_edge.inference.frames import rgb_frame
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult, Request, SourceResult
from emo_edge.media.crops import Image
from emo_edge.media.images import image_from_bytes


class TritonPythonModel:
    """Triton's interface over an `EmotionPipeline`."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the bundle next to ``model.py`` with the parameters of the config."""
        config = json.loads(args["model_config"])
        parameters = {name: entry["string_value"] for name, entry in config["parameters"].items()}
        labels = parameters.get(LABELS)
        self._request = Request(labels=tuple(labels.split(",")) if labels and "," in labels else labels)
        self._pipeline = EmotionPipeline.open(
            Path(args["model_repository"], args["model_version"], BUNDLE),
            profile=parameters[PROFILE],
            device=parameters[DEVICE],
        )
        self._labels = self._pipeline.settings(self._request).labels
        self._utils: Any = import_module("triton_python_backend_utils")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Return one response a request; what is wrong with a picture is the error of its own response."""
        images = [self._image(request) for request in requests]
        faces = iter(self._readings([image for image in images if not isinstance(image, EmoEdgeError)]))
        return [
            self._refusal(image) if isinstance(image, EmoEdgeError) else self._response(image, next(faces))
            for image in images
        ]

    def finalize(self) -> None:
        """Close the engines."""
        self._pipeline.close()

    def _image(self, request: Any) -> Image | EmoEdgeError:
        pixels, encoded = (self._utils.get_input_tensor_by_name(request, name) for name in (PIXELS, ENCODED))
        try:
            if (pixels is None) == (encoded is None):
                raise InputError(f"give {PIXELS} or {ENCODED}, one of them")
            values = (encoded if pixels is None else pixels).as_numpy()
            if len(values) != 1:
                raise InputError(f"{len(values)} pictures in a request: give one, the server joins requests to batches")
            if pixels is None:
                return image_from_bytes(bytes(values.reshape(-1)[0]), "the picture")
            return rgb_frame(values[0])
        except Exception as error:  # one request alone has it
            return _own(error)

    def _readings(self, images: Sequence[Image]) -> list[list[EmotionResult] | EmoEdgeError]:
        """Read all pictures in one call; where that fails, each by itself, to find out whose error it is."""
        try:
            return [*self._pipeline.read_many(images, self._request)] if images else []
        except Exception as error:
            return [_own(error)] if len(images) == 1 else [one for image in images for one in self._readings([image])]

    def _response(self, image: Image, faces: list[EmotionResult] | EmoEdgeError) -> Any:
        if isinstance(faces, EmoEdgeError):
            return self._refusal(faces)
        reading = SourceResult("request", "image", faces, image).to_dict()
        boxes = np.array([face.box for face in faces], np.float32).reshape(1, -1, 4)
        outputs = {BOXES: boxes, JSON: _strings([json.dumps(reading, allow_nan=False)])}
        if self._labels:
            rows = [[face.probabilities[label] for label in self._labels] for face in faces]
            outputs[PROBABILITIES] = np.array(rows, np.float32).reshape(1, -1, len(self._labels))
            outputs[LABEL] = _strings([str(face.label) for face in faces])
        tensors = [self._utils.Tensor(name, value) for name, value in outputs.items()]
        return self._utils.InferenceResponse(output_tensors=tensors)

    def _refusal(self, error: EmoEdgeError) -> Any:
        kind = self._utils.TritonError
        code = kind.INVALID_ARG if isinstance(error, InputError) else kind.INTERNAL
        return self._utils.InferenceResponse(output_tensors=[], error=kind(str(error), code))


def _own(error: Exception) -> EmoEdgeError:
    return (
        error if isinstance(error, EmoEdgeError) else EmoEdgeError(f"cannot be read ({type(error).__name__}: {error})")
    )


def _strings(texts: Sequence[str]) -> Any:
    """Return strings as Triton takes them, [1, texts]."""
    return np.array([[text.encode() for text in texts]], np.object_).reshape(1, -1)
