"""The window of live frames, with an OpenCV that has windows, one that has none, and no screen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from emo_edge.errors import MissingExtraError
from emo_edge.inference.live.events import FrameEvent, SourceEvent
from emo_edge.rendering.live import window
from emo_edge.rendering.live.window import LiveWindow

FRAME = FrameEvent("0", 0, 0, 0.0, 1.0, (), {}, {}, {}, np.zeros((90, 120, 3), np.uint8))


class Windows:
    """OpenCV with windows: notes what is shown, and gives the keys that a test presses."""

    WND_PROP_VISIBLE, WINDOW_NORMAL, WINDOW_KEEPRATIO, WINDOW_GUI_NORMAL, COLOR_RGB2BGR = 4, 0, 0, 16, cv2.COLOR_RGB2BGR
    cvtColor = staticmethod(cv2.cvtColor)

    def __init__(self, gui: str = "QT5") -> None:
        self.gui, self.key, self.visible = gui, -1, 1.0
        self.shown: list[str] = []
        self.size = (400, 300)

    def getBuildInformation(self) -> str:
        return f"  GUI:   {self.gui}\n"

    def namedWindow(self, name: str, flags: int) -> None:
        self.shown.append(name)

    def resizeWindow(self, name: str, width: int, height: int) -> None:
        assert name in self.shown
        self.size = (width, height)

    def imshow(self, name: str, picture: Any) -> None:
        assert picture.dtype == np.uint8 and name in self.shown

    def getWindowProperty(self, name: str, number: int) -> float:
        return self.visible

    def waitKey(self, milliseconds: int) -> int:
        return self.key

    def destroyAllWindows(self) -> None:
        self.shown.clear()


@pytest.fixture(autouse=True)
def _screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":0")


def test_frames_are_shown_until_a_key() -> None:
    windows = Windows()
    view = LiveWindow(windows)
    view.write(SourceEvent("0", "playing", "", 0.0))
    assert not windows.shown
    view.write(FRAME)
    assert windows.shown == ["emo-edge live: 0"] and not view.over
    windows.key = ord("q")
    view.write(FRAME)
    assert view.over
    view.end()
    assert not windows.shown


@pytest.mark.parametrize(("frame", "size"), [((800, 720), (800, 720)), ((3840, 2160), (1280, 720))])
def test_a_window_is_as_large_as_its_frames_but_no_larger_than_a_screen(
    frame: tuple[int, int], size: tuple[int, int]
) -> None:
    windows = Windows()
    LiveWindow(windows).write(replace(FRAME, image=np.zeros((frame[1], frame[0], 3), np.uint8)))
    assert windows.size == size


def test_a_window_that_is_closed_ends_it() -> None:
    windows = Windows()
    view = LiveWindow(windows)
    view.write(FRAME)
    windows.visible = 0.0
    view.write(FRAME)
    assert view.over


def test_without_windows_the_error_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingExtraError, match="emo-edge serve"):
        LiveWindow(Windows("NONE"))
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(MissingExtraError, match=r"DISPLAY is not set.*emo-edge serve"):
        LiveWindow(Windows())
