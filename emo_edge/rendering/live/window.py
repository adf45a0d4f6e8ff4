"""A window with the live frames as they are drawn, where OpenCV has windows."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from emo_edge.errors import MissingExtraError
from emo_edge.inference.live.events import FrameEvent, LiveEvent
from emo_edge.media.crops import Image
from emo_edge.rendering.live.picture import live_picture
from emo_edge.rendering.live_writers import LiveWriter
from emo_edge.utils.opencv import open_cv2
from emo_edge.utils.text import readable_name

ELSE = "emo-edge serve shows the same in a browser"
KEYS = (ord("q"), 27)
"""That close the window: q and Escape."""
LARGEST = (1280, 720)
"""Width and height of a new window at most; the user may change them."""


class LiveWindow(LiveWriter):
    """A window a source; `over` is True once the user has closed one. Raises MissingExtraError where there are none."""

    def __init__(self, cv2: Any = None) -> None:
        self._cv2 = cv2 or open_cv2()
        gui = re.search(r"^\s*GUI:\s*(\S+)", self._cv2.getBuildInformation(), re.MULTILINE)
        if gui is None or gui[1] == "NONE":
            raise MissingExtraError(
                f"this OpenCV has no windows (opencv-python-headless, as pip installs it for emo-edge): {ELSE}; "
                "or install opencv-python in its place"
            )
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # Qt would end the process.
            raise MissingExtraError(f"there is no screen for a window (DISPLAY is not set): {ELSE}")
        self._open: set[str] = set()
        self.over = False

    def write(self, event: LiveEvent) -> None:
        """Show a frame."""
        if not isinstance(event, FrameEvent):
            return
        cv2, name = self._cv2, f"emo-edge live: {readable_name(event.source)}"
        if name in self._open and cv2.getWindowProperty(name, cv2.WND_PROP_VISIBLE) < 1:
            self.over = True
            return
        picture = live_picture(event)
        if name not in self._open:
            # Qt's own choice is 400 x 300, with a row of buttons above the picture.
            cv2.namedWindow(name, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(name, *_window_size(picture))
            self._open.add(name)
        cv2.imshow(name, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self.over = self.over or cv2.waitKey(1) & 0xFF in KEYS

    def end(self) -> None:
        """Close the windows."""
        if self._open:
            self._cv2.destroyAllWindows()
        self._open = set()


def _window_size(picture: Image) -> tuple[int, int]:
    height, width = picture.shape[:2]
    scale = min(LARGEST[0] / width, LARGEST[1] / height, 1.0)
    return max(round(width * scale), 1), max(round(height * scale), 1)
