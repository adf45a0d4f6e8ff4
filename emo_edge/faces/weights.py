"""Weights of YuNet, which no package ships: fetched by an explicit command, known by their hash, kept in the cache."""

from __future__ import annotations

import shutil
import stat
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from emo_edge.errors import InputError
from emo_edge.utils.cache import cache_directory
from emo_edge.utils.files import replaced_file, sha256_of, substitute

TIMEOUT_S = 30
BLOCK = 1 << 16


@dataclass(frozen=True)
class KnownWeights:
    """A file of another project, by its content."""

    name: str
    url: str
    licence: str
    size: int
    """Bytes."""
    sha256: str

    def described(self) -> str:
        """Return URL, licence, size and hash, a line each."""
        return f"{self.url}\nlicence: {self.licence}\nsize: {self.size} bytes\nsha256: {self.sha256}"


YUNET = KnownWeights(
    "face_detection_yunet_2023mar.onnx",
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/82b38c8f98e7b52aa171400f3e4c722352d0669f"
    "/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    "MIT (Shiqi Yu, OpenCV Zoo)",
    232_589,
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
)
"""Size and hash are those of OpenCV Zoo's pointer to the file at that commit."""
YUNET_ORIGINAL = KnownWeights(
    "yunet_n_640_640.onnx",
    "https://github.com/ShiqiYu/libfacedetection.train",
    "Apache-2.0 (OpenMMLab, Shiqi Yu)",
    317_466,
    "25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",
)
"""The same network as its authors export it: another file that `install_weights` takes."""
DOWNLOADS: dict[str, tuple[KnownWeights, ...]] = {"yunet": (YUNET, YUNET_ORIGINAL)}
"""Files of each detector; the first is the one that is downloaded."""


def install_weights(detector: str, source: Path | None = None) -> Path:
    """Keep the weights of ``detector``, downloaded or from the file ``source``; return their place.

    Nothing else in this package downloads. Proxies are those of the environment (``https_proxy``).

    Raises InputError where the download fails, and for a file whose content is not known.
    """
    known = DOWNLOADS[detector]
    target = weights_path(detector)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(target) as partial:
        if source is None:
            _download(known[0], partial)
        else:
            _copy(source, partial)
        if sha256_of(partial) not in {one.sha256 for one in known}:
            names = " or ".join(one.name for one in known)
            origin = known[0].url if source is None else source
            other = f"not {names} (its sha256 is another), so it is not kept; fetch it again"
            raise InputError(f"{origin}: {substitute(partial) or other}")
    return target


def weights_path(detector: str) -> Path:
    """Return the place of the weights, whether they are there or not."""
    return cache_directory() / "detectors" / f"{detector}.onnx"


def installed_weights(detector: str) -> Path:
    """Return the weights that `install_weights` kept; raise InputError where they are missing or changed."""
    path = weights_path(detector)
    if not path.is_file():
        raise InputError(f"the weights of {detector} are not here. Run: emo-edge detector get {detector}")
    if sha256_of(path) not in {one.sha256 for one in DOWNLOADS[detector]}:
        raise InputError(f"{path}: changed since it was fetched. Run: emo-edge detector get {detector}")
    return path


def _copy(source: Path, target: Path) -> None:
    try:
        status = source.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{source}: cannot be read (no plain file); name the file that you fetched")
        if status.st_size > max(one.size for known in DOWNLOADS.values() for one in known):
            raise InputError(f"{source}: larger than any known file of weights")
        shutil.copyfile(source, target)
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from error


def _download(weights: KnownWeights, target: Path) -> None:
    """Write what the address gives, at most one block more than the known size."""
    try:
        # A new opener reads the proxies of the environment now; the shared one keeps those of its first use.
        opener = urllib.request.build_opener()
        with opener.open(weights.url, timeout=TIMEOUT_S) as answer, target.open("wb") as file:
            left = weights.size + BLOCK
            while left > 0 and (block := answer.read(min(BLOCK, left))):
                left -= file.write(block)
            promised, got = answer.headers.get("Content-Length") or "", file.tell()
            if left > 0 and promised.isdigit() and got < int(promised):
                raise OSError(f"cut off after {got} of {promised} bytes")
    except (OSError, HTTPException, ValueError) as error:
        reason = " ".join(str(getattr(error, "reason", None) or error or type(error).__name__).split())
        raise InputError(
            f"{weights.url}: cannot be downloaded ({reason}). Fetch it on a machine with a network, and give the file "
            "with `source`"
        ) from error
