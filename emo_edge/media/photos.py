"""Pictures that Pillow decodes: TIFF, GIF, AVIF, and with pillow-heif HEIC; and Pillow's images as frames."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from emo_edge.console.native_messages import without_native_messages
from emo_edge.errors import MissingExtraError
from emo_edge.media.crops import Image
from emo_edge.media.headers.image_header import AGAIN, RGB_BYTES, BrokenImageError, check_size
from emo_edge.media.headers.orientation import ORIENTATION_TAG, known_orientation, upright
from emo_edge.media.headers.tiff_header import check_tiff
from emo_edge.media.transparency import over_white, row_bands
from emo_edge.utils.extras import failed_import

logger = logging.getLogger(__name__)

WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
"""Modes with an alpha channel."""
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
"""Modes of 16-bit grey."""
RAW_TAGS = (50706, 50721)
"""Of TIFF: DNGVersion, ColorMatrix1."""
SUBFILE_TYPE, REDUCED = 254, 1
"""TIFF's NewSubfileType and its bit for a smaller copy of a picture that lies elsewhere in the file."""
NEXT_GIF = (b";GIF87a", b";GIF89a")
"""The end of a GIF and the beginning of another."""


class UndefinedRangeError(ValueError):
    """An intact picture whose numbers say nothing about black and white."""


def read_photo(data: bytes, kind: str, name: str, max_pixels: int) -> Image:
    """Decode a ``kind`` of `READERS` as uint8 RGB [H, W, 3], upright; of several pictures one, with a warning.

    Raises BrokenImageError for what is damaged, too large or no single picture, MissingExtraError without the extra.
    """
    try:
        with warnings.catch_warnings(), without_native_messages():
            # Pillow's own limit is higher than ours, and what it warns of in metadata does not concern the pixels.
            warnings.simplefilter("ignore")
            photo = READERS[kind](data)
            check_size(kind, photo.width, photo.height, max_pixels, photo.pixel_bytes)
            frame = photo.decoded()
        if photo.notice:
            logger.warning("%s: %s", name, photo.notice)
        return frame
    except (BrokenImageError, MissingExtraError):
        raise
    except UndefinedRangeError as error:
        raise BrokenImageError(f"this {kind} cannot be read: {error}") from error
    except ImportError as error:
        raise failed_import(error) from error
    except MemoryError as error:
        raise BrokenImageError(f"not enough memory for this {kind}: shrink it") from error
    except Exception as error:  # damaged files lead Pillow's readers to nearly every kind of error
        if type(error).__name__ == "DecompressionBombError":
            raise BrokenImageError(
                f"this {kind} has many times more pixels than the limit of {max_pixels:,}: shrink it"
            ) from error
        # Pillow names our buffer by its address where it recognises nothing.
        unknown = type(error).__name__ == "UnidentifiedImageError"
        reason = "Pillow does not recognise it" if unknown else " ".join(str(error).split())[:200]
        raise BrokenImageError(f"this {kind} is damaged and cannot be decoded ({reason}): {AGAIN}") from error


def animated(kind: str, advice: str) -> str:
    """Return the refusal of an animation."""
    return f"holds an animation ({kind}), not one picture: {advice}"


class Photo(NamedTuple):
    """A picture whose header was read."""

    width: int
    height: int
    decoded: Callable[[], Image]
    """Returns uint8 RGB [H, W, 3], upright."""
    notice: str = ""
    """Sentence about what is read, where the file holds more."""
    pixel_bytes: int = RGB_BYTES
    """Of a pixel as it is decoded: one more with transparency."""


def _opened(data: bytes, name: str) -> Any:
    from PIL import Image as pillow

    return pillow.open(io.BytesIO(data), formats=[name])


def _photo(image: Any, notice: str = "") -> Photo:
    width, height = image.size
    return Photo(width, height, lambda: frame_from_pillow(image), notice, RGB_BYTES + _has_alpha(image))


def _tiff(data: bytes) -> Photo:
    check_tiff(data)
    image = _opened(data, "TIFF")
    tags = image.tag_v2
    if data[8:10] == b"CR" or any(tag in tags for tag in RAW_TAGS) or tags.get(SUBFILE_TYPE, 0) & REDUCED:
        raise BrokenImageError("holds a camera's raw data with a small preview: convert it to JPEG or PNG")
    return _photo(image, "a TIFF of several pages: the first one is read" if _has_second_page(image) else "")


