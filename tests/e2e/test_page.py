"""The page for everybody: keyboard, screen reader, contrast, a phone, and nothing that leaves for elsewhere."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.pages import shoot, start, until, wait_for_phase
from tests.e2e.serving import ROOT, Served

Visiting = Callable[..., Page]
NAMES_ONLY = [
    *("http://cv.iptc.org/", "http://iptc.org/", "http://www.w3.org/", "http://ns.adobe.com/"),
    "http://localhost ",
]
"""Addresses of XML vocabularies, and one in a sentence: never asked for."""
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True}
NEEDS_A_NAME = {
    *(
        "button",
        "checkbox",
        "combobox",
        "dialog",
        "image",
        "img",
        "link",
        "meter",
        "radio",
        "radiogroup",
    ),
    *("slider", "spinbutton", "switch", "textbox", "Video", "video"),
}

CONTRAST = """() => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return colour.startsWith("color(") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const background = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const layer = parse(getComputedStyle(at).backgroundColor);
      layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  let looked = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.closest(":disabled, .unseen, .skip, script, style, noscript")) continue;
    const style = getComputedStyle(element);
    const under = background(element);
    const [a, b] = [luminance(over(parse(style.color), under)), luminance(under)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    looked += 1;
    if (ratio < (large ? 3 : 4.5)) poor.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return { poor, looked };
}"""

FOCUS = """() => {
  const focused = document.activeElement;
  const ring = (one) => {
    const style = getComputedStyle(one);
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  };
  const shown = ring(focused) || ring(focused.closest("label") ?? focused);
  return { id: focused.id, tag: focused.tagName, type: focused.type ?? "", shown };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out(served: Served, visit: Visiting, scheme: str) -> None:
    """WCAG AA: 4.5 to 1, and 3 to 1 where it is large."""
    page = visit(served.url, color_scheme=scheme)
    wait_for_phase(page, "ready")
    page.emulate_media(reduced_motion="reduce")  # colours at rest, not on their way
    page.get_by_label("Smile", exact=True).press("End")
    found = page.evaluate(CONTRAST)
    assert found["poor"] == [] and found["looked"] > 60
    shoot(page, f"desktop-{scheme}-whole", whole=True)
    start(page)
    expect(page.locator("#neutral")).to_be_visible()
    page.evaluate("""async () => {
      const { View } = await import("/js/view.js");
      const { PROBLEMS } = await import("/js/messages.js");
      new View().problem(PROBLEMS.noPath, () => {});
    }""")
    assert page.evaluate(CONTRAST)["poor"] == []
    shoot(page, f"desktop-{scheme}-problem")
    page.click("#dismiss")
    until(page, lambda: page.inner_text("#delay-p50") != "–", "figures")
    shoot(page, f"desktop-{scheme}-running")


def test_everything_has_a_name_for_those_who_hear_the_page(served: Served, visit: Visiting) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    page.check("#show-self")
    start(page)
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    nameless, names = [], []
    for node in tree["nodes"]:
        role = node.get("role", {}).get("value")
        if node.get("ignored") or role not in NEEDS_A_NAME:
            continue
        name = node.get("name", {}).get("value", "").strip()
        names.append((role, name))
        if not name:
            nameless.append(node)
    assert nameless == []
    sliders = [name for role, name in names if role == "slider"]
    assert len(sliders) == len(set(sliders)) == 22  # strength, smoothing, and twenty directions
    for role, name in [("button", "Stop"), ("button", "Calibrate"), ("button", "Full screen"),
                       ("switch", "Mirror"), ("combobox", "Which camera"), ("radio", "astronaut")]:  # fmt: skip
        assert (role, name) in names
    assert page.locator("[role=status]").count() == 2 and page.locator("[role=alert]").count() == 2
    headings = page.locator("h1, h2").all_inner_texts()
    assert page.locator("h1").count() == 1 and len(headings) == len(set(headings))
    # each control that needs an explanation has one, and it exists
    for described in page.locator("[aria-describedby]").all():
        for name in (described.get_attribute("aria-describedby") or "").split():
            assert page.locator(f"#{name}").count() == 1
    doubled = page.evaluate(
        "[...document.querySelectorAll('[id]')].map((one) => one.id).filter((id, at, all) => all.indexOf(id) !== at)"
    )
    assert doubled == []


def test_with_the_keyboard_alone(served: Served, visit: Visiting) -> None:
    page = visit(served.url)
    wait_for_phase(page, "ready")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab") if page.evaluate("document.activeElement.id") != "start" else None
    expect(page.locator("#start")).to_be_focused()
    page.keyboard.press("Enter")
    wait_for_phase(page, "live")
    expect(page.locator("#stop")).to_be_focused()

    order, seen = [], []
    for _ in range(60):
        page.keyboard.press("Tab")
        at: dict[str, Any] = page.evaluate(FOCUS)
        if at["tag"] == "BODY":
            break
        assert at["shown"], f"the focus is not to be seen on {at}"
        order.append(at["id"])
        seen.append(at["type"])
    wanted = ["calibrate", "record", "pip", "fullscreen", "device", "show-self", "strength", "smooth",
              "mirror", "reset-edits", "save-edits", "load-edits", "direction-0", "direction-19"]  # fmt: skip
    assert [one for one in order if one in wanted] == wanted
    assert order.count("direction-7") == 1 and "radio" in seen

    page.locator("#strength").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#strength")).to_have_attribute("aria-valuetext", "105 percent")
    page.locator("#avatars input:checked").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="blue astronaut")).to_be_checked()
    page.locator("#calibrate").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#countdown")).to_be_visible()
    expect(page.locator("#status")).to_have_text(
        re.compile(r"Look straight ahead, mouth closed: [321]")
    )
    page.locator("#stop").focus()
    page.keyboard.press("Space")
    wait_for_phase(page, "ready")
    expect(page.locator("#start")).to_be_focused()
    expect(page.locator("#countdown")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(served: Served, visit: Visiting, scheme: str) -> None:
    page = visit(served.url, color_scheme=scheme, **PHONE)
    wait_for_phase(page, "ready")
    shoot(page, f"phone-{scheme}-ready")
    start(page)
    until(page, lambda: page.inner_text("#delay-p50") != "–", "figures")
    shoot(page, f"phone-{scheme}-running")
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 844})
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{overflow} px too wide at {width}"
    page.set_viewport_size({"width": 390, "height": 844})
    small = page.evaluate("""[...document.querySelectorAll("button, select, input:not([type=file]), a")]
      .filter((one) => one.checkVisibility() && !one.closest(".skip"))
      .map((one) => [one.id || one.textContent, one.getBoundingClientRect()])
      .filter(([, box]) => box.height && Math.min(box.width, box.height) < 18).map(([name]) => name)""")
    assert small == []
    page.get_by_label("Smile", exact=True).scroll_into_view_if_needed()
    expect(page.locator("#output")).to_be_in_viewport(
        ratio=0.9
    )  # what a slider does is seen while it is moved
    shoot(page, f"phone-{scheme}-sliders")


