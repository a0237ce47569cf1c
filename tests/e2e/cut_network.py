"""Browser and server with a router between them that stops forwarding, or forwards little: real trouble, without root.

Run in namespaces of its own: ``unshare -rnm python -m tests.e2e.cut_network FOLDER outages`` or ``... narrow``; prints
one JSON line. FOLDER holds clip.y4m and avatars/.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.e2e.pages import decoded, start, until, wait_for_phase
from tests.e2e.serving import COMMAND, Served, browser_flags, chromium

NEAR, FAR = "10.9.1.1", "10.9.2.1"
TOKEN = "only-in-this-namespace"
OUTAGES_S = (1.0, 2.5, 3.7, 5.2, 8.0, 13.0)

WIRES = f"""
set -e
mount -t tmpfs none /run
ip link set lo up
ip netns add far; ip netns add mid
ip link add near0 type veth peer name mid0; ip link add far0 type veth peer name mid1
ip link set mid0 netns mid; ip link set mid1 netns mid; ip link set far0 netns far
ip addr add {NEAR}/24 dev near0; ip link set near0 up; ip route add default via 10.9.1.2
ip netns exec mid ip link set lo up
ip netns exec mid ip addr add 10.9.1.2/24 dev mid0; ip netns exec mid ip link set mid0 up
ip netns exec mid ip addr add 10.9.2.2/24 dev mid1; ip netns exec mid ip link set mid1 up
ip netns exec far ip link set lo up
ip netns exec far ip addr add {FAR}/24 dev far0; ip netns exec far ip link set far0 up
ip netns exec far ip route add default via 10.9.2.2
"""

BACK = """() => {
  window.back = null;
  const status = document.getElementById("status");
  const seen = () => (window.back = Date.now());
  // A connection made anew tells of its first picture; one that lived on simply shows the next.
  if (status.dataset.phase === "live") return document.getElementById("output").requestVideoFrameCallback(seen);
  const watch = new MutationObserver(() => {
    if (status.dataset.phase !== "live") return;
    watch.disconnect();
    seen();
  });
  watch.observe(status, { attributes: true });
}"""


def forward(on: bool) -> None:
    """Whether the router lets anything through."""
    setting = f"echo {int(on)} > /proc/sys/net/ipv4/ip_forward"
    subprocess.run(["ip", "netns", "exec", "mid", "sh", "-c", setting], check=True)


def narrow(kbit_per_s: int | None) -> None:
    """What the router lets through, each way; None: everything. A second's third waits in it, the rest is lost."""
    for wire in ("mid0", "mid1"):
        at = ["ip", "netns", "exec", "mid", "tc", "qdisc"]
        if kbit_per_s is None:
            subprocess.run([*at, "del", "dev", wire, "root"], check=True)
        else:
            shape = f"tbf rate {kbit_per_s}kbit burst 4kb latency 300ms".split()
            subprocess.run([*at, "add", "dev", wire, "root", *shape], check=True)


class FarServed(Served):
    """In the far namespace, by TLS."""

    def __init__(self, words: list[str | Path], log: Path) -> None:
        super().__init__(words, log, ["ip", "netns", "exec", "far", *COMMAND])
        self.url = f"https://{FAR}:{self.port}/"

    def answers(self) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with urllib.request.urlopen(f"{self.url}healthz", timeout=5, context=context) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def outage(page: Page, seconds: float) -> float:
    """Seconds from the moment the network is back to the next picture."""
    forward(False)
    page.wait_for_timeout(1000 * seconds)
    page.evaluate(BACK)
    ended = time.time()
    forward(True)
    until(page, lambda: page.evaluate("window.back") is not None, "a picture")
    waited: float = page.evaluate("window.back") / 1000 - ended
    wait_for_phase(page, "live")
    page.wait_for_timeout(4000)
    return round(waited, 2)


def outages(page: Page) -> dict[str, object]:
    """The network is gone for a while, and again, and again."""
    waits = {f"{seconds:g}": outage(page, seconds) for seconds in OUTAGES_S}
    return {"waits_s": waits, "avatar": page.locator("#avatars input:checked").input_value()}


def narrowed(page: Page) -> dict[str, object]:
    """150 kbit/s for 20 s, then all of it again. Pictures a second."""
    page.wait_for_timeout(5000)
    found: dict[str, object] = {"before": rates(page, 5)}
    narrow(150)
    found["narrow"] = rates(page, 20)
    found["side"] = page.evaluate("document.getElementById('output').videoWidth")
    narrow(None)
    found["after"] = rates(page, 15)
    return found


def rates(page: Page, seconds: int) -> list[float]:
    """Pictures decoded in each second."""
    found = []
    for _ in range(seconds):
        before, began = decoded(page), time.monotonic()
        page.wait_for_timeout(1000)
        rate = (decoded(page) - before) / (time.monotonic() - began)
        found.append(round(max(rate, 0.0), 1))  # a connection made anew counts from nothing
    return found


WHAT = {"outages": outages, "narrow": narrowed}


def main(folder: Path, what: str) -> None:
    subprocess.run(["sh", "-c", WIRES], check=True)
    forward(True)
    token = folder / "token"
    token.write_text(TOKEN)
    words: list[str | Path] = ["--avatars", folder / "avatars", "--consent", "not-a-person"]
    words += ["--host", FAR, "--dev-cert", "--token-file", token, "--drain", "0"]
    server = FarServed(words, folder / "far.txt")
    flags = [*browser_flags(folder / "clip.y4m"), "--ignore-certificate-errors"]
    try:
        server.start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
            page = browser.new_page(ignore_https_errors=True)
            page.goto(server.url)
            wait_for_phase(page, "locked")
            page.fill("#token", TOKEN)
            page.press("#token", "Enter")
            wait_for_phase(page, "ready")
            page.get_by_role("radio", name="blue astronaut").check(force=True)
            start(page)
            page.wait_for_timeout(3000)
            found = WHAT[what](page)
            browser.close()
    finally:
        server.stop()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