def _has_second_page(image: Any) -> bool:
    try:
        image.seek(1)
    except EOFError:
        return False
    finally:
        image.seek(0)
    return True


def _gif(data: bytes) -> Photo:
    image = _opened(data, "GIF")
    if image.is_animated:
        raise BrokenImageError(animated("GIF", "give it as a video, or convert it to JPEG or PNG"))
    joined = any(mark in data for mark in NEXT_GIF)
    return _photo(image, "several GIFs, one after the other: the first one is read" if joined else "")


def _avif(data: bytes) -> Photo:
    from PIL import features

    if not features.check("avif"):
        raise MissingExtraError('this Pillow reads no AVIF. Run: pip install "emo-edge[photos]"')
    image = _opened(data, "AVIF")
    if image.is_animated:
        raise BrokenImageError(animated("AVIF", "convert it to MP4, or one of its frames to JPEG or PNG"))
    return _photo(image)


def _heic(data: bytes) -> Photo:
    import pillow_heif

    opened = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    width, height = opened.size
    notice = f"a HEIC of {len(opened)} pictures: its main one is read" if len(opened) > 1 else ""
    return Photo(width, height, lambda: _heic_frame(opened), notice, RGB_BYTES + bool(opened.has_alpha))


def _heic_frame(opened: Any) -> Image:
    """Decode the main picture; libheif turns it upright, and with it the orientation of its Exif is done."""
    if opened.mode != "RGB":
        return frame_from_pillow(opened.to_pillow())
    return np.array(np.asarray(opened)[:, : opened.size[0]], np.uint8)  # through Pillow it would be copied twice more


READERS: dict[str, Callable[[bytes], Photo]] = {"TIFF": _tiff, "GIF": _gif, "AVIF": _avif, "HEIC": _heic}
"""Opens each format, checks it and decodes nothing yet."""


def frame_from_pillow(image: Any) -> Image:
    """Return a ``PIL.Image.Image`` as uint8 RGB [H, W, 3]: upright, 16 bits rounded to 8, transparent pixels white.

    Raises ValueError, OSError or SyntaxError for what cannot be decoded or has no defined range.
    """
    return upright(_rgb(image), _orientation(image))


def _orientation(image: Any) -> int:
    value = image.getexif().get(ORIENTATION_TAG, 1)
    # Stored as BYTE it comes as bytes, with a wrong count as a tuple.
    return known_orientation(value[0] if isinstance(value, (bytes, tuple)) and value else value)


def _rgb(image: Any) -> Image:
    if image.mode in SIXTEEN_BITS or image.mode == "I":
        return _from_sixteen_bits(image)
    if image.mode == "F":
        raise UndefinedRangeError("mode F has no defined range: convert it to 8 bits")
    # A BMP's fourth byte is padding, as in `read_image`.
    has_alpha = _has_alpha(image) and getattr(image, "format", None) != "BMP"
    image.load()  # a damaged picture ends here, before the memory of its frame is taken
    frame = np.empty((image.height, image.width, 3), np.uint8)
    for rows in row_bands(image.height, image.width):
        band = image.crop((0, rows.start, image.width, min(rows.stop, image.height)))
        pixels = np.asarray(_converted(band, "RGBA" if has_alpha else "RGB"), np.uint8)
        frame[rows] = over_white(pixels) if has_alpha else pixels
    return frame


def _converted(image: Any, mode: str) -> Any:
    """Return the image in another mode; in its own it would be copied."""
    return image if image.mode == mode else image.convert(mode)


def _from_sixteen_bits(image: Any) -> Image:
    values, clear = np.asarray(image), image.info.get("transparency")
    if values.size and not 0 <= values.min() <= values.max() <= 65535:
        raise UndefinedRangeError(
            f"mode {image.mode} holds values from {values.min()} to {values.max()}, not 16 bits: convert it to 8 bits"
        )
    frame = np.empty((*values.shape, 3), np.uint8)
    for rows in row_bands(*values.shape):
        grey = (values[rows].astype(np.uint32) + 128) // 257
        frame[rows] = (np.where(values[rows] == clear, 255, grey) if isinstance(clear, int) else grey)[..., None]
    return frame


def _has_alpha(image: Any) -> bool:
    palette = getattr(image.palette, "mode", "")
    return image.mode in WITH_ALPHA or "transparency" in image.info or palette.endswith("A")
