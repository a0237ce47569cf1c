"""One Chromium and one server with the shipped weights for all of the browser tests.

They go with this package: as long as Playwright runs, no test on this thread can run an event loop of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.e2e.pages import Visit
from tests.e2e.pictures import write_avatars, write_clip
from tests.e2e.serving import Served, browser_flags, chromium


@pytest.fixture(scope="package")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("camera")
    yield write_clip(folder / "clip.y4m")
    shutil.rmtree(folder)  # raw video: 40 MB


@pytest.fixture(scope="package")
def avatars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_avatars(tmp_path_factory.mktemp("portraits") / "avatars")


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright, clip: Path) -> Iterator[Browser]:
    running = playwright.chromium.launch(executable_path=chromium(), args=browser_flags(clip))
    yield running
    running.close()


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory, avatars: Path) -> Iterator[Served]:
    """With the shipped weights; open to everybody on this machine; portraits may be brought."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    server = Served(
        ["--avatars", avatars, "--consent", "not-a-person", "--allow-upload", "--drain", "1"], log
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages, each in a profile of its own, and sees to it in the end that none of them misbehaved."""
    visits: list[Visit] = []

    def open_page(url: str, *, within: Browser | None = None, **profile: object) -> Page:
        visits.append(Visit(within or browser, url, profile))
        return visits[-1].page

    yield open_page
    for one in visits:
        one.close()
    for one in visits:
        one.check()
