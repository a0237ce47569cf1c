"""What a person does, from the first click to the second start, in a real browser against the real server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.pages import decoded, set_slider, shoot, start, until, wait_for_phase
from tests.e2e.pictures import DEMO, distance, portrait, shown
from tests.e2e.serving import Served

Visiting = Callable[..., Page]


def collected(page: Page, count: int) -> list[np.ndarray]:
    """``count`` pictures of the avatar, each shown after the one before."""
    return [next_picture(page) for _ in range(count)]


def next_picture(page: Page) -> np.ndarray:
    """One that was not there yet."""
    number = decoded(page)
    until(page, lambda: decoded(page) > number, "the next picture")
    picture = shown(page)
    assert picture is not None
    return picture


def movement(pictures: list[np.ndarray]) -> float:
    """The largest difference to the first."""
    return max(distance(pictures[0], other) for other in pictures[1:])


def test_a_live_avatar_with_one_click(served: Served, visit: Visiting) -> None:
    """Start, move, calibrate, a slider, another avatar, stop, and start again."""
    page = visit(served.url)
    wait_for_phase(page, "ready")
    expect(page.locator("#status")).to_have_text("Ready")
    shoot(page, "desktop-light-ready")

    start(page)
    assert int(page.get_attribute("#output", "data-first-picture-ms") or 0) > 0
    expect(page.locator("#stop")).to_be_focused()
    expect(page.locator("#status")).to_have_text("Live")

    until(page, lambda: movement(collected(page, 6)) > 0.7, "the avatar moves")
    rest = portrait(page, "astronaut")
    page.check("#show-self")
    until(page, lambda: shown(page, "camera") is not None, "the self-view")
    for picture in collected(page, 5):
        camera = shown(page, "camera")
        assert 1.5 * distance(picture, rest) < distance(picture, camera), "not the camera's picture"

    # figures at a glance, and what makes up the delay
    expect(page.locator("#fps")).to_have_text(re.compile(r"^[1-9]\d*$"))
    expect(page.locator("#delay-p50")).to_have_text(re.compile(r"^[1-9]\d*$"))
    expect(page.locator("#audio-delay")).to_have_text(re.compile(r"^\d+ ms$"))
    assert page.locator("#legend li").count() == 5
    shoot(page, "desktop-light-live")

    page.click("#calibrate")
    expect(page.locator("#countdown")).to_be_visible()
    expect(page.locator("#calibrate")).to_be_disabled()
    shoot(page, "desktop-light-countdown")
    expect(page.locator("#countdown")).to_be_hidden()
    expect(page.locator("#neutral-text")).to_have_text(re.compile(r"neutral face.* \d+ of 100"))
    assert 0 < float(page.locator("#neutral-score").evaluate("meter => meter.value")) <= 1

    # at strength 0 only the sliders move the face
    set_slider(page, "#strength", 0)
    until(page, lambda: movement(collected(page, 4)) < 1.5, "strength 0 holds the avatar still")
    still = collected(page, 1)[0]
    page.get_by_label("Open mouth", exact=True).press("End")
    until(page, lambda: distance(shown(page), still) > 2, "the slider changes the picture")
    shoot(page, "desktop-light-slider")
    page.click("#reset-edits")
    until(page, lambda: distance(shown(page), still) < 1, "back in the middle")
    set_slider(page, "#strength", 1)

    blue = portrait(page, "blue_astronaut")
    assert distance(blue, rest) > 40
    page.get_by_role("radio", name="blue astronaut").check(force=True)
    until(page, lambda: distance(shown(page), blue) < 25, "the other avatar is on stage")
    until(page, lambda: movement(collected(page, 5)) > 0.7, "and moves")

    page.click("#stop")
    wait_for_phase(page, "ready")
    expect(page.locator("#start")).to_be_focused()
    assert shown(page) is None, "no picture is left over"
    assert page.evaluate("document.getElementById('camera').srcObject") is None, "the camera is off"

    start(page)
    until(page, lambda: distance(shown(page), blue) < 25, "the chosen avatar again")


def test_directions_travel_as_a_file(served: Served, visit: Visiting, tmp_path: Path) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    expect(page.locator("#directions input[type=range]")).to_have_count(20)
    smile = page.get_by_label("Smile", exact=True)
    smile.press("End")
    expect(smile).to_have_attribute("aria-valuetext", "100 percent smile")
    with page.expect_download() as download:
        page.click("#save-edits")
    saved = tmp_path / "directions.json"
    download.value.save_as(saved)
    found = json.loads(saved.read_text())
    assert found["format"] == "lia-live directions" and found["edits"]["smile"] > 0

    page.get_by_role("button", name="Smile to the middle").click()
    expect(smile).to_have_attribute("aria-valuetext", "middle")
    page.set_input_files("#edits-file", saved)
    expect(smile).to_have_attribute("aria-valuetext", "100 percent smile")
    expect(page.locator("#edits-message")).to_have_text("Loaded.")

    saved.write_text('{"edits": {"smile": "very"}}')
    page.set_input_files("#edits-file", saved)
    expect(page.locator("#edits-message")).to_contain_text("does not hold saved directions")
    expect(smile).to_have_attribute("aria-valuetext", "100 percent smile")


def test_what_was_set_is_set_again_after_a_reload(served: Served, visit: Visiting) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    set_slider(page, "#strength", 1.4)
    page.check("#mirror")
    page.get_by_role("radio", name=re.compile("^Yours")).check()
    page.reload()
    wait_for_phase(page, "ready")
    expect(page.locator("#strength-value")).to_have_text("140 %")
    expect(page.locator("#mirror")).to_be_checked()
    expect(page.get_by_role("radio", name=re.compile("^Yours"))).to_be_checked()
    start(page)  # the server took them: it closes on what it does not understand


def test_a_recording_says_that_it_was_made_by_ai(
    served: Served, visit: Visiting, tmp_path: Path
) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    start(page)
    page.click("#record")
    expect(page.locator("#record-label")).to_have_text("Save recording")
    collected(page, 12)
    with page.expect_download() as download:
        page.click("#record")
    assert re.fullmatch(
        r"lia-live-\d{8}-\d{6}-ai-generated\.webm", download.value.suggested_filename
    )
    saved = tmp_path / "recording.webm"
    download.value.save_as(saved)
    with av.open(str(saved)) as recording:
        tags = {name.lower(): text for name, text in recording.metadata.items()}
        pictures = [frame.to_ndarray(format="rgb24") for frame in recording.decode(video=0)]
    assert "AI-generated" in tags["comment"] and "trainedAlgorithmicMedia" in tags["comment"]
    assert len(pictures) >= 5 and np.std(pictures[-1]) > 10


def test_a_portrait_of_ones_own(served: Served, visit: Visiting, tmp_path: Path) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    picture = tmp_path / "my face.png"
    cv2.imwrite(str(picture), cv2.imread(str(DEMO / "avatar.png"))[:, :, [1, 0, 2]])
    page.set_input_files("#file", picture)
    dialog = page.get_by_role("dialog", name="Whose portrait is this?")
    expect(dialog).to_be_visible()
    shoot(page, "desktop-light-consent")
    dialog.get_by_role("button", name="Use this picture").click()
    expect(dialog).to_be_visible()  # not without an answer
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#avatars input")).to_have_count(2)

    page.set_input_files("#file", picture)
    dialog.get_by_role("radio", name="Not a living person").check()
    dialog.get_by_role("button", name="Use this picture").click()
    expect(page.get_by_role("radio", name="my face (yours)")).to_be_checked()
    start(page)
    own = portrait(page, page.locator("#avatars input:checked").input_value())
    until(page, lambda: distance(shown(page), own) < 25, "the portrait that was brought is live")


def test_a_dropped_file_that_is_no_picture_is_refused_in_words(
    served: Served, visit: Visiting
) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    page.evaluate("""() => {
      const carried = new DataTransfer();
      carried.items.add(new File(["hello"], "letter.txt", { type: "text/plain" }));
      for (const type of ["dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(type, { dataTransfer: carried, bubbles: true, cancelable: true }));
    }""")
    expect(page.locator("#problem-title")).to_contain_text("not a picture")
    expect(page.locator("#drop")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_output_view_is_nothing_but_the_picture(
    served: Served, visit: Visiting, scheme: str
) -> None:
    page = visit(f"{served.url}?view=output&avatar=blue_astronaut", color_scheme=scheme)
    wait_for_phase(page, "live")  # by itself
    until(
        page,
        lambda: distance(shown(page), portrait(page, "blue_astronaut")) < 25,
        "the avatar named",
    )
    expect(page.locator("#output")).to_be_in_viewport(ratio=1)
    for hidden in (
        "header",
        "#stats",
        ".panel > .card >> nth=1",
        ".dock",
        "#selfview",
        "footer",
        "#veil",
    ):
        expect(page.locator(hidden)).to_be_hidden()
    for see_through in ("html", "body", "#frame"):
        colour = page.locator(see_through).evaluate("one => getComputedStyle(one).backgroundColor")
        assert colour == "rgba(0, 0, 0, 0)"
    shoot(page, f"output-{scheme}")
