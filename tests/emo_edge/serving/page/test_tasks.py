"""Affective tasks on the page: by mouse and by keyboard, as a screen reader meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.emo_edge.serving.page.test_reading import downloaded, read_sample

if TYPE_CHECKING:
    from playwright.sync_api import Page


def answered(page: Page) -> Any:
    """Return the task of the newest result, once it is there."""
    page.locator("#busy").wait_for(state="hidden")
    [result] = json.loads(downloaded(page, "#download-json"))
    return result["readings"][0].get("task")


def test_a_task_is_answered_in_each_of_its_forms(page: Page) -> None:
    read_sample(page, 2)
    assert answered(page) is None
    task, answer = (page.get_by_role("combobox", name=name) for name in ("Task", "Answer"))
    task.select_option("expression")
    assert page.get_by_role("combobox", name="Labels").is_hidden(), "a task has labels of its own"
    page.locator(".face-label", has_text="happiness").wait_for()
    assert answered(page)["answer"] == "choice"
    answer.select_option("judgement")
    page.get_by_role("combobox", name="Does this label hold?").select_option("happiness")
    page.locator(".face-label", has_text="happiness: yes").wait_for()
    page.locator("#status", has_text="%: yes").wait_for(state="attached")
    assert page.locator(".face-sure").inner_text() == "", "the label's probability is not that of the yes"
    assert "probability of happiness" in page.locator(".face-note").inner_text()
    answer.select_option("open")
    page.locator(".answer").wait_for()
    assert page.locator(".face-label").inner_text() == "Expression, in words"
    assert answered(page)["answer"] == "open"
    task.select_option("")
    page.locator(".face-label", has_text="happiness").wait_for()
    assert page.get_by_role("combobox", name="Labels").is_visible()
    assert answered(page) is None


def test_action_units_are_judged(page: Page) -> None:
    page.get_by_role("combobox", name="Task").select_option("au")
    page.get_by_role("combobox", name="Answer").select_option("judgement")
    page.get_by_role("combobox", name="Does this label hold?").select_option("AU12")
    read_sample(page, 2)
    page.locator(".face-label", has_text="AU12: yes").wait_for()
    assert "no feelings" in page.locator("#task-hint").inner_text()


def test_the_keyboard_chooses_a_task(page: Page) -> None:
    read_sample(page, 2)
    page.get_by_role("combobox", name="Task").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.locator("#answer-choice").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "task-answer"
    assert answered(page)["name"] in ("au", "expression")


def test_the_camera_has_labels_and_no_task(page: Page) -> None:
    page.get_by_role("combobox", name="Task").select_option("expression")
    page.get_by_role("tab", name="Camera").click()
    assert page.get_by_role("combobox", name="Task").is_hidden()
    assert page.get_by_role("combobox", name="Labels").is_visible()
    page.get_by_role("tab", name="Pictures").click()
    assert page.get_by_role("combobox", name="Task").input_value() == "expression"


@pytest.mark.parametrize(
    ("recording", "said"), [("readings", "stores every reading."), ("pictures", "every reading and every picture.")]
)
def test_a_recording_is_always_said(open_page: Callable[..., Any], recording: str, said: str) -> None:
    def changed(page: Page) -> None:
        def answer(route: Any) -> None:
            response = route.fetch()
            route.fulfill(response=response, json={**response.json(), "recording": recording})

        page.route("**/v1/info", answer)

    page, _ = open_page(before=changed)
    page.locator("#server-state-text", has_text="Ready").wait_for()
    assert page.locator("#recording").inner_text().endswith(said)
    assert "not stored" not in page.locator("body").inner_text()
    page.get_by_role("tab", name="Camera").click()
    assert "nothing is stored" not in page.locator("body").inner_text()
