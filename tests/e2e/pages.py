"""A page in a real browser, what it may never do, and what people do on it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect

from tests.e2e.serving import ROOT

SHOTS = Path(os.environ.get("LIA_LIVE_SHOTS", ROOT / "runs" / "screenshots"))
"""Screenshots are kept to be looked at; git ignores the folder."""
PATIENCE_MS = 30_000
"""For what takes a fraction of a second on an idle machine."""

expect.set_options(timeout=PATIENCE_MS)

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


class Visit:
    """One page, watched from its first request on."""

    def __init__(self, browser: Browser, url: str, profile: Mapping[str, Any]) -> None:
        wanted = {"viewport": {"width": 1280, "height": 860}, "accept_downloads": True, **profile}
        self._context = browser.new_context(**wanted)
        self._context.set_default_timeout(PATIENCE_MS)
        self._context.add_init_script(WATCH)
        self._own = urlsplit(url).netloc
        self._errors: list[str] = []
        self._strangers: list[str] = []
        self.page = page = self._context.new_page()
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self._errors.append(f"{error.message} {error.stack}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))
        page.goto(url)

    def _heard(self, kind: str, text: str) -> None:
        # That a server is gone is said in the console too; tests make it so.
        if kind == "error" and not re.search(
            r"ERR_CONNECTION|WebSocket|Failed to load resource", text
        ):
            self._errors.append(text)

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data") and parts.netloc != self._own:
            self._strangers.append(url)

    def close(self) -> None:
        if not self.page.is_closed():
            self._errors += [f"CSP: {one}" for one in self.page.evaluate("window.violations")]
        self._context.close()

    def check(self) -> None:
        assert self._errors == []
        assert self._strangers == [], "nothing leaves for another host"


def shoot(page: Page, name: str, *, whole: bool = False) -> None:
    """A screenshot to be looked at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=whole)


def wait_for_phase(page: Page, *phases: str) -> None:
    """Until the page is in one of ``phases``."""
    names = "|".join(phases)
    expect(page.locator("#status")).to_have_attribute("data-phase", re.compile(f"^({names})$"))


def start(page: Page) -> None:
    """One click; returns when the avatar is there."""
    page.click("#start")
    wait_for_phase(page, "live")
    expect(page.locator("#frame")).to_have_attribute("data-live", "yes")


def decoded(page: Page) -> int:
    """Pictures the browser has shown or dropped of the present connection."""
    return int(
        page.evaluate(
            "document.getElementById('output').getVideoPlaybackQuality().totalVideoFrames"
        )
    )


def until(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Looks again and again; fails with ``what`` was waited for."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        page.wait_for_timeout(60)


def set_slider(page: Page, selector: str, value: float) -> None:
    """As a hand does: the value, then the event."""
    page.locator(selector).evaluate(
        """(slider, value) => {
          slider.value = String(value);
          slider.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        value,
    )
