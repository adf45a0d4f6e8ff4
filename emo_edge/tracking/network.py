"""The face network of a bundle, or its network of action units, alone: crops in, one row of numbers a face out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emo_edge.bundle.face_crops import crop_face
from emo_edge.bundle.label_sets import resolve_labels
from emo_edge.bundle.manifest import LABEL_LOGITS, MANIFEST_NAME, OUTPUTS, UNIT_INTENSITY, UNIT_PRESENCE, VALUES
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import BundleError
from emo_edge.inference.frame_features import run_face_network, run_unit_network
from emo_edge.inference.probability import sigmoid, tempered
from emo_edge.media.crops import Box, Crop, Image
from emo_edge.rendering.tracks.faces import LANDMARKS, FaceContents, TrackedFace
from emo_edge.runtimes.loading.engines import Engines, open_face_network
from emo_edge.tensors import Tensor
from emo_edge.utils.files import sha256_of

AU = "au"
POSE = ("pitch", "yaw", "roll")


class FaceNetwork:
    """An open face network, or one of action units where the bundle has no other; a context manager.

    A row is float32: landmarks in frame pixels and head pose, logits and intensities of the units, logits of the
    labels, values; without what the network does not give. Logits are kept, so that a probability is rounded once.
    """

    def __init__(self, bundle: Bundle, engines: Engines) -> None:
        self.bundle, self.engines, self._part_name = bundle, engines, followed_part(bundle)
        manifest = bundle.manifest
        self.contents = face_contents(bundle)
        rows = manifest.face_labels.expression
        self._columns = [rows.index(label) for label in self.contents.labels]
        contents, units = self.contents, len(self.contents.units)
        sizes = {
            "landmarks": 2 * LANDMARKS * contents.geometry,
            "pose": len(POSE) * contents.geometry,
            UNIT_PRESENCE: units,
            UNIT_INTENSITY: units * contents.intensities,
            LABEL_LOGITS: len(contents.labels),
            VALUES: len(contents.values),
        }
        ends = np.cumsum(list(sizes.values())).tolist()
        self._parts = {
            name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True) if size
        }
        self.width: int = ends[-1]
        """Numbers of a row."""

    @classmethod
    def open(cls, bundle: Bundle, *, device: str, profile: str | None, threads: int | None) -> FaceNetwork:
        """Open it; raise BundleError for a bundle that has none, or one that gives tokens alone."""
        face_contents(bundle)
        part = followed_part(bundle)
        return cls(bundle, open_face_network(bundle, profile=profile, device=device, threads=threads, part=part))

    def __enter__(self) -> FaceNetwork:
        return self

    def __exit__(self, *exception: object) -> None:
        self.engines.close()

    def settings(self) -> dict[str, Any]:
        """Return JSON values of all that a row depends on besides the face's crop."""
        return {
            "bundle": self.bundle.manifest.name,
            "bundle_sha256": sha256_of(self.bundle.directory / MANIFEST_NAME),
            "profile": self.engines.profile_name,
            "variant": self.engines.profile.variant(self._part_name),
            "device": self.engines.device,
        }

    def crop(self, frame: Image, box: Box, detector: str) -> Crop:
        """Cut a face out for the network."""
        crops = self.bundle.manifest.preprocessing
        settings = crops.au if self._part_name == AU else crops.face
        assert settings is not None  # a checked manifest has one with each network
        return crop_face(frame, box, settings, detector)

    def rows(self, crops: Sequence[Crop]) -> Tensor:
        """Run the network on crops; return a row each, float32 [N, width]."""
        rows = np.zeros((len(crops), self.width), np.float32)
        if not crops:
            return rows
        if self._part_name == AU:
            outputs = run_unit_network(self.engines, crops)
        else:
            outputs = run_face_network(self.engines, crops, self.bundle.manifest.face_labels.values)
        for name, part in self._parts.items():
            given = outputs[name]
            if name == "landmarks":
                given = np.stack([crop.to_frame(points) for crop, points in zip(crops, given, strict=True)])
            elif name == LABEL_LOGITS:
                given = given[:, self._columns]
            rows[:, part] = given.reshape(len(crops), -1)
        return rows

    def face(self, row: Tensor, face_id: int, box: Box, score: float | None) -> TrackedFace:
        """Return the face of a row of `rows`."""
        manifest = self.bundle.manifest
        presence = sigmoid(self._part(row, UNIT_PRESENCE))
        thresholds = manifest.action_units.thresholds if manifest.action_units else ()
        logits = self._part(row, LABEL_LOGITS)
        pose = self._part(row, "pose").astype(np.float64).tolist()
        return TrackedFace(
            face_id,
            box,
            score,
            landmarks=self._part(row, "landmarks").reshape(-1, 2),
            pose=tuple(pose),
            presence=presence,
            active=presence >= np.array(thresholds),
            intensity=self._part(row, UNIT_INTENSITY).astype(np.float64),
            probabilities=tempered(logits, manifest.scoring.temperature) if len(logits) else np.zeros(0),
            values=self._on_scale(self._part(row, VALUES)),
        )

    def intensities(self, rows: Tensor) -> Tensor:
        """Return the intensities of rows, [N, units]; [N, 0] of a network that gives none."""
        return rows[:, self._parts.get(UNIT_INTENSITY, slice(0, 0))]

    def _part(self, row: Tensor, name: str) -> Tensor:
        return row[self._parts.get(name, slice(0, 0))]

    def _on_scale(self, values: Tensor) -> Tensor:
        scales = self.bundle.manifest.face_labels.values if len(values) else ()
        lows, highs = ([getattr(scale, end) for scale in scales] for end in ("low", "high"))
        return np.clip(values.astype(np.float64), lows, highs) if len(values) else values


def followed_part(bundle: Bundle) -> str:
    """Return the component whose outputs are followed: the face network, or that of action units where it is alone.

    Raises BundleError for a bundle that has both: one crop of a face is cut and kept, and they read two.
    """
    parts = bundle.manifest.components
    if parts.au is not None and parts.face is not None:
        raise BundleError(
            f"{bundle.directory}: its action units come from a network beside the face network, and track follows one "
            "network: use a bundle of one of them, or infer"
        )
    return "face" if parts.au is None else AU


def face_contents(bundle: Bundle) -> FaceContents:
    """Return what the face network of a bundle gives; raise BundleError where that is nothing for a table."""
    manifest = bundle.manifest
    face = manifest.components.graphs().get(followed_part(bundle))
    outputs = {contract.name for contract in face.outputs} if face else set()
    section = manifest.action_units
    contents = FaceContents(
        geometry=outputs >= OUTPUTS["face"],
        units=section.units if section else (),
        intensities=section is not None and UNIT_INTENSITY in outputs,
        labels=resolve_labels(manifest, None) if LABEL_LOGITS in outputs else (),
        values=tuple(scale.name for scale in manifest.face_labels.values),
    )
    if face is None or contents == FaceContents(geometry=False):
        missing = "has no face network" if face is None else "has a face network that gives tokens alone"
        raise BundleError(f"{bundle.directory}: {missing}, so there is nothing to follow: use a bundle with landmarks, "
                          "action units or labels of its own")  # fmt: skip
    return contents
