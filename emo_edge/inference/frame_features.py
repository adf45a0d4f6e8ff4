"""Faces of some frames, their crops, and the outputs of the networks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.face_crops import CropSettings, Preprocessing, crop_face
from emo_edge.bundle.manifest import FACE_TOKENS, OUTPUTS, SELECTION, UNIT_INTENSITY, UNIT_PRESENCE
from emo_edge.bundle.prompts import ValueRange
from emo_edge.faces.detector import DetectedFace
from emo_edge.inference.output_checks import require_sound
from emo_edge.inference.probability import sigmoid
from emo_edge.media.crops import Box, Crop, Image
from emo_edge.runtimes.base.sessions import Chunk, TensorSession
from emo_edge.runtimes.loading.engines import Engines, PictureChain
from emo_edge.tensors import Tensor
from emo_edge.utils.timing import Stopwatch

FACE_ATTRIBUTE_OUTPUTS = OUTPUTS["face"]
"""Outputs of a face graph that face attributes are computed from."""
HIGHEST_INTENSITY = 5.0
"""Of FACS's intensities."""
AT_ONCE = 32
"""Crops that a network computes at once: every face of a group photo, and memory that stays bounded."""


@dataclass(frozen=True)
class VisualInput:
    """F frames as the networks give them to the language model; nothing here depends on the question."""

    features: Tensor | None
    """[F, T, D], of the vision net; None where libmtmd encodes pictures."""
    face_tokens: Tensor | None
    """[F, k, E]; None where the face network gives none."""
    pictures: list[list[Chunk]] = field(default_factory=list)
    """The chunks of each frame, as libmtmd encodes it; empty with a vision net."""
    selection: dict[str, Tensor] = field(default_factory=dict)
    """Further outputs of the vision net, [F, ...] each, by which the connector chooses tokens; empty without any."""

    def __len__(self) -> int:
        return len(self.pictures) if self.features is None else len(self.features)

    def frame(self, row: int) -> VisualInput:
        """Return one of the frames."""
        rows = slice(row, row + 1)
        features, face_tokens = (None if array is None else array[rows] for array in (self.features, self.face_tokens))
        return VisualInput(features, face_tokens, self.pictures[rows], _rows(self.selection, rows))

    def repeated(self, times: int) -> VisualInput:
        """Return the same frames ``times`` times."""
        features, face_tokens = (
            None if array is None else np.concatenate([array] * times) for array in (self.features, self.face_tokens)
        )
        selection = {name: np.concatenate([array] * times) for name, array in self.selection.items()}
        return VisualInput(features, face_tokens, self.pictures * times, selection)


@dataclass(frozen=True)
class FrameFeatures:
    """F faces and the networks' outputs for their crops; nothing here depends on the question."""

    faces: Sequence[DetectedFace]
    """One a row, in its frame's pixels."""
    face_crops: list[Crop]
    """Empty without a face network."""
    features: Tensor | None
    """[F, T, D]; None without a language model."""
    face_outputs: dict[str, Tensor]
    """Outputs of the face graph, [F, ...] each; empty without a face network."""
    pictures: list[list[Chunk]] = field(default_factory=list)
    """See `VisualInput`."""
    au_outputs: dict[str, Tensor] = field(default_factory=dict)
    """Outputs of a network of action units of its own, [F, U] each; empty without one."""
    selection: dict[str, Tensor] = field(default_factory=dict)
    """See `VisualInput`."""

    @property
    def unit_outputs(self) -> dict[str, Tensor]:
        """Outputs that action units are read from: those of their own network, else the face network's."""
        return self.au_outputs or self.face_outputs

    @property
    def has_attributes(self) -> bool:
        """True if the face network gives landmarks, pose, attributes and demographics."""
        return self.face_outputs.keys() >= FACE_ATTRIBUTE_OUTPUTS

    def visual_input(self, rows: slice) -> VisualInput:
        """Return the frames ``rows`` for the language model."""
        if self.features is None and not self.pictures:
            raise ValueError("the vision net did not run")
        face_tokens = self.face_outputs.get(FACE_TOKENS)
        features = None if self.features is None else self.features[rows]
        tokens = None if face_tokens is None else face_tokens[rows]
        return VisualInput(features, tokens, self.pictures[rows], _rows(self.selection, rows))


