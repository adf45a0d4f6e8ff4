"""Read and write pictures: decided by content, held to limits before decoding, upright, uint8 RGB."""

from __future__ import annotations

import logging
import stat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.console.native_messages import without_native_messages
from emo_edge.errors import InputError, MissingExtraError
from emo_edge.media.crops import Image, checked_frame
from emo_edge.media.headers.file_signatures import HEAD_BYTES, STILL, file_kind
from emo_edge.media.headers.image_header import AGAIN, BrokenImageError, ImageHeader
from emo_edge.media.headers.image_headers import MAX_PIXELS, read_header
from emo_edge.media.headers.orientation import upright
from emo_edge.media.photos import READERS, read_photo
from emo_edge.media.pipes import STANDARD_INPUT, read_fifo, read_standard_input
from emo_edge.media.transparency import over_white, row_bands
from emo_edge.storage.output_files import require_free, written_file
from emo_edge.utils.memory import require_memory
from emo_edge.utils.opencv import open_cv2

logger = logging.getLogger(__name__)
MAX_BYTES = 64 * 1024 * 1024
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Formats that are written."""


def read_image(path: str | Path, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a picture as uint8 RGB [H, W, 3], turned upright by its Exif orientation.

    JPEG, PNG, WebP and BMP are always read; TIFF, GIF, AVIF and HEIC with the extra ``photos``. The content decides
    the format, not the extension. Of a file of several pictures the first one is read, of a HEIC the main one, and a
    warning says so; animations are refused. Size limits hold before a pixel is decoded; a pixel that is
    decoded to more than three bytes, as with transparency, counts for more. Grey, palette and CMYK become RGB, 16 bits
    are rounded to 8, and transparent pixels of every format are laid over white, as a viewer shows them, because the
    colour hidden below them is arbitrary; a BMP's fourth byte is transparency only where its header names it so.
    Colour profiles are not applied.

    ``path`` "-" is standard input; a picture comes from a FIFO as well.

    Raises InputError for anything else: missing, a folder, unreadable, empty, too large, cut off, damaged, animated,
    or made of so many parts that it would take long to decode; MissingExtraError for a format of the extra without it.
    """
    name = "standard input" if path == STANDARD_INPUT else path
    data = read_standard_input(max_bytes) if path == STANDARD_INPUT else file_bytes(Path(path), max_bytes)
    return image_from_bytes(data, str(name), max_pixels=max_pixels)


def image_from_bytes(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a picture that is in memory, as `read_image` does; errors call it ``name``."""
    try:
        if not data:
            raise BrokenImageError(f"is empty (0 bytes): {AGAIN}")
        return _read(data, name, max_pixels)
    except BrokenImageError as error:
        raise InputError(f"{name}: {error}") from error
    except MissingExtraError as error:
        raise MissingExtraError(f"{name}: {error}") from error


def _read(data: bytes, name: str, max_pixels: int) -> Image:
    kind = file_kind(data)
    if kind in READERS:
        return read_photo(data, kind, name, max_pixels)
    header = read_header(data, max_pixels)
    if header.end is not None and file_kind(data[header.end :][:HEAD_BYTES]) in STILL:
        advice = "; under a name that ends in .mjpeg it is read as a video" if kind == "JPEG" else ""
        logger.warning("%s: several pictures, one after the other: the first one is read%s", name, advice)
    return upright(_decoded(header), header.orientation)


def write_image(path: str | Path, image: Image, *, overwrite: bool = False) -> None:
    """Write ``image`` (uint8 RGB [H, W, 3]) in the format of the extension; it appears as a whole.

    Raises InputError for another extension, a file that is there already (unless ``overwrite``), a picture that the
    format cannot hold and a place that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in EXTENSIONS:
        raise InputError(
            f"{path}: cannot write {path.suffix or 'a name without extension'}; use {', '.join(EXTENSIONS)}"
        )
    require_free(path, overwrite=overwrite)
    coded = _encoded(path, checked_frame(image))
    try:
        with written_file(path, overwrite=overwrite) as partial:
            partial.write_bytes(coded)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def file_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file or FIFO; raise InputError for any other and for more than ``max_bytes``."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: is a folder; give one image, or the folder to a command that takes folders")
        if stat.S_ISFIFO(status.st_mode):
            return read_fifo(path, max_bytes)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: not a regular file")
        if status.st_size > max_bytes:
            raise InputError(f"{path}: {status.st_size:,} bytes, more than max_bytes={max_bytes:,}: shrink the image")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _decoded(header: ImageHeader) -> Image:
    cv2 = open_cv2()
    flags = cv2.IMREAD_UNCHANGED if header.alpha else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        with without_native_messages():
            pixels = cv2.imdecode(np.frombuffer(header.coded, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:  # OpenCV gives none for a failed allocation as well
        require_memory(4 * header.width * header.height, f"a {header.format} of {header.width}x{header.height} pixels")
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise BrokenImageError(f"this {header.format} is damaged and cannot be decoded: {AGAIN}")
    if header.format == "BMP" and pixels.shape[2] == 4 and not pixels[..., 3].any():
        pixels = pixels[..., :3]  # a fourth byte that is named but never written
    return _as_rgb(pixels, header, cv2)


def _as_rgb(pixels: NDArray[Any], header: ImageHeader, cv2: Any) -> Image:
    """Convert in bands of rows: with 16 bits and four channels the picture itself is half a gigabyte."""
    image = np.empty((header.height, header.width, 3), np.uint8)
    for rows in row_bands(header.height, header.width):
        image[rows] = _rgb_band(pixels[rows], header.clear_grey, cv2)
    return image


def _rgb_band(pixels: NDArray[Any], clear: int | None, cv2: Any) -> Image:
    colours = cv2.convertScaleAbs(pixels, alpha=255 / 65535) if pixels.dtype == np.uint16 else pixels
    if colours.ndim == 3 and colours.shape[2] == 4:
        return over_white(colours, blue_first=True)
    grey = colours.ndim == 2 or colours.shape[2] == 1
    if clear is not None and grey:
        colours = np.where(pixels == clear, np.uint8(255), colours)
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_GRAY2RGB if grey else cv2.COLOR_BGR2RGB), np.uint8)


def _encoded(path: Path, image: Image) -> bytes:
    cv2 = open_cv2()
    try:
        done, coded = cv2.imencode(path.suffix.lower(), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise InputError(f"{path}: cannot be encoded ({error.err})") from error
    if not done:
        height, width = image.shape[:2]
        raise InputError(f"{path}: {path.suffix} cannot hold {width}x{height} pixels")
    return bytes(coded.tobytes())
