"""The camera in a browser: frames go to the server one at a time, boxes and labels come back."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[4]
SCHEMA = json.loads((ROOT / "emo_edge" / "schemas" / "live-event-1.json").read_text(encoding="utf-8"))
ANNOUNCEMENT_GAP_MS = 1000
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Does what another tab in front does."""
WATCH_STATUS = """() => {
  window.announced = [];
  new MutationObserver(() => window.announced.push(performance.now()))
    .observe(document.getElementById("status"), { childList: true, characterData: true, subtree: true });
}"""


RECORD = """
window.traffic = [];
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    sockets.push(this);
    this.addEventListener("message", ({ data }) => traffic.push(JSON.parse(data).kind));
  }
  send(data) {
    traffic.push(typeof data === "string" ? "text" : "picture");
    super.send(data);
  }
};
"""
"""Keeps what goes over the page's WebSockets, in its order: the browser's own log leaves out binary messages."""
CLOSED = "window.sockets.at(-1).readyState >= WebSocket.CLOSING"


@pytest.fixture
def live(open_page: Callable[..., Any]) -> Page:
    """The page with its camera on and a face read."""
    page: Page
    page, _ = open_page(permissions=["camera"], before=lambda page: page.add_init_script(RECORD))
    start(page)
    page.locator(".face-label", has_text="happiness").wait_for()
    return page


def start(page: Page) -> None:
    page.locator("#server-state-text", has_text="Ready").wait_for()
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start camera").click()


def traffic_of(page: Page) -> list[str]:
    lines: list[str] = page.evaluate("window.traffic")
    return lines


def downloaded(page: Page, button: str) -> str:
    with page.expect_download() as download:
        page.locator(button).click()
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_faces_are_read_live(live: Page) -> None:
    page = live
    assert page.locator("#server-state-text").inner_text() == "Live"
    page.locator("#stat-rate", has_text=".").wait_for()
    page.locator("#stat-age", has_text="s").wait_for()
    assert page.locator("#stat-skipped").inner_text().isdigit()
    page.locator(".face-label", has_text="anger").wait_for()
    assert page.locator(".face-name").first.inner_text().startswith("#")
    page.get_by_role("button", name="Stop camera").click()
    page.locator("#server-state-text", has_text="Ready").wait_for()
    lines = traffic_of(page)
    assert lines[0] == "hello"
    assert "picture" in lines
    assert one_in_flight(lines)


def one_in_flight(lines: list[str]) -> bool:
    """Return whether each picture but the last was answered before the next one was sent."""
    flow = [line for line in lines if line in ("picture", "frame", "refused")]
    return all(line == ("picture", "frame")[place % 2] for place, line in enumerate(flow))


def test_the_check_of_the_flow_finds_what_it_is_for() -> None:
    assert one_in_flight(["hello", "picture", "track", "frame", "picture"])
    assert not one_in_flight(["hello", "picture", "picture", "frame", "frame"])


def test_events_are_downloaded(live: Page) -> None:
    page = live
    page.get_by_role("button", name="Stop camera").click()
    events = [json.loads(line) for line in downloaded(page, "#download-live-json").splitlines()]
    for event in events:
        Draft202012Validator(SCHEMA).validate(event)
    rows = list(csv.DictReader(downloaded(page, "#download-live-csv").splitlines()))
    assert len(rows) == sum(len(event["faces"]) for event in events if event["kind"] == "frame")
    assert "happiness" in {row["label"] for row in rows}


def test_labels_change_while_the_camera_is_on(live: Page) -> None:
    page = live
    page.get_by_role("combobox", name="Labels").select_option("affectnet8")
    page.locator(".bar", has_text="contempt").wait_for()
    assert traffic_of(page).count("hello") == 2
    page.get_by_role("combobox", name="Labels").select_option("")
    page.locator(".bar", has_text="contempt").wait_for(state="detached")
    page.locator(".bar").first.wait_for()


def test_a_hidden_tab_sends_nothing(live: Page) -> None:
    page = live
    page.evaluate(HIDE, True)
    assert page.evaluate(CLOSED)
    sent = traffic_of(page).count("picture")
    page.wait_for_timeout(500)
    assert traffic_of(page).count("picture") == sent
    assert page.evaluate("document.getElementById('camera-video').srcObject") is None
    page.evaluate(HIDE, False)
    page.locator(".face-label").first.wait_for()
    assert page.locator("#server-state-text").inner_text() == "Live"


