"""A window that shows the avatar and takes the hotkeys."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import cv2

from lia_live.errors import DeviceError
from lia_live.frame import Pixels
from lia_live.io import v4l2

TITLE: Final = "lia-live"
_PROBE_S: Final = 20.0


def check_display() -> None:
    """Raise ``DeviceError`` unless a window can be opened here.

    Where the display is named but not usable (an old ``DISPLAY``, another user's), Qt inside
    OpenCV does not raise but ends the process: so the first window is opened by a child. macOS ends
    a program whose windows are not the main thread's, and here they belong to the output thread.
    """
    if sys.platform == "darwin":
        raise DeviceError(
            "the preview window does not work on macOS yet",
            "use --output virtual and look at it in any camera program, or --output out.mp4",
        )
    if not v4l2.ON_LINUX:
        return
    if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        raise DeviceError(
            "there is no display for the preview window",
            "use --output out.mp4 or --output virtual, or start lia-live on the desktop",
        )
    probe = "import cv2; cv2.namedWindow('probe'); cv2.pollKey(); cv2.destroyAllWindows()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", probe], capture_output=True, timeout=_PROBE_S, check=False
        )
        usable = done.returncode == 0
    except subprocess.TimeoutExpired:
        usable = False
    if not usable:
        shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        raise DeviceError(
            f"no window can be opened on the display {shown}",
            "use --output out.mp4 or --output virtual, or start lia-live on the desktop",
        )


class PreviewSink:
    """An OpenCV window. One thread calls ``send`` and ``close``; in a live run it is the output thread,
    which is why macOS has no such window (see ``check_display``).
    """

    def __init__(
        self,
        width: int = 1280,
        height: int = 720,
        *,
        on_key: Callable[[str], None] | None = None,
        on_close: Callable[[], None] | None = None,
        title: str = TITLE,
    ) -> None:
        """``on_key``: called by ``send`` with each key pressed in the window, as one character.
        ``on_close``: called once when the user closes the window. Raises ``DeviceError`` without display.
        """
        check_display()
        self._size = (width, height)
        self._on_key = on_key
        self._on_close = on_close
        self._title = title
        self._shown = False
        self._closed = False

    @property
    def name(self) -> str:
        return "preview window"

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def send(self, pixels: Pixels) -> None:
        """Show one picture, (height, width, 3) uint8 RGB, and hand over the keys pressed meanwhile."""
        if self._closed:
            return
        if not self._shown:  # here, not in __init__: a window belongs to the thread that made it
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(self._title, *self._size)
            self._shown = True
        elif cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            self._closed = True
            if self._on_close is not None:
                self._on_close()
            return
        cv2.imshow(self._title, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        key = cv2.pollKey()
        if key != -1 and 0 < key & 0xFF < 0x80 and self._on_key is not None:
            self._on_key(chr(key & 0xFF))

    def close(self) -> None:
        """Close the window. May be called twice."""
        if self._shown and not self._closed:
            try:
                cv2.destroyWindow(self._title)
                cv2.pollKey()  # lets the window system carry it out
            except cv2.error:  # the user closed it this moment
                pass
        self._closed = True
