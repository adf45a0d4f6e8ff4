"""A browser for the page: Debian's Chromium, driven by Playwright, with a camera that films packaged drawings."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright

SAMPLES = Path(__file__).parents[4] / "emo_edge" / "samples"
NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 20_000
"""For one answer of a busy machine."""
FILM_SIZE = (480, 360)
FILM_FPS = 10


@dataclass
class Watch:
    """Requests and console lines of a page, which a person does not see."""

    origin: str
    elsewhere: list[str] = field(default_factory=list)
    """Requests to another origin."""
    troubles: list[str] = field(default_factory=list)
    """Errors of scripts, and whatever the browser wrote on its console: violations of the policy are there."""
    expected: tuple[str, ...] = ()
    """Parts of lines of the console that a test causes."""

    def follow(self, page: Page) -> None:
        page.on("console", self._read)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: self._check(request.url))
        page.on("websocket", lambda socket: self._check(socket.url.replace("ws", "http", 1)))

    def _read(self, message: ConsoleMessage) -> None:
        if not any(part in message.text for part in self.expected):
            self.troubles.append(f"{message.type}: {message.text}")

    def _check(self, url: str) -> None:
        if not url.startswith((f"{self.origin}/", "blob:", "data:")):
            self.elsewhere.append(url)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's browser."""
    path = next((path for name in NAMES if (path := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on the PATH: apt-get install chromium")
    return path


@pytest.fixture(scope="module")
def playwright(chromium: str) -> Iterator[Playwright]:
    """Playwright, without the browsers that it brings.

    For one module: while it runs, its event loop counts as running in this thread, and other tests start their own.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page in a browser: pip install playwright")
    with sync_api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film for the browser's camera, uncompressed: one drawn face, then another one, again and again."""
    cv2 = pytest.importorskip("cv2")
    width, height = FILM_SIZE
    path = tmp_path_factory.mktemp("film") / "drawings.y4m"
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{FILM_FPS}:1 Ip A1:1 C420mpeg2\n".encode())
        for name in ("001-happiness.jpg", "006-anger.jpg"):
            frame = np.full((height, width, 3), 200, np.uint8)
            side = height - 20
            left = (width - side) // 2
            frame[10:-10, left : left + side] = cv2.resize(cv2.imread(str(SAMPLES / name)), (side, side))
            planes = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes()
            file.write(b"".join(b"FRAME\n" + planes for _ in range(3 * FILM_FPS)))
    return path


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: str, film: Path) -> Iterator[Browser]:
    """A browser with a camera that it gives to every page."""
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    running = playwright.chromium.launch(
        executable_path=chromium, args=["--no-sandbox", *camera, f"--use-file-for-fake-video-capture={film}"]
    )
    yield running
    running.close()


@pytest.fixture
def open_page(browser: Browser, server_url: str) -> Iterator[Callable[..., tuple[Page, Watch]]]:
    """Open the page with options of a browser's context; at the end nothing may have gone wrong unseen."""
    watches: list[Watch] = []
    contexts = []

    def opened(
        *,
        url: str = server_url,
        before: Callable[[Page], object] | None = None,
        expected: tuple[str, ...] = (),
        **options: Any,
    ) -> tuple[Page, Watch]:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        watch = Watch(url.rstrip("/"), expected=expected)
        watches.append(watch)
        watch.follow(page)
        if before:
            before(page)
        page.goto(url)
        return page, watch

    yield opened
    for context in contexts:
        for page in context.pages:
            page.unroute_all(behavior="ignoreErrors")
        context.close()
    for watch in watches:
        assert watch.troubles == []
        assert watch.elsewhere == []


@pytest.fixture
def page(open_page: Callable[..., tuple[Page, Watch]]) -> Page:
    """The page as a person with a desktop opens it, ready to read."""
    opened, _ = open_page()
    opened.locator("#server-state-text", has_text="Ready").wait_for()
    return opened