def test_another_tab_of_the_page_releases_the_camera(live: Page) -> None:
    page = live
    page.get_by_role("tab", name="Pictures").click()
    assert page.evaluate("document.getElementById('camera-video').srcObject") is None
    assert page.locator("#faces li").count() == 0
    assert page.evaluate(CLOSED)


@pytest.mark.slow
def test_announcements_keep_their_distance(live: Page) -> None:
    page = live
    page.evaluate(WATCH_STATUS)
    page.wait_for_timeout(7000)
    times = page.evaluate("window.announced")
    assert times
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap > ANNOUNCEMENT_GAP_MS - 5 for gap in gaps)


def test_a_lost_connection_comes_back(open_page: Callable[..., Any]) -> None:
    attempts: list[int] = []

    def cut_first(page: Page) -> None:
        def connect(socket: Any) -> None:
            attempts.append(len(attempts))
            server = socket.connect_to_server()
            if len(attempts) > 1:
                return
            count = [0]

            def pass_on(message: Any) -> None:
                count[0] += 1
                if count[0] > 3:
                    socket.close(code=1001, reason="")
                else:
                    socket.send(message)

            server.on_message(pass_on)

        page.route_web_socket("**/v1/live", connect)

    page, _ = open_page(permissions=["camera"], before=cut_first)
    start(page)
    page.locator("#notice-text", has_text="The page connects again").wait_for(state="attached")
    page.locator("#notice").wait_for(state="hidden")
    page.locator(".face-label").first.wait_for()
    assert len(attempts) == 2


@pytest.mark.slow
def test_labels_grow_old_while_the_server_is_silent(open_page: Callable[..., Any]) -> None:
    def silence(page: Page) -> None:
        def connect(socket: Any) -> None:
            server = socket.connect_to_server()
            labelled: list[bool] = []

            def pass_on(message: Any) -> None:
                if not labelled:
                    socket.send(message)
                if any(face["label"] for face in json.loads(message).get("faces", ())):
                    labelled.append(True)

            server.on_message(pass_on)

        page.route_web_socket("**/v1/live", connect)

    page, _ = open_page(permissions=["camera"], before=silence)
    start(page)
    page.locator("#stage-badge", has_text="Waiting for the server").wait_for()
    page.locator(".face-note", has_text=re.compile(r"label [2-9]\.\d s old")).wait_for()
    page.locator("#faces-empty", has_text="no fresh labels").wait_for()
    assert page.locator(".face").count() == 0


PULSE = """async (bpm) => {
  const { PulseMeter } = await import("/page/pulse.js");
  const meter = new PulseMeter();
  meter.reset("1");
  const wave = (at) => Math.sin((2 * Math.PI * bpm * at) / 60);
  const noise = (frame) => Math.sin(frame * 12.9898) * 0.02;
  const skin = (red, green, blue) => [150 + red, 110 + green, 90 + blue];
  const colour = (frame, at) => skin(0.3 * wave(at) + noise(frame), wave(at) + noise(frame + 9), 0.5 * wave(at));
  for (let frame = 0; frame < 12 * 30; frame++) meter.add(bpm ? colour(frame, frame / 30) : null, frame / 30);
  await meter.ask();
  return [document.getElementById("pulse-rate").textContent, document.getElementById("pulse-note").textContent];
}"""
"""Colours of twelve seconds, as a camera gives them; without a rate there is no face."""


def test_colours_become_a_pulse_or_a_reason(page: Page) -> None:
    rate, note = page.evaluate(PULSE, 72)
    assert rate == "72"
    assert "SNR" in note
    rate, note = page.evaluate(PULSE, 0)
    assert rate == "–"
    assert "the face is lost" in note


def test_the_skin_of_the_camera_is_read(live: Page) -> None:
    card = live.locator("#pulse-card")
    assert "Not a medical device" in card.inner_text()
    live.get_by_role("switch", name="Measure").check(force=True)
    live.locator("#pulse-note", has_text=re.compile(r"Measuring: [1-8] of 8 s")).wait_for()
    live.locator("#camera-toggle").click()
    assert not card.is_visible()


def test_dark_and_saturated_pixels_do_not_count(page: Page) -> None:
    mean = """async () => {
      const { meanColour } = await import("/page/pulse.js");
      const pixels = [[100, 60, 40, 255], [120, 80, 60, 255], [15, 9, 3, 255], [250, 80, 60, 255], [90, 90, 90, 0]];
      return [meanColour(new Uint8ClampedArray(pixels.flat())), meanColour(new Uint8ClampedArray([0, 0, 0, 255]))];
    }"""
    assert page.evaluate(mean) == [[110, 70, 50], None]
