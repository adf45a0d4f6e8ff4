"""Open OpenCV where it is needed, without its messages on stderr."""

from __future__ import annotations

import os
from typing import Any

from emo_edge.errors import MissingExtraError
from emo_edge.utils.extras import unloadable

_QUIET = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


def open_cv2() -> Any:
    """Import cv2 and silence it; raise MissingExtraError naming the install command.

    Every failure it would print comes back as an error of ours. Set the environment variables OPENCV_LOG_LEVEL and
    OPENCV_FFMPEG_LOGLEVEL to see its messages again.
    """
    loud = "OPENCV_LOG_LEVEL" in os.environ and os.environ["OPENCV_LOG_LEVEL"] != _QUIET["OPENCV_LOG_LEVEL"]
    for name, level in _QUIET.items():
        os.environ.setdefault(name, level)
    try:
        import cv2
    except ImportError as error:
        if "multiarray" in str(error):
            raise MissingExtraError(
                f"OpenCV cannot be loaded ({error}): it was built for NumPy 1, as JetPack's is. "
                "Run: pip install 'numpy<2'"
            ) from error
        raise unloadable("cv2", error) from error
    # The variable is read once, at the first import: an earlier import of cv2 left it loud.
    logs = getattr(getattr(cv2, "utils", None), "logging", None)
    if logs is not None and not loud:
        logs.setLogLevel(logs.LOG_LEVEL_SILENT)
    return cv2