def run_networks(
    engines: Engines,
    preprocessing: Preprocessing,
    frames: Sequence[Image],
    faces: Sequence[DetectedFace],
    watch: Stopwatch,
    detector: str | None = None,
    values: Sequence[ValueRange] = (),
) -> FrameFeatures:
    """Crop one face of each frame and run every network on all crops at once.

    Args:
        engines: the open sessions.
        preprocessing: the crops that the bundle's networks were trained on.
        frames: F frames, uint8 RGB [H, W, 3]; the same one for several of its faces.
        faces: F faces, one a frame.
        watch: measures crop, vision, face and, where there is such a network, au.
        detector: that gave the boxes; None for boxes of no detector.
        values: scales of the numbers that the face net gives beside labels.
    """
    pairs = list(zip(frames, faces, strict=True))

    def crops(settings: CropSettings | None) -> list[Crop]:
        return [crop_face(frame, one.box, settings, detector) for frame, one in pairs] if settings else []

    with watch("crop"):
        vision_crops, face_crops, au_crops = (
            crops(settings) for settings in (preprocessing.vision, preprocessing.face, preprocessing.au)
        )
    features, pictures, selection = None, [], dict[str, Tensor]()
    if engines.chain:
        with watch("vision"):
            if isinstance(engines.chain, PictureChain):
                pictures = [engines.chain.pictures.encode(crop.pixels) for crop in vision_crops]
            else:
                outputs = _run("vision", engines.chain.vision, vision_crops, engines.device)
                features = outputs["features"]
                selection = {name: outputs[name] for name in outputs.keys() & SELECTION}
    with watch("face"):
        face_outputs = run_face_network(engines, face_crops, values)
    au_outputs = {}
    if engines.au:
        with watch("au"):
            au_outputs = run_unit_network(engines, au_crops)
    return FrameFeatures(faces, face_crops, features, face_outputs, pictures, au_outputs, selection)


def run_face_network(engines: Engines, crops: Sequence[Crop], values: Sequence[ValueRange] = ()) -> dict[str, Tensor]:
    """Run the face network on crops; return its checked outputs, [F, ...] each, and none without a network."""
    return _run("face", engines.face, crops, engines.device, values) if engines.face else {}


def run_unit_network(engines: Engines, crops: Sequence[Crop]) -> dict[str, Tensor]:
    """Run a network of action units of its own on crops, as `run_face_network` does."""
    return _run("au", engines.au, crops, engines.device) if engines.au else {}


def unit_values(
    engines: Engines, preprocessing: Preprocessing, frames: Sequence[Image], boxes: Sequence[Box], detector: str
) -> NDArray[np.float64]:
    """Run the network that gives action units alone; return their intensities from 0 to 5, [N, units].

    Of a network without intensities that is five times each unit's probability.
    """
    settings = preprocessing.face if engines.au is None else preprocessing.au
    assert settings is not None  # a checked manifest has one with each network
    crops = [crop_face(frame, box, settings, detector) for frame, box in zip(frames, boxes, strict=True)]
    outputs = run_face_network(engines, crops) if engines.au is None else run_unit_network(engines, crops)
    if UNIT_INTENSITY in outputs:
        return np.asarray(outputs[UNIT_INTENSITY], np.float64)
    return HIGHEST_INTENSITY * sigmoid(outputs[UNIT_PRESENCE])


def grey_input(engines: Engines, preprocessing: Preprocessing, watch: Stopwatch) -> VisualInput:
    """Compute the language model's input for one evenly grey frame."""
    side = preprocessing.vision.size if preprocessing.vision else 0
    grey, whole = np.full((side, side, 3), 127, np.uint8), DetectedFace((0.0, 0.0, side, side), None)
    return run_networks(engines, preprocessing, [grey], [whole], watch).visual_input(slice(0, 1))


def _rows(arrays: dict[str, Tensor], rows: slice) -> dict[str, Tensor]:
    return {name: array[rows] for name, array in arrays.items()}


def _run(
    part: str, network: TensorSession, crops: Sequence[Crop], device: str, values: Sequence[ValueRange] = ()
) -> dict[str, Tensor]:
    """Run a component's network on crops, a bounded number at once, and check its outputs."""
    parts = [
        network.run({"image": np.stack([crop.pixels for crop in crops[start : start + AT_ONCE]])})
        for start in range(0, len(crops), AT_ONCE)
    ]
    outputs = {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}
    require_sound(part, outputs, device, values)
    return outputs
