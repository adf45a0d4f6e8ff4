"""The page for everybody: keyboard, names for screen readers, narrow screens, reduced motion."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

TABS = ("Camera", "Pictures", "Clip")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
NAMED_ROLES = ("button", "checkbox", "combobox", "img", "link", "spinbutton", "switch", "tab", "tabpanel", "textbox")
FOCUSED = "(({ activeElement: at }) => at.id || at.getAttribute('aria-label') || at.textContent)(document)"
ORDER = (
    "tab-pictures",
    "choose-pictures",
    "Read drawing 1",
    "profile-name",
    "label-set",
    "which-faces",
    "face-facts",
    "demographics",
)
MOST_STEPS = 60


def read_sample(page: Page) -> None:
    page.get_by_role("button", name="Read drawing 2", exact=True).click()
    page.locator("#results li").first.wait_for()


def reached(page: Page) -> list[str]:
    """Press Tab from the start of the page to its end; return what had the focus."""
    names: list[str] = []
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        name = page.evaluate(FOCUSED)
        if page.evaluate("document.activeElement === document.body"):
            break
        names.append(name)
    return names


def test_the_keyboard_reaches_everything(page: Page) -> None:
    names = reached(page)
    assert names[0] == "Skip to the pictures"
    places = [names.index(name) for name in ORDER]
    assert places == sorted(places)


def test_a_drawing_is_read_with_the_keyboard_alone(page: Page) -> None:
    page.get_by_role("button", name="Read drawing 2", exact=True).focus()
    page.keyboard.press("Enter")
    page.locator(".face-label", has_text="happiness").wait_for()
    page.get_by_role("switch", name="Face facts").focus()
    page.keyboard.press("Space")
    page.locator(".face .facts", has_text="Head pose").wait_for()


def test_arrow_keys_change_the_tab(page: Page) -> None:
    page.get_by_role("tab", name="Pictures").focus()
    for key, name in (("ArrowRight", "Clip"), ("ArrowRight", "Camera"), ("End", "Clip"), ("Home", "Camera")):
        page.keyboard.press(key)
        tab = page.get_by_role("tab", name=name)
        assert tab.get_attribute("aria-selected") == "true"
        assert tab.evaluate("node => node === document.activeElement")
        assert page.get_by_role("tabpanel", name=name).is_visible()
    assert page.get_by_role("tab", selected=True).count() == 1


def test_the_focus_can_be_seen(page: Page) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("tab", TABS)
def test_every_control_has_a_name(page: Page, tab: str) -> None:
    read_sample(page)
    page.get_by_role("tab", name=tab).click()
    page.get_by_role("combobox", name="Labels").select_option(label="My own labels …")
    snapshot = page.locator("body").aria_snapshot()
    controls = re.findall(rf"^\s*- ({'|'.join(NAMED_ROLES)})\b(.*)$", snapshot, re.MULTILINE)
    assert len(controls) > 12
    assert [line for line in controls if not re.match(r' "\S', line[1])] == []


def test_headings_and_landmarks_are_there(page: Page) -> None:
    assert page.get_by_role("heading", level=1).count() == 1
    for role in ("banner", "main"):
        assert page.get_by_role(role).count() == 1  # type: ignore[arg-type]
    assert page.get_by_role("status").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_in_one_direction(open_page: Callable[..., Any], tab: str, width: int) -> None:
    page, _ = open_page(**{**PHONE, "viewport": {"width": width, "height": 700}})
    page.locator("#server-state-text", has_text="Ready").wait_for()
    read_sample(page)
    page.get_by_role("tab", name=tab).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_touch_targets_are_large_enough(open_page: Callable[..., Any]) -> None:
    page, _ = open_page(**PHONE)
    page.locator("#server-state-text", has_text="Ready").wait_for()
    boxes = page.evaluate(
        "[...document.querySelectorAll('button, select, .switch, summary')].filter((node) => node.offsetParent)"
        ".map((node) => [node.id || node.textContent, node.offsetWidth, node.offsetHeight])"
    )
    assert [box for box in boxes if box[1] < 24 or box[2] < 24] == []


def test_reduced_motion_is_kept_still(open_page: Callable[..., Any]) -> None:
    page, _ = open_page(reduced_motion="reduce")
    page.locator("#server-state-text", has_text="Ready").wait_for()
    moving = page.evaluate(
        "[...document.querySelectorAll('*')].filter((node) => { const style = getComputedStyle(node);"
        " return style.animationName !== 'none' || parseFloat(style.transitionDuration) > 0; }).length"
    )
    assert moving == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_scheme_of_the_system_is_followed(open_page: Callable[..., Any], scheme: str) -> None:
    page, _ = open_page(color_scheme=scheme)
    red = int(re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[0])
    assert (red > 200) == (scheme == "light")
