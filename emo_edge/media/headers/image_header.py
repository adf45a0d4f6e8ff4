"""The facts of a picture that its header gives, and the error for bytes that are no whole picture."""

from __future__ import annotations

from dataclasses import dataclass

AGAIN = "copy or save it again"
RGB_BYTES = 3
"""Of a pixel."""


class BrokenImageError(ValueError):
    """The bytes are not a whole picture of a known format; the text gives the reason and the next step."""


@dataclass(frozen=True)
class ImageHeader:
    """The properties of a picture, from its bytes."""

    format: str
    """"JPEG", "PNG", "WebP", "BMP", or one of `emo_edge.media.photos.READERS`."""
    width: int
    height: int
    coded: bytes
    """Bytes to decode: the file, or of a PNG only the chunks that hold pixels."""
    orientation: int = 1
    """Exif orientation 1 to 8; 1 is upright."""
    alpha: bool = False
    """True where a fourth channel that the decoder gives is transparency."""
    clear_grey: int | None = None
    """Of a grey PNG: the decoded value that stands for transparent."""
    end: int | None = None
    """Position after the picture in the file; None where the file says itself that it holds others."""


def check_size(kind: str, width: int, height: int, max_pixels: int, pixel_bytes: int = RGB_BYTES) -> None:
    """Raise for a picture of more pixels than the limit; those that are decoded to more than RGB count for more."""
    if width * height > max_pixels:
        raise BrokenImageError(
            f"this {kind} has {width}x{height} pixels, more than the limit of {max_pixels:,}: shrink it"
        )
    if width * height * pixel_bytes > RGB_BYTES * max_pixels:
        raise BrokenImageError(
            f"this {kind} has {width}x{height} pixels of {pixel_bytes} bytes, more than the limit of "
            f"{RGB_BYTES * max_pixels:,} bytes: shrink it, or save it with 8 bits a channel and without transparency"
        )


def cut_off(kind: str, missing: str) -> BrokenImageError:
    """Return the error for a file that ends too early."""
    return BrokenImageError(f"this {kind} is cut off, {missing}: {AGAIN}")


def too_many(kind: str, parts: str, limit: int) -> BrokenImageError:
    """Return the error for a file made of more parts than any program writes."""
    return BrokenImageError(f"this {kind} has more than {limit:,} {parts}, and no program writes such files: {AGAIN}")
