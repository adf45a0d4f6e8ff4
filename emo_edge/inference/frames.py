"""Images as users have them, as frames: paths, PIL images and arrays in either channel order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace, nearest_with_face
from emo_edge.faces.tracks import FacesOfTrack
from emo_edge.inference.results import EmotionResult
from emo_edge.media.crops import Box, Image
from emo_edge.media.images import read_image
from emo_edge.media.photos import frame_from_pillow

Channels = Literal["rgb", "bgr"]
CHANNELS = ("rgb", "bgr")
Faces = Literal["all", "largest"]
FACES = ("all", "largest")
ACCEPTED = "a path, a PIL.Image.Image or a uint8 array [height, width, 3]"


class PillowImage(Protocol):
    """The part of ``PIL.Image.Image`` that is used, so that Pillow stays optional."""

    @property
    def mode(self) -> str:
        """Return the pixel format."""

    def convert(self, mode: str) -> Any:
        """Return the image in another pixel format."""


ImageInput = str | os.PathLike[str] | PillowImage | NDArray[np.uint8]


def rgb_frame(image: ImageInput, channels: str = "rgb") -> Image:
    """Return ``image`` as a frame, uint8 RGB [H, W, 3].

    Args:
        image: a path, read as `read_image` does; a ``PIL.Image.Image``, converted by the same rules (upright by its
            Exif orientation, transparent pixels over white, 16 bits rounded to 8); or a uint8 array [H, W, 3].
        channels: order of an array's channels, "rgb" or "bgr" (OpenCV's).

    Raises InputError for anything else.
    """
    if channels not in CHANNELS:
        raise InputError(f'`channels` is "rgb" or "bgr", not {channels!r}')
    if isinstance(image, (str, os.PathLike)):
        return read_image(os.fspath(image))
    if isinstance(image, np.ndarray):
        frame = _checked_array(image)
        return np.ascontiguousarray(frame if channels == "rgb" else frame[..., ::-1])
    if _is_pillow(image):
        return _frame_from_pillow(image)
    raise InputError(f"an image is {ACCEPTED}, not {type(image).__name__}")


def rgb_frames(frames: Iterable[ImageInput], channels: str = "rgb") -> list[Image]:
    """Return the frames of a clip, each as `rgb_frame` does; raise InputError for a single path."""
    if isinstance(frames, (str, os.PathLike)) or not isinstance(frames, Iterable):
        raise InputError(f"a clip is a sequence of frames, each {ACCEPTED}; emo_edge.stream reads a video file")
    return [rgb_frame(frame, channels) for frame in frames]


def boxes_by_frame(boxes: Sequence[Box | None] | None, frames: int) -> list[list[Box] | None]:
    """Return the boxes of each frame of a clip.

    Args:
        boxes: one a frame, None for a frame without a face; or a single one for all frames. Without ``boxes`` every
            frame is searched, and gets None here.
        frames: number of frames.

    Raises InputError for another number of boxes.
    """
    if boxes is None:
        return [None] * frames
    given = list(boxes) * (frames if len(boxes) == 1 else 1)
    if len(given) != frames:
        raise InputError(f"`boxes` holds {len(given)} boxes for {frames} frames: give one a frame, or one for all")
    return [[] if box is None else [box] for box in given]


def given_track(by_frame: Sequence[Sequence[DetectedFace]]) -> list[FacesOfTrack]:
    """Return the one track of boxes that the caller gave; a frame without one takes that of the nearest frame."""
    nearest = nearest_with_face(list(map(bool, by_frame)))
    return [[(frame, by_frame[other][0]) for frame, other in enumerate(nearest)]] if nearest else []


def checked_faces(faces: str) -> int | None:
    """Return how many faces ``faces`` asks for, None for all; raise InputError for another word."""
    if faces not in FACES:
        raise InputError(f'`faces` is "all" or "largest", not {faces!r}')
    return None if faces == "all" else 1


def _checked_array(image: NDArray[Any]) -> Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"an image is {ACCEPTED}, not an array of {image.dtype} {list(image.shape)}")
    return image


def _is_pillow(image: object) -> bool:
    """Return True for a ``PIL.Image.Image`` or an instance of a subclass, without importing PIL."""
    return any((base.__module__, base.__name__) == ("PIL.Image", "Image") for base in type(image).__mro__)


def _frame_from_pillow(image: Any) -> Image:
    try:
        # A file is decoded here: PIL only reads the header before.
        return _checked_array(frame_from_pillow(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"the PIL image cannot be decoded ({error}): open the file again, or save it again") from error


def checked_indices(indices: Sequence[int] | None, frames: int) -> Sequence[int]:
    """Return the number of each frame in its source, by default its place; raise InputError for another length."""
    if indices is None:
        return range(frames)
    if len(indices) != frames:
        raise InputError(f"`indices` holds {len(indices)} numbers for {frames} frames: give one a frame")
    return indices


def counted_once(result: EmotionResult, read: Iterable[int], indices: Sequence[int]) -> EmotionResult:
    """Count the frames of a result by their numbers in the source, so that a repeated one counts once.

    Args:
        result: whose ``frame`` is a place in the clip.
        read: the places of the frames that were read.
        indices: the number of the frame at each place.
    """
    different = sorted(set(indices))
    return replace(result, frames=len({indices[place] for place in read}), frame=different.index(indices[result.frame]))
