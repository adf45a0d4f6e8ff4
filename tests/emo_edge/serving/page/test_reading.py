"""Pictures and clips in a browser: packaged drawings, files, pasted and dropped ones, settings, downloads."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from emo_edge.bundle.reader import read_manifest
from emo_edge.inference.rows import columns, unit_columns

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[4]
SAMPLES = ROOT / "emo_edge" / "samples"
HAPPY, ANGRY = SAMPLES / "001-happiness.jpg", SAMPLES / "006-anger.jpg"
SCHEMA = json.loads((ROOT / "emo_edge" / "schemas" / "result-2.json").read_text(encoding="utf-8"))
FRAMES = 4
TOO_MANY = 6200
"""Pixels of a side of a picture that the server does not take."""
CROWD = ("001-happiness.jpg", "005-disgust.jpg", "006-anger.jpg", "011-fear.jpg")
GIVE_FILE = """([selector, kind, name, type, text]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type }));
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste" ? new ClipboardEvent(kind, { ...options, clipboardData: data })
    : new DragEvent(kind, { ...options, dataTransfer: data });
  document.querySelector(selector).dispatchEvent(event);
}"""
"""Gives a file to the page as the browser does when somebody pastes or drops it."""


def read_sample(page: Page, number: int) -> None:
    page.get_by_role("button", name=f"Read drawing {number}", exact=True).click()
    wait_for_results(page, 1)


def wait_for_results(page: Page, count: int) -> None:
    page.locator("#results-title", has_text=f"({count})").wait_for()
    page.locator("#busy").wait_for(state="hidden")


def give(page: Page, kind: str, path: Path) -> None:
    text = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(GIVE_FILE, ["body", kind, path.name, "image/jpeg", text])


def downloaded(page: Page, button: str) -> str:
    with page.expect_download() as download:
        page.locator(button).click()
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_the_page_says_what_it_is(page: Page) -> None:
    assert page.title().endswith("emo-edge")
    assert "never seen a photograph of a person" in page.locator("#purpose").inner_text()
    assert page.locator("#device").inner_text() == "cpu"
    assert page.locator("#profile").inner_text()
    promises = page.locator(".promises").inner_text()
    assert "this server only and are not stored" in promises
    assert "not an emotion" in promises


def test_the_purpose_stays_in_sight(page: Page) -> None:
    page.mouse.wheel(0, 5000)
    box = page.locator("#purpose").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 120


def test_a_packaged_drawing_is_read(page: Page) -> None:
    read_sample(page, 2)
    assert page.locator(".face-label").inner_text() == "happiness"
    assert page.locator(".bar").count() == 7
    assert "happiness" in page.locator("#stage-canvas").get_attribute("aria-label")
    page.locator("#status", has_text="happiness").wait_for(state="attached")


def test_files_are_read_one_after_the_other(page: Page) -> None:
    page.locator("#picture-files").set_input_files([HAPPY, ANGRY])
    wait_for_results(page, 2)
    assert page.locator(".result-name").all_inner_texts() == [ANGRY.name, HAPPY.name]
    assert page.locator(".face-label").inner_text() == "anger"
    page.locator(".result").nth(1).click()
    page.locator(".face-label", has_text="happiness").wait_for()


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped(page: Page, kind: str) -> None:
    give(page, kind, HAPPY)
    wait_for_results(page, 1)
    assert page.locator(".result-name").inner_text() == HAPPY.name
    assert page.locator("#drop-veil").is_hidden()


def test_face_facts_are_shown_on_request_alone(page: Page) -> None:
    read_sample(page, 2)
    assert page.locator(".face .facts").count() == 0
    page.get_by_role("switch", name="Face facts").check(force=True)
    page.locator(".face .facts", has_text="Head pose").wait_for()
    assert "Age" not in page.locator(".face .facts").inner_text()
    page.get_by_role("switch", name="Age, gender, race").check(force=True)
    page.locator(".face .facts", has_text="Age (a guess)").wait_for()
    page.get_by_role("switch", name="Face facts").uncheck(force=True)
    page.locator(".face .facts", has_text="Head pose").wait_for(state="detached")
    assert page.locator("#results li").count() == 1


def test_labels_are_changed(page: Page) -> None:
    read_sample(page, 2)
    page.get_by_role("combobox", name="Labels").select_option("affectnet8")
    page.locator(".bar", has_text="contempt").wait_for()
    page.get_by_role("combobox", name="Labels").select_option(label="My own labels …")
    page.get_by_role("textbox", name="Own labels").fill("happiness, anger,, anger")
    page.get_by_role("textbox", name="Own labels").press("Enter")
    page.locator("#label-hint", has_text="In use: happiness, anger").wait_for()
    page.locator(".bar", has_text="contempt").wait_for(state="detached")
    assert sorted(page.locator(".bar-name").all_inner_texts()) == ["anger", "happiness"]


def test_one_own_label_is_too_few(page: Page) -> None:
    page.get_by_role("combobox", name="Labels").select_option(label="My own labels …")
    page.get_by_role("textbox", name="Own labels").fill("joy")
    page.get_by_role("button", name="Use", exact=True).click()
    assert page.locator("#notice-text").inner_text() == "Write at least two labels, separated by commas."


def test_results_are_downloaded(page: Page, tiny_bundle: Path) -> None:
    page.locator("#picture-files").set_input_files([HAPPY, ANGRY])
    wait_for_results(page, 2)
    results = json.loads(downloaded(page, "#download-json"))
    assert [result["source"] for result in results] == [HAPPY.name, ANGRY.name]
    for result in results:
        Draft202012Validator(SCHEMA).validate(result)
    header, *rows = csv.reader(downloaded(page, "#download-csv").splitlines())
    reading = results[0]["readings"][0]
    assert header == columns(reading["settings"]["labels"], units=unit_columns(read_manifest(tiny_bundle)))
    assert [row[header.index("label")] for row in rows] == ["happiness", "anger"]
    page.get_by_role("button", name="Clear", exact=True).click()
    assert page.locator("#result-downloads").is_hidden()


def test_frames_of_a_video_are_read_as_one_clip(page: Page, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Clip").click()
    page.locator("#video-file").set_input_files(drawn_video(tmp_path / "happy.webm"))
    page.get_by_role("spinbutton", name="Frames").fill(str(FRAMES))
    page.get_by_role("button", name="Read this clip").click()
    wait_for_results(page, 1)
    assert page.locator("#frame-strip img").count() == FRAMES
    assert page.locator(".face-label").inner_text() == "happiness"
    [result] = json.loads(downloaded(page, "#download-json"))
    assert (result["kind"], result["source"]) == ("clip", "happy.webm")
    assert result["readings"][0]["frames"] == FRAMES


def test_pictures_are_read_as_one_clip(page: Page) -> None:
    page.get_by_role("tab", name="Clip").click()
    page.locator("#frame-files").set_input_files([HAPPY, SAMPLES / "008-happiness.jpg"])
    page.get_by_role("button", name="as one clip").click()
    wait_for_results(page, 1)
    [result] = json.loads(downloaded(page, "#download-json"))
    assert result["kind"] == "clip"


def test_one_picture_is_no_clip(page: Page) -> None:
    page.get_by_role("tab", name="Clip").click()
    page.locator("#frame-files").set_input_files([HAPPY])
    assert "at least two pictures" in page.locator("#notice-text").inner_text()


def test_names_from_files_stay_text(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    path.write_bytes(HAPPY.read_bytes())
    page.locator("#picture-files").set_input_files(path)
    wait_for_results(page, 1)
    assert page.locator(".result-name").inner_text() == path.name
    assert page.locator("#results img").count() == 1


def test_a_model_s_names_stay_text(open_page: Callable[..., Any]) -> None:
    evil = "<img src=x onerror=alert(1)>"

    def changed(page: Page) -> None:
        def answer(route: Any) -> None:
            response = route.fetch()
            route.fulfill(response=response, json={**response.json(), "name": evil, "purpose": evil, "labels": [evil]})

        page.route("**/v1/info", answer)

    page, _ = open_page(before=changed)
    page.locator("#model-name", has_text=evil).wait_for()
    assert evil in page.locator("#purpose").inner_text()
    assert page.locator("#model-name img, #purpose img, #about img, #label-hint img").count() == 0


def test_the_active_units_of_a_face_are_named(page: Page) -> None:
    read_sample(page, 1)
    [result] = json.loads(downloaded(page, "#download-json"))
    units = result["readings"][0]["action_units"]
    named = [f"{name} {unit['level']}" if unit["level"] else name for name, unit in units.items() if unit["active"]]
    assert page.locator(".face-units").inner_text() == f"Action units: {', '.join(named) or 'none active'}"


@pytest.mark.parametrize("reason", ["pixels", "bytes"])
def test_a_picture_that_is_too_large_is_made_smaller(page: Page, tmp_path: Path, reason: str) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / ("large.jpg" if reason == "pixels" else "large.png")
    side = TOO_MANY if reason == "pixels" else TOO_MANY // 2
    picture = cv2.resize(cv2.imread(str(HAPPY)), (side, side))
    if reason == "bytes":
        # Noise next to the face is what no file format makes smaller.
        noise = np.random.default_rng(0).integers(0, 255, (side, side // 2, 3), np.uint8)
        picture = np.hstack([picture, noise])
    cv2.imwrite(str(path), picture)
    page.locator("#picture-files").set_input_files(path)
    wait_for_results(page, 1)
    assert page.locator(".face-label").inner_text() == "happiness"
    assert "was made smaller" in page.locator("#notice-text").inner_text()
    [result] = json.loads(downloaded(page, "#download-json"))
    assert max(result["size"]) == 2560


def test_of_many_faces_one_card_is_open(page: Page, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "crowd.png"
    row = np.hstack([cv2.imread(str(SAMPLES / name)) for name in CROWD])
    cv2.imwrite(str(path), row)
    page.locator("#picture-files").set_input_files(path)
    wait_for_results(page, 1)
    assert page.locator(".face-label").count() == len(CROWD)
    assert page.locator(".bars:visible").count() == 1
    page.get_by_role("button", name="Face 3").click()
    assert page.get_by_role("button", name="Face 3").get_attribute("aria-pressed") == "true"
    assert page.locator(".face").nth(2).locator(".bars").is_visible()
    assert page.locator(".bars:visible").count() == 1


def drawn_video(path: Path) -> Path:
    """Write two seconds of a happy drawing."""
    av = pytest.importorskip("av")
    cv2 = pytest.importorskip("cv2")
    picture = cv2.cvtColor(cv2.imread(str(HAPPY)), cv2.COLOR_BGR2RGB)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=10, options={"auto-alt-ref": "0"})
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_another_profile_is_chosen(page: Page) -> None:
    read_sample(page, 1)
    profile, chip = page.get_by_role("combobox", name="Profile"), page.locator("#profile")
    before = profile.input_value()
    other = next(name for name in profile.locator("option").all_inner_texts() if name != before)
    for name in (other, before):
        profile.select_option(label=name)
        chip.filter(has_text=name).wait_for()
        page.locator("#server-state-text", has_text="Ready").wait_for()
        page.locator("#busy").wait_for(state="hidden")
    assert page.locator(".face-label").count() == 1
