"""Troubles are plain sentences with the next step: errors of the server, a refused camera, http, a token."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

SAMPLES = Path(__file__).parents[4] / "emo_edge" / "samples"
HAPPY = SAMPLES / "001-happiness.jpg"
REFUSING = ["--no-sandbox", "--use-fake-device-for-media-stream", "--deny-permission-prompts"]
FAILED_LOADS = ("Failed to load resource",)
"""The browser writes these on its console, whatever the page does about them."""
TOKEN = "open-sesame?>~"
SENTENCES = {
    413: "Make it smaller and try again.",
    415: "Save it as JPEG, PNG or WebP and try again.",
    429: "The server is busy. Try again in 0 seconds.",
    500: "Its log says why",
    503: "Try again in a moment.",
    504: "Try again, or choose a smaller picture.",
}


@pytest.fixture
def ready(open_page: Callable[..., Any]) -> Page:
    page: Page
    page, _ = open_page(expected=FAILED_LOADS)
    page.locator("#server-state-text", has_text="Ready").wait_for()
    return page


@pytest.mark.parametrize("status", SENTENCES)
def test_every_refusal_is_a_sentence(ready: Page, status: int) -> None:
    error = {"error": {"message": "an internal name", "type": "error", "param": None, "code": "x"}}
    asked: list[int] = []

    def refuse(route: Any) -> None:
        asked.append(status)
        route.fulfill(status=status, json=error, headers={"Retry-After": "0"} if status == 429 else {})

    ready.route("**/v1/readings", refuse)
    ready.locator("#picture-files").set_input_files(HAPPY)
    ready.locator("#notice-text", has_text=SENTENCES[status]).wait_for()
    assert "internal" not in ready.locator("#notice-text").inner_text()
    assert len(asked) == (4 if status == 429 else 1)
    ready.locator("#status", has_text=SENTENCES[status]).wait_for(state="attached")
    ready.unroute("**/v1/readings")
    ready.locator("#picture-files").set_input_files(HAPPY)
    ready.locator(".face-label", has_text="happiness").wait_for()
    assert ready.locator("#notice").is_hidden()


def test_a_damaged_picture_is_a_sentence(ready: Page, tmp_path: Path) -> None:
    path = tmp_path / "damaged.jpg"
    path.write_bytes(b"no picture at all")
    ready.locator("#picture-files").set_input_files(path)
    ready.locator("#notice-text", has_text="Save").wait_for()


def test_a_file_that_is_no_picture_is_a_sentence(ready: Page) -> None:
    ready.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File(["x"], "x.pdf", { type: "application/pdf" }));
          document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
        }"""
    )
    ready.locator("#notice-text", has_text="These files are no pictures.").wait_for()


def test_a_server_that_is_gone_comes_back(ready: Page) -> None:
    ready.context.set_offline(True)
    ready.locator("#picture-files").set_input_files(HAPPY)
    ready.locator("#notice-text", has_text="Check that “emo-edge serve” is running").wait_for()
    ready.locator("#server-state-text", has_text="Offline").wait_for()
    ready.context.set_offline(False)
    ready.locator("#server-state-text", has_text="Ready").wait_for()
    assert ready.locator("#notice").is_hidden()


def test_a_page_without_a_secure_address_says_what_to_do(open_page: Callable[..., Any], server_url: str) -> None:
    address = "http://edge.test/"

    def carry(page: Page) -> None:
        def fetch(route: Any) -> None:
            # Without the headers of the other address, which the server would refuse.
            here = route.request.url.replace(address, f"{server_url}/")
            route.fulfill(response=route.fetch(url=here, headers={"accept": "*/*"}))

        page.route(f"{address}**", fetch)

    page, _ = open_page(url=address, before=carry, expected=("Cross-Origin-Opener-Policy",))
    page.locator("#server-state-text", has_text="Ready").wait_for()
    page.get_by_role("tab", name="Camera").click()
    assert page.get_by_role("button", name="Start camera").is_disabled()
    help_text = page.locator("#camera-help").inner_text()
    assert "ssh -L" in help_text
    assert "--tls-cert" in help_text
    assert "http://127.0.0.1" in help_text
    page.get_by_role("tab", name="Pictures").click()
    page.get_by_role("button", name="Read drawing 2", exact=True).wait_for()
    page.wait_for_load_state("networkidle")


@pytest.fixture
def refusing_browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """A browser that refuses the camera, as after a person's no."""
    running = playwright.chromium.launch(executable_path=chromium, args=REFUSING)
    yield running
    running.close()


def test_a_refused_camera_says_what_to_do(refusing_browser: Browser, server_url: str) -> None:
    page = refusing_browser.new_page()
    page.goto(server_url)
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start camera").click()
    page.locator("#notice-text", has_text="Allow it in the address bar").wait_for()
    assert page.get_by_role("button", name="Start camera").is_enabled()


def test_a_token_is_asked_for_and_stays_out_of_addresses(open_page: Callable[..., Any]) -> None:
    asked: list[str] = []

    def guard(page: Page) -> None:
        def check(route: Any) -> None:
            asked.append(route.request.url)
            if route.request.headers.get("authorization") == f"Bearer {TOKEN}":
                route.fallback()
            else:
                error = {"error": {"message": "token", "type": "auth", "param": None, "code": "token"}}
                route.fulfill(status=401, json=error)

        page.route("**/v1/**", check)
        page.add_init_script(
            "window.WebSocket = class extends WebSocket { constructor(url, protocols)"
            " { super(url, protocols); window.offered = protocols; } };"
        )

    page, _ = open_page(before=guard, permissions=["camera"], expected=FAILED_LOADS)
    dialog = page.get_by_role("dialog", name="This server asks for a token")
    dialog.wait_for()
    page.get_by_role("textbox", name="Token").fill("wrong")
    page.get_by_role("button", name="Continue").click()
    page.locator("#token-error", has_text="does not accept this token").wait_for()
    page.get_by_role("textbox", name="Token").fill(f" {TOKEN} ")
    page.keyboard.press("Enter")
    dialog.wait_for(state="hidden")
    page.get_by_role("button", name="Read drawing 2", exact=True).click()
    page.locator(".face-label", has_text="happiness").wait_for()
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start camera").click()
    page.locator("#server-state-text", has_text="Live").wait_for()
    offered = page.evaluate("window.offered")
    encoded = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
    assert offered == ["emo-edge.live.1", f"token.{encoded}"]
    assert not [url for url in asked if "sesame" in url]
    page.reload()
    page.locator("#server-state-text", has_text="Ready").wait_for()
