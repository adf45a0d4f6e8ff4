"""Read and write pictures: decided by content, held to limits before decoding, upright, uint8 RGB."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.errors import InputError
from emo_edge.media.crops import Image, checked_frame
from emo_edge.media.image_headers import AGAIN, BrokenImageError, ImageHeader, read_header
from emo_edge.utils.files import replaced_file
from emo_edge.utils.memory import require_memory
from emo_edge.utils.opencv import open_cv2

MAX_BYTES = 64 * 1024 * 1024
MAX_PIXELS = 64_000_000
"""192 MB as RGB, enough for a 50-megapixel phone."""
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def read_image(path: str | Path, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a JPEG, PNG, WebP or BMP as uint8 RGB [H, W, 3], turned upright by its Exif orientation.

    The content decides the format, not the extension. Size limits hold before a pixel is decoded. Grey, palette and
    CMYK become RGB, 16 bits are rounded to 8, and transparent pixels are laid over white, as a viewer shows them,
    because the colour hidden below them is arbitrary; a BMP's fourth byte is padding and is ignored. Colour profiles
    are not applied.

    Raises InputError for anything else: missing, a folder, unreadable, empty, too large, cut off, damaged, animated.
    """
    data = _file_bytes(Path(path), max_bytes)
    try:
        header = read_header(data)
        if header.width * header.height > max_pixels:
            raise BrokenImageError(
                f"this {header.format} has {header.width}x{header.height} pixels, more than the limit of "
                f"{max_pixels:,}: shrink it"
            )
        return upright(_decoded(header), header.orientation)
    except BrokenImageError as error:
        raise InputError(f"{path}: {error}") from error


def image_paths(folder: str | Path) -> list[Path]:
    """List the pictures of ``folder`` by extension, sorted by name; not its subfolders, not hidden files.

    Raises InputError when the folder is missing or unreadable or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error
    paths = [path for path in paths if not path.name.startswith(".") and path.is_file()]
    if not paths:
        raise InputError(f"{folder}: holds no picture; looked for {', '.join(EXTENSIONS)} (not in subfolders)")
    return paths


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
    if path.exists() and not overwrite:
        raise InputError(f"{path}: is there already; remove it or choose another name")
    coded = _encoded(path, checked_frame(image))
    try:
        with replaced_file(path) as partial:
            partial.write_bytes(coded)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def _file_bytes(path: Path, max_bytes: int) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: is a folder; give one image, or the folder to a command that takes folders")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: not a regular file")
        if status.st_size == 0:
            raise InputError(f"{path}: is empty (0 bytes): {AGAIN}")
        if status.st_size > max_bytes:
            raise InputError(f"{path}: {status.st_size:,} bytes, more than max_bytes={max_bytes:,}: shrink the image")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _decoded(header: ImageHeader) -> Image:
    cv2 = open_cv2()
    # Only PNG and WebP have an alpha that means something; a 32-bit BMP mostly holds zeros there.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if header.format in ("PNG", "WebP"):
        flags = cv2.IMREAD_UNCHANGED
    try:
        pixels = cv2.imdecode(np.frombuffer(header.coded, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:  # OpenCV gives none for a failed allocation as well
        require_memory(4 * header.width * header.height, f"a {header.format} of {header.width}x{header.height} pixels")
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise BrokenImageError(f"this {header.format} is damaged and cannot be decoded: {AGAIN}")
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    return _as_rgb(pixels, cv2)


def _as_rgb(pixels: Image, cv2: Any) -> Image:
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    if pixels.shape[2] == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
    return over_white(pixels[..., [2, 1, 0, 3]])


def over_white(pixels: Image) -> Image:
    """Lay uint8 RGBA pixels [H, W, 4] over white; returns RGB [H, W, 3]."""
    alpha = pixels[..., 3:].astype(np.uint16)
    return ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def upright(image: Image, orientation: int) -> Image:
    """Undo an Exif orientation: 2 mirrored, 3 upside down, 4 both, 5 to 8 the same with rows and columns exchanged."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


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