def test_who_wants_no_motion_gets_none(served: Served, visit: Visiting) -> None:
    page = visit(served.url, reduced_motion="reduce")
    wait_for_phase(page, "ready")
    start(page)
    moving = page.evaluate("""[...document.querySelectorAll("*")].filter((one) =>
      ["", "::before", "::after"].some((part) => {
        const style = getComputedStyle(one, part || undefined);
        return style.animationName !== "none" || style.transitionDuration !== "0s";
      })).map((one) => one.className)""")
    assert moving == []


def test_the_page_is_strict_with_itself(served: Served) -> None:
    """No inline script or style, no other host; the server says so in a header, and the files keep to it."""
    with urllib.request.urlopen(served.url) as answer:
        policy = answer.headers["Content-Security-Policy"]
        text = answer.read().decode()
    assert "unsafe" not in policy and "script-src 'self'" in policy and "style-src 'self'" in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?://", text)
    for path in [*(ROOT / "client_web").rglob("*.js"), *(ROOT / "client_web").rglob("*.css")]:
        source = path.read_text(encoding="utf-8")
        assert len(source.splitlines()) <= 400, path.name
        for name in NAMES_ONLY:
            source = source.replace(name, "")
        assert not re.search(r"\beval\(|document\.write|@import|https?://", source), path.name
