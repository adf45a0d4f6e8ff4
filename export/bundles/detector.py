"""The face detector that goes into a bundle: its graphs, hashed as every other file."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from emo_edge.bundle.manifest import BundleFile, Detector, Manifest
from emo_edge.bundle.writer import BundleWriter
from emo_edge.faces.weights import installed_weights
from emo_edge.inference.detectors import MTCNN, DetectorFiles, packaged_graphs


@dataclass(frozen=True)
class StoredDetector:
    """A detector as the manifest names it."""

    name: Detector
    files: tuple[BundleFile, ...] = ()


HAAR = StoredDetector("haar")
"""OpenCV's, which needs no file."""


def own_detector(name: Detector) -> DetectorFiles:
    """Return the detector that a checkpoint names, with the weights of the installed package or those fetched.

    Raises MissingExtraError or InputError where they are not there.
    """
    if name == MTCNN:
        return DetectorFiles(name, tuple(packaged_graphs()))
    return DetectorFiles(name, (installed_weights(name),) if name == "yunet" else ())


def stored_detector(writer: BundleWriter, detector: DetectorFiles) -> StoredDetector:
    """Copy a detector's graphs into the bundle, so that a device needs nothing more."""
    entries = []
    for source in detector.paths:
        # A file of the user's may have any name.
        name = source.name if len(detector.paths) > 1 else f"{detector.name}.onnx"
        path = writer.path(f"detector-{name}")
        shutil.copyfile(source, path)
        entries.append(writer.entry(path))
    return StoredDetector(detector.name, tuple(entries))


def with_detector(manifest: Manifest, detector: StoredDetector) -> Manifest:
    """Return the manifest with another detector."""
    changed = {"detector": detector.name, "detector_files": detector.files}
    return Manifest.model_validate(manifest.model_copy(update=changed).model_dump())
