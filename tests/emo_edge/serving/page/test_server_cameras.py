"""A camera of the server in a browser: chosen by name, shown with its boxes, without a camera of the browser's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_edge.media.images import read_image

SAMPLES = Path(__file__).parents[4] / "emo_edge" / "samples"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of one drawn face."""
    import av

    path, picture = tmp_path_factory.mktemp("camera") / "door.mp4", read_image(SAMPLES / "001-happiness.jpg")
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=5)
        track.height, track.width = picture.shape[:2]
        for _ in range(300):
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode())
    return path


def test_a_camera_of_the_server_is_shown(
    open_page: Callable[..., Any], in_process: Any, tiny_bundle: Path, video: Path
) -> None:
    with in_process(bundle=tiny_bundle, sources={"door": str(video)}) as server:
        page, _ = open_page(url=server.url + "/")
        page.locator("#server-state-text", has_text="Ready").wait_for()
        page.get_by_role("tab", name="Camera").click()
        choice = page.locator("#source-name")
        assert choice.locator("option").all_inner_texts() == ["This browser's camera", "door (server)"]
        choice.select_option("door")
        page.get_by_role("button", name="Start camera").click()
        page.locator(".face-label").first.wait_for()
        page.locator("#server-state-text", has_text="Live").wait_for()
        assert page.evaluate("document.getElementById('stage').dataset.empty") == "false"
        assert page.evaluate("document.getElementById('camera-video').srcObject") is None
        page.get_by_role("button", name="Stop camera").click()
        page.locator("#server-state-text", has_text="Ready").wait_for()
        choice.select_option("")
        assert page.get_by_role("button", name="Start camera").is_enabled()
        page.close()


def test_without_cameras_there_is_nothing_to_choose(page: Any) -> None:
    page.get_by_role("tab", name="Camera").click()
    assert page.locator("#source-name").is_hidden()
