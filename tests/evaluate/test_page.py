"""The page: everything escaped, nothing fetched, gaps where there is no number, whole files only."""

from __future__ import annotations

import base64
import io
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from lia_live.errors import StorageError
from lia_live.evaluate import Page
from lia_live.evaluate.chart import tick_step, ticks_around
from lia_live.evaluate.page import shown

VOID = {"meta", "img", "line", "polyline", "circle", "br"}


class Outline(HTMLParser):
    """Tags and texts of a page; every tag that is opened must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, "tags left open"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def saved(page: Page, tmp_path) -> str:
    page.save(tmp_path / "page.html")
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def full_page() -> Page:
    page = Page("Report", "of <today>")
    page.heading("Figures & more")
    page.paragraph("1 < 2")
    page.table(["name", "L1"], [["a", 0.04567], ["b", None]], "in [0, 1]")
    page.strip("<row>", [np.full((8, 6, 3), 200, np.uint8)] * 2, ["one", 'two"'])
    page.plot("curve", {"a": [0.0, math.nan, 2.0, 3.0], "b": [1.0] * 4}, unit="px")
    return page


def test_the_page_is_well_formed_and_fetches_nothing(tmp_path):
    text = saved(full_page(), tmp_path)
    outline = Outline(text)
    assert text.startswith("<!doctype html>")
    assert not outline.all("script") and not outline.all("link")
    assert "prefers-color-scheme: dark" in text
    assert outline.all("meta")[1]["name"] == "viewport"
    without_pictures = re.sub(r"base64,[^\"]*", "", text)
    assert not re.search(r"//|url\(|@import", without_pictures)
    for attributes in outline.all("img"):
        assert attributes["src"].startswith("data:image/jpeg;base64,")


def test_everything_is_escaped(tmp_path):
    evil = '<script>x</script>"><img src=x onerror=y>'
    page = Page(evil, evil)
    page.heading(evil)
    page.paragraph(evil)
    page.table([evil], [[evil]], evil)
    page.strip(evil, [np.zeros((4, 4, 3), np.uint8)], [evil])
    page.plot(evil, {evil: [1.0, 2.0]}, unit=evil)
    outline = Outline(saved(page, tmp_path))
    assert not outline.all("script")
    assert len(outline.all("img")) == 1
    assert all("onerror" not in attributes for _, attributes in outline.tags)
    assert outline.texts.count(evil) >= 8


def test_pictures_are_what_was_given(tmp_path):
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, 16:] = (250, 120, 10)
    page = Page("p")
    page.strip("row", [picture], ["label"])
    (image,) = Outline(saved(page, tmp_path)).all("img")
    data = base64.b64decode(image["src"].partition(",")[2])
    back = np.asarray(Image.open(io.BytesIO(data)))
    assert back.shape == picture.shape
    assert np.abs(back.astype(int) - picture).mean() < 4
    assert (image["width"], image["height"], image["alt"]) == ("32", "16", "label")


def test_a_gap_breaks_the_line_and_a_lone_value_is_a_dot(tmp_path):
    page = Page("p")
    page.plot("curve", {"a": [1.0, math.nan, 2.0, 3.0, math.inf, 4.0, 5.0]})
    outline = Outline(saved(page, tmp_path))
    assert [len(line["points"].split()) for line in outline.all("polyline")] == [2, 2]
    assert len(outline.all("circle")) == 1


def test_lines_are_where_their_values_are(tmp_path):
    page = Page("p")
    page.plot("curve", {"a": [0.0, 10.0]}, x=[0.0, 1.0])
    (line,) = Outline(saved(page, tmp_path)).all("polyline")
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in line["points"].split())
    assert (x0, x1) == (58, 628)
    assert (y0, y1) == (232, 22), "up is more"


@pytest.mark.parametrize("values", [[], [5.0], [math.nan, math.nan], [3.0, 3.0], [0.0, 1e-9]])
def test_odd_series_are_drawn_too(values, tmp_path):
    page = Page("p")
    page.plot("curve", {"a": values})
    assert "nan" not in saved(page, tmp_path).lower().split("<body>")[1]


def test_wrong_lengths_are_refused():
    page = Page("p")
    with pytest.raises(ValueError, match="2 cells"):
        page.table(["a", "b"], [["x"]])
    with pytest.raises(ValueError, match="3 values"):
        page.plot("curve", {"a": [1.0, 2.0]}, x=[0, 1, 2])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.04567, "0.046"), (-1.5, "-1.500"), (123.456, "123.5"), (7, "7"), (None, "–"),
        (math.nan, "–"), ("word", "word"), (0.0, "0.000"), (12345.6, "12346"), (12.345, "12.35"),
    ],
)  # fmt: skip
def test_numbers_as_text(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 17), (0.0011, 0.0013), (0, 12345)])
def test_ticks_surround_the_values(low, high):
    first, last = ticks_around(low, high)
    assert first <= low < high <= last
    assert 2 <= round((last - first) / tick_step(low, high)) <= 8


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(StorageError):
        Page("p").save(tmp_path / "nowhere" / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_the_room_opens_lightly():
    program = (
        "import sys\nfrom lia_live.evaluate import Page\nPage('x').plot('y', {'a': [1.0]})\n"
        "print({'torch', 'mediapipe', 'cv2', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
