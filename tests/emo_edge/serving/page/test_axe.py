"""axe-core's rules for people who see, hear or move otherwise, on the page as it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

GRAVE = ("serious", "critical")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "dark", **PHONE},
}


def ready(page: Page) -> None:
    page.locator("#server-state-text", has_text="Ready").wait_for()


def read_drawing(page: Page) -> None:
    """Read a drawing with everything that a card can show."""
    page.get_by_role("combobox", name="Task").select_option("expression")
    page.get_by_role("combobox", name="Answer").select_option("judgement")
    page.get_by_role("switch", name="Face facts").check(force=True)
    page.get_by_role("button", name="Read drawing 2", exact=True).click()
    page.locator("#results-title", has_text="(1)").wait_for()
    page.locator(".face .facts").wait_for()
    page.locator("#busy").wait_for(state="hidden")


def open_clip(page: Page) -> None:
    page.get_by_role("tab", name="Clip").click()


def go_live(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start camera").click()
    page.locator(".face-label").first.wait_for()
    page.get_by_role("button", name="Stop camera").click()


STATES: dict[str, Callable[[Page], None]] = {
    "ready": lambda page: None,
    "a drawing": read_drawing,
    "a clip": open_clip,
    "the camera": go_live,
}


def violations(page: Page) -> dict[str, list[str]]:
    """Return the elements that break a rule gravely, by rule."""
    sync_playwright = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-core: pip install axe-playwright-python"
    )
    # A colour on its way from one state to the next has the contrast of neither.
    page.emulate_media(reduced_motion="reduce")
    broken = sync_playwright.Axe().run(page).response["violations"]
    return {one["id"]: [node["html"] for node in one["nodes"]] for one in broken if one["impact"] in GRAVE}


def test_axe_finds_what_is_broken(page: Page) -> None:
    page.evaluate("document.querySelector('#task-name').closest('label').querySelector('span').remove()")
    page.evaluate("document.querySelector('#purpose-text').style.color = '#ccc'")
    assert {"select-name", "color-contrast"} <= set(violations(page))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_serious(open_page: Callable[..., Any], state: str, view: str) -> None:
    page, _ = open_page(**VIEWS[view])
    ready(page)
    STATES[state](page)
    assert violations(page) == {}
