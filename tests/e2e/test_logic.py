"""What the page computes, run where it runs: the modules are imported in the browser and asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from lia_live_server.protocol import CLOSE_CODES
from tests.e2e.serving import ROOT, Served


@pytest.fixture(scope="module")
def page(browser: Browser, served: Served) -> Iterator[Page]:
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(f"{served.url}css/mark.svg")  # the server's origin, without the page
    yield opened
    context.close()


def ask(page: Page, module: str, expression: str, argument: Any = None) -> Any:
    """The value of ``expression`` over the exports ``m`` of a module."""
    return page.evaluate(
        f"async (given) => {{ const m = await import('/js/{module}.js'); return ({expression}); }}",
        argument,
    )


def test_rates_between_two_looks(page: Page) -> None:
    before = {"at": 1000, "bytes": 0, "packets": 100, "lost": 0, "decoded": 10, "decodeS": 1.0, "bufferS": 2.0,
              "buffered": 10, "encoded": 5, "encodeS": 0.1, "roundTripMs": 9}  # fmt: skip
    now = {"at": 3000, "bytes": 125_000, "packets": 190, "lost": 10, "decoded": 60, "decodeS": 1.1, "bufferS": 2.5,
           "buffered": 60, "encoded": 65, "encodeS": 0.4, "roundTripMs": 12}  # fmt: skip
    assert ask(page, "measure", "m.between(...given)", [before, now]) == pytest.approx(
        {
            "fps": 25,
            "kbps": 500,
            "lossPercent": 10,
            "bufferMs": 10,
            "decodeMs": 2,
            "encodeMs": 5,
            "roundTripMs": 12,
        }
    )
    still = ask(page, "measure", "m.between(given, given)", now)
    assert still["fps"] == still["lossPercent"] == still["bufferMs"] == still["decodeMs"] == 0
    # a connection that began anew counts from nothing: no negative rates
    assert min(ask(page, "measure", "m.between(...given)", [now, before]).values()) >= 0


def test_a_report_is_read(page: Page) -> None:
    report = [
        {"type": "inbound-rtp", "kind": "video", "bytesReceived": 10, "packetsReceived": 4, "packetsLost": 1,
         "framesDecoded": 3, "totalDecodeTime": 0.3, "jitterBufferDelay": 0.6, "jitterBufferEmittedCount": 3},
        {"type": "outbound-rtp", "kind": "video", "framesEncoded": 9, "totalEncodeTime": 0.9},
        {"type": "candidate-pair", "nominated": False, "currentRoundTripTime": 9},
        {"type": "candidate-pair", "nominated": True, "currentRoundTripTime": 0.05},
        {"type": "codec"},
    ]  # fmt: skip
    found = ask(page, "measure", "m.read(given, 7)", report)
    assert (
        found["roundTripMs"] == 50
        and found["decoded"] == 3
        and found["encoded"] == 9
        and found["at"] == 7
    )


@pytest.mark.parametrize(("percent", "wanted"), [(50, 5), (95, 10), (100, 10), (1, 1)])
def test_percentiles_by_nearest_rank(page: Page, percent: int, wanted: int) -> None:
    values = [3, 1, 2, 10, 9, 8, 4, 5, 6, 7]
    assert ask(page, "measure", f"m.percentile(given, {percent})", values) == wanted
    assert ask(page, "measure", "m.percentile([], 50)") is None


def test_the_delay_is_the_sum_of_its_parts(page: Page) -> None:
    link = {
        "fps": 25,
        "kbps": 1,
        "lossPercent": 0,
        "bufferMs": 10,
        "decodeMs": 2,
        "encodeMs": 5,
        "roundTripMs": 12,
    }
    delay = ask(page, "measure", "m.delayOf(given, { p50: 60, p95: 90 })", link)
    assert (delay["p50"], delay["p95"], delay["outside"]) == (89, 119, 29)
    assert sum(delay["parts"].values()) == delay["p50"]
    assert ask(page, "view", "[m.audioDelay(88), m.audioDelay(-3)]") == [90, 0]
    assert ask(page, "plot", "given.map((one) => m.scaleFor(one))", [[], [99], [101], [900]]) == [
        100,
        100,
        200,
        1600,
    ]


@pytest.mark.parametrize(
    ("link", "fps", "words"),
    [
        ({"lossPercent": 0, "roundTripMs": 5, "modelMs": 30}, 25, "^$"),
        ({"lossPercent": 8, "roundTripMs": 5, "modelMs": 30}, 25, "cable"),
        ({"lossPercent": 0, "roundTripMs": 300, "modelMs": 30}, 25, "nearer to you"),
        ({"lossPercent": 0, "roundTripMs": 5, "modelMs": 90}, 9, "busy"),
        ({"lossPercent": 0, "roundTripMs": 5, "modelMs": 30}, 9, "another camera"),
    ],
)
def test_a_poor_picture_is_explained(page: Page, link: Any, fps: float, words: str) -> None:
    assert re.search(words, ask(page, "figures", f"m.adviceFor(given, {fps})", link))


DIRECTIONS = [
    {"name": "smile", "low": -2.4, "high": 4.8, "neutral": 0, "scale": 2},
    {"name": "free 1", "low": -3, "high": 3, "neutral": 0, "scale": 1},
]


def test_edits_survive_the_way_through_a_file(page: Page) -> None:
    back = ask(page, "settings", "m.fromFile(given, m.toFile(given, [1.5, -3]))", DIRECTIONS)
    assert back == {"edits": [1.5, -3], "unknown": []}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"format": "lia-live directions", "edits": {"smile": 99, "jaw x": 1}}', [[4.8, 0], ["jaw x"]]),
        ('{"format": "lia-live directions", "edits": {}}', [[0, 0], []]),
        ('{"format": "lia-live directions", "edits": {"smile": "wide"}}', None),
        ('{"format": "lia-live directions", "edits": {"smile": 1e999}}', None),
        ('{"format": "lia-live directions", "edits": null}', None),
        ('{"format": "something else", "edits": {"smile": 1}}', None),
        ("[]", None),
        ("null", None),
        ("smile", None),
    ],
)  # fmt: skip
def test_files_of_others_are_held_to_the_limits_or_refused(
    page: Page, text: str, wanted: Any
) -> None:
    found = ask(
        page,
        "settings",
        "(() => { try { const f = m.fromFile(...given); return [f.edits, f.unknown]; } catch { return null; } })()",
        [DIRECTIONS, text],
    )
    assert found == wanted


def test_only_valid_settings_are_remembered(page: Page) -> None:
    found = {"strength": 3, "smooth": 0.5, "mirror": "yes", "mode": "absolute", "token": "x"}
    assert ask(page, "settings", "m.valid(given)", found) == {"smooth": 0.5, "mode": "absolute"}
    assert ask(page, "settings", "m.valid(null)") == {}


def test_a_moved_slider_sends_the_newest_value_and_not_every_one(page: Page) -> None:
    sent = ask(
        page,
        "settings",
        """await (async () => {
          const sent = [];
          const send = m.paced((value) => sent.push(value), 20);
          for (let value = 0; value < 50; value++) {
            send(value);
            await new Promise((resolve) => setTimeout(resolve, 4));
          }
          await new Promise((resolve) => setTimeout(resolve, 120));
          return sent;
        })()""",
    )
    assert sent[-1] == 49 and len(sent) < 25 and sent == sorted(set(sent))


def test_every_error_of_the_protocol_has_its_sentence(page: Page) -> None:
    """In docs/protocol.md and in the page alike; `avatar` and uploads are said in the server's own words."""
    codes = [*CLOSE_CODES, "bad_offer", "unknown_avatar", "picture_size"]
    documented = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    for code in codes:
        assert f"`{code}`" in documented
        if code == "replaced":  # mended by the page itself
            continue
        found = ask(page, "messages", "m.serverProblem({ code: given, message: 'x' })", code)
        assert len(found["title"]) > 15 and len(found["next"]) > 15, code
    unknown = {"code": "new", "message": "the moon is full", "hint": "wait"}
    assert ask(page, "messages", "m.serverProblem(given)", unknown) == {
        "title": "The moon is full.",
        "next": "Wait.",
    }


def test_every_module_is_checked_and_explained() -> None:
    for path in sorted(Path(ROOT / "client_web" / "js").glob("*.js")):
        first, second = path.read_text(encoding="utf-8").splitlines()[:2]
        assert first == "// @ts-check" and second.startswith("/**"), path.name
