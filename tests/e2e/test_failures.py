"""What can go wrong, each with its sentence and its next step; and what mends itself."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.cli.material import write_weights
from tests.e2e.pages import decoded, shoot, start, until, wait_for_phase
from tests.e2e.pictures import DEMO
from tests.e2e.serving import Served, browser_flags, chromium

Visiting = Callable[..., Page]
TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, avatars: Path) -> Iterator[Served]:
    """Tiny weights, room for one session, and a token."""
    folder = tmp_path_factory.mktemp("small")
    token = folder / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    words: list[str | Path] = ["--avatars", avatars, "--consent", "not-a-person"]
    words += ["--weights", write_weights(folder / "tiny.safetensors"), "--engine", "torch"]
    words += ["--token-file", token, "--max-sessions", "1", "--drain", "1"]
    server = Served(words, folder / "log.txt")
    try:
        server.start()
        yield server
    finally:
        server.stop()


def give_token(page: Page, token: str = TOKEN) -> None:
    """Type it and press Enter."""
    page.fill("#token", token)
    page.press("#token", "Enter")


def test_a_wrong_token_is_said_and_the_right_one_stays_in_this_tab(
    small: Served, visit: Visiting
) -> None:
    page = visit(small.url)
    wait_for_phase(page, "locked")
    expect(page.locator("#token")).to_be_focused()
    expect(page.locator("#token")).to_have_attribute("type", "password")
    expect(page.locator("#start")).to_be_disabled()
    shoot(page, "desktop-light-token")
    give_token(page, "wrong-horse")
    expect(page.locator("#token-problem")).to_contain_text("not the token of this server")
    give_token(page)
    wait_for_phase(page, "ready")
    expect(page.locator("#access")).to_be_hidden()
    assert TOKEN not in page.url
    kept = page.evaluate(
        "[JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]"
    )
    assert [TOKEN in one for one in kept] == [False, True, False]
    page.reload()  # asked once a tab
    wait_for_phase(page, "ready")


def test_a_full_server_is_said_and_joined_as_soon_as_there_is_room(
    small: Served, visit: Visiting
) -> None:
    first = visit(small.url)
    give_token(first)
    wait_for_phase(first, "ready")
    second = visit(small.url)
    give_token(second)
    wait_for_phase(second, "waiting")
    expect(second.locator("#problem-title")).to_have_text("The server is full.")
    shoot(second, "desktop-light-busy")
    first.close()
    wait_for_phase(second, "ready")
    expect(second.locator("#problem")).to_be_hidden()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_went_is_found_again_when_it_is_back(
    small: Served, visit: Visiting, how: signal.Signals
) -> None:
    page = visit(small.url)
    give_token(page)
    wait_for_phase(page, "ready")
    start(page)
    small.stop(how)
    wait_for_phase(page, "mending")
    expect(page.locator("#problem-title")).to_have_text(
        re.compile("does not answer|being stopped or restarted")
    )
    shoot(page, f"desktop-light-gone-{how.name.lower()}")
    small.start()
    wait_for_phase(page, "live")
    expect(page.locator("#problem")).to_be_hidden()


def test_a_network_that_was_gone_for_a_while_leaves_the_session_as_it_was(
    small: Served, visit: Visiting
) -> None:
    """A stopped process is what a dead network looks like: nothing comes, and nothing says so."""
    page = visit(small.url)
    give_token(page)
    wait_for_phase(page, "ready")
    page.get_by_role("radio", name="blue astronaut").check(force=True)
    start(page)
    small.send(signal.SIGSTOP)
    try:
        wait_for_phase(page, "mending")
        expect(page.locator("#frame")).to_have_attribute("data-live", "held")
        page.wait_for_timeout(2500)
    finally:
        small.send(signal.SIGCONT)
    began = time.monotonic()
    wait_for_phase(page, "live")
    # 1.5 s is what is promised; tests/e2e/test_figures.py measures it. This machine may be busy.
    assert time.monotonic() - began < 10
    number = decoded(page)
    until(page, lambda: decoded(page) > number, "more pictures")
    expect(page.get_by_role("radio", name="blue astronaut")).to_be_checked()


def test_a_camera_that_is_not_allowed(
    served: Served, visit: Visiting, playwright: Playwright, clip: Path
) -> None:
    denying = playwright.chromium.launch(
        executable_path=chromium(), args=browser_flags(clip, camera="deny")
    )
    try:
        page = visit(served.url, within=denying)
        wait_for_phase(page, "ready")
        page.click("#start")
        expect(page.get_by_role("alert").first).to_contain_text("The camera was not allowed.")
        expect(page.locator("#problem-next")).to_contain_text("beside the address")
        shoot(page, "desktop-light-denied")
        expect(page.locator("#status")).to_have_text("Ready")
        page.click("#retry")
        expect(page.locator("#problem-title")).to_have_text("The camera was not allowed.")
    finally:
        denying.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "in use by another program"),
        ("OverconstrainedError", "not there any more"),
        ("AbortError", "stopped while it was starting"),
        ("SecurityError", "only to safe addresses"),
        ("StrangeError", "could not be opened"),
    ],
)
def test_every_camera_error_is_a_sentence_and_can_be_tried_again(
    served: Served, visit: Visiting, name: str, words: str
) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    page.evaluate(
        """(name) => {
          const given = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = () => {
            navigator.mediaDevices.getUserMedia = given;
            return Promise.reject(new DOMException("no", name));
          };
        }""",
        name,
    )
    page.click("#start")
    expect(page.locator("#problem-title")).to_contain_text(words)
    assert len(page.locator("#problem-next").inner_text()) > 20


def test_a_camera_that_is_pulled_out(served: Served, visit: Visiting) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    start(page)
    page.evaluate("""() => {
      const [track] = document.getElementById("camera").srcObject.getVideoTracks();
      track.stop();
      track.dispatchEvent(new Event("ended"));
    }""")
    expect(page.locator("#problem-title")).to_contain_text("The camera stopped")
    wait_for_phase(page, "ready")
    page.click("#retry")
    wait_for_phase(page, "live")
    expect(page.locator("#problem")).to_be_hidden()


CAMERAS = """() => {
  window.opened = [];
  window.delayMs = 0;
  const given = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  const live = () => window.opened.some((one) => one.getTracks().some((track) => track.readyState === "live"));
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    await new Promise((resolve) => setTimeout(resolve, window.delayMs));
    if (window.oneAtATime && live()) throw new DOMException("in use", "NotReadableError");
    const stream = await given(wanted);
    window.opened.push(stream);
    return stream;
  };
}"""
LIVE = "window.opened.map((one) => one.getTracks()[0].readyState)"


def change_camera(page: Page) -> None:
    """As if another one had been chosen."""
    page.locator("#device").dispatch_event("change")


def test_a_camera_that_opens_after_stop_is_closed_again(served: Served, visit: Visiting) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    page.evaluate(CAMERAS)
    start(page)
    page.evaluate("window.delayMs = 500")
    change_camera(page)
    page.click("#stop")
    until(page, lambda: page.evaluate("window.opened.length") == 2, "the other camera")
    until(page, lambda: "live" not in page.evaluate(LIVE), "every camera is off")
    wait_for_phase(page, "ready")


def test_of_two_changes_the_last_one_holds(served: Served, visit: Visiting) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    page.evaluate(CAMERAS)
    start(page)
    page.evaluate("window.delayMs = 600")
    change_camera(page)
    page.evaluate("window.delayMs = 100")
    change_camera(page)
    until(page, lambda: page.evaluate("window.opened.length") == 3, "both cameras")
    until(page, lambda: page.evaluate(LIVE) == ["ended", "live", "ended"], "the second change")
    number = decoded(page)
    until(page, lambda: decoded(page) > number + 2, "more pictures")


def test_a_phone_that_opens_one_camera_at_a_time_changes_it_all_the_same(
    served: Served, visit: Visiting
) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    page.evaluate(CAMERAS)
    start(page)
    page.evaluate("window.oneAtATime = true")
    change_camera(page)
    until(page, lambda: page.evaluate(LIVE) == ["ended", "live"], "the other camera")
    expect(page.locator("#problem")).to_be_hidden()
    wait_for_phase(page, "live")
    # and when the other one does not open at all, the page says so and is at rest
    page.evaluate("""() => {
      navigator.mediaDevices.getUserMedia = () =>
        Promise.reject(new DOMException("in use", "NotReadableError"));
    }""")
    change_camera(page)
    expect(page.locator("#problem-title")).to_contain_text("in use by another program")
    wait_for_phase(page, "ready")
    expect(page.locator("#start")).to_be_visible()


def test_the_screen_stays_on_while_the_avatar_is_live(served: Served, visit: Visiting) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    page.evaluate("""() => {
      window.locks = [];
      navigator.wakeLock.request = async (kind) => {
        const lock = { kind, released: false, release: async () => { lock.released = true; } };
        window.locks.push(lock);
        return lock;
      };
    }""")
    start(page)
    until(page, lambda: page.evaluate("window.locks.length") == 1, "a lock")
    page.click("#stop")
    until(page, lambda: page.evaluate("window.locks.every((one) => one.released)"), "its end")
    assert page.evaluate("window.locks.length") == 1


def test_a_portrait_the_server_refuses_is_explained_in_its_words(
    served: Served, visit: Visiting, tmp_path: Path
) -> None:
    """What belongs to the code "rate" speaks of a page that connects again: here nothing is disconnected."""
    page = visit(served.url)
    wait_for_phase(page, "ready")
    page.route(
        "**/avatars",
        lambda route: route.fulfill(
            status=429,
            json={"code": "rate", "message": "too many portraits", "hint": "wait a moment"},
        ),
    )
    picture = tmp_path / "me.png"
    picture.write_bytes((DEMO / "avatar.png").read_bytes())
    page.set_input_files("#file", picture)
    page.get_by_role("radio", name="It is me").check()
    page.get_by_role("button", name="Use this picture").click()
    expect(page.locator("#problem-title")).to_have_text("Too many portraits.")
    expect(page.locator("#problem-next")).to_have_text("Wait a moment.")
