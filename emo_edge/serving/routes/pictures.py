"""Pictures of a request: decoded beside the event loop, within a budget of pixels."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from starlette.concurrency import run_in_threadpool

from emo_edge.errors import EmoEdgeError
from emo_edge.media.crops import Image
from emo_edge.media.headers.image_header import BrokenImageError
from emo_edge.media.headers.image_headers import read_header
from emo_edge.media.images import image_from_bytes
from emo_edge.serving.access.errors import ApiError
from emo_edge.serving.engine.limits import ServerLimits

PICTURE_TYPES = ("image/", "application/octet-stream")
"""Begin the content type of a picture; its content decides what it is."""
DATA = "data:"


class PixelBudget:
    """Bounds the decoded pictures that exist at a time; a picture beyond the budget is alone."""

    def __init__(self, pixels: int) -> None:
        self._free, self._pixels = pixels, pixels
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Wait until so many pixels are free, and keep them inside the block."""
        taken = min(pixels, self._pixels)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= taken)
            self._free -= taken
        try:
            yield
        finally:
            async with self._changed:
                self._free += taken
                self._changed.notify_all()


def pixels_of(data: bytes, limits: ServerLimits) -> int:
    """Return a picture's pixels by its header; the limit where another library reads its header."""
    try:
        header = read_header(data, limits.pixels)
    except BrokenImageError:
        return limits.pixels
    return header.width * header.height


async def decode(data: bytes, name: str, limits: ServerLimits) -> Image:
    """Decode a picture in a thread of the pool; raise InputError for one that cannot be read."""
    return await run_in_threadpool(partial(image_from_bytes, data, name, max_pixels=limits.pixels))


def decode_all(files: Sequence[tuple[str, bytes]], limits: ServerLimits) -> list[Image | EmoEdgeError]:
    """Decode pictures one after the other; one that cannot be read is its error."""
    decoded: list[Image | EmoEdgeError] = []
    for name, data in files:
        try:
            decoded.append(image_from_bytes(data, name, max_pixels=limits.pixels))
        except EmoEdgeError as error:
            decoded.append(error)
    return decoded


def from_data_url(url: str, param: str) -> bytes:
    """Return the bytes of ``data:image/...;base64,...``.

    Raises ApiError for another address, which is not shown: it may hold a password.
    """
    if not url.startswith(DATA):
        raise ApiError(400, "give the picture itself as data:image/jpeg;base64,...", param)
    head, comma, text = url[len(DATA) :].partition(",")
    media, *options = head.split(";")
    if not comma or "base64" not in options or not media.startswith(PICTURE_TYPES):
        raise ApiError(400, "a data URL of a picture begins with data:image/jpeg;base64,", param)
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise ApiError(400, "the picture's base64 is damaged", param) from None
