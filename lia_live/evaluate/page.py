"""A report as one HTML file: tables, rows of pictures and plots, with nothing fetched and no script.

The file may be mailed or opened from a disk years later: pictures are inside it, plots are drawn as SVG.
"""

from __future__ import annotations

import base64
import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lia_live.errors import StorageError
from lia_live.evaluate.bars import bars
from lia_live.evaluate.chart import chart
from lia_live.frame import Pixels

JPEG_QUALITY = 88
"""Artefacts of the pictures judged must not be hidden behind those of the file."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5a6470; --paper: #ffffff; --line: #d5dae0;
  --band: #f4f6f8; --s0: #1f5fc4; --s1: #c2410c; --s2: #257a3e; --s3: #8b35b0; --s4: #8a6a00; --s5: #0b7285; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa5b1; --paper: #14171b;
  --line: #343b44; --band: #1d2228; --s0: #7fb0ff; --s1: #ff9a62; --s2: #6fd58a; --s3: #dd9bf5; --s4: #f0cd58;
  --s5: #62d3e6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 4rem; max-width: 72rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0.4rem 0; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 0.6rem; padding-top: 0.8rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: 0.6rem 0; }
.subtitle, figcaption, .axis, .legend { color: var(--soft); }
figure { margin: 1rem 0; }
figcaption { font-size: 0.9rem; margin-bottom: 0.4rem; max-width: 46rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.55rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td.number, th.number { text-align: right; white-space: nowrap; }
tbody tr:nth-child(odd) { background: var(--band); }
.strip { display: flex; gap: 4px; }
.strip div { flex: 1 0 5.5rem; max-width: 256px; text-align: center; font-size: 0.8rem; color: var(--soft); }
.strip img { display: block; width: 100%; height: auto; border-radius: 3px; }
.plot { min-width: 26rem; width: 100%; max-width: 48rem; height: auto; display: block; font-size: 12px; }
.plot text { fill: var(--soft); }
.plot .grid { stroke: var(--line); stroke-width: 1; }
.plot circle { fill: none; stroke-width: 2; }
.plot polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; font-size: 0.85rem; margin: 0.3rem 0; }
.legend svg { width: 26px; height: 10px; vertical-align: middle; margin-right: 0.4rem; }
"""


class Page:
    """Builds the file from top to bottom. Every text is escaped; one thread."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title = title
        self._parts = [f"<h1>{html.escape(title)}</h1>"]
        if subtitle:
            self._parts.append(f'<p class="subtitle">{html.escape(subtitle)}</p>')

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Plain text."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def table(
        self,
        headers: Sequence[str],
        rows: Sequence[Sequence[str | float | None]],
        caption: str = "",
    ) -> None:
        """One row a line; numbers stand to the right, None and NaN are a dash.

        Raises ``ValueError`` where a row has not one cell for each header.
        """
        if any(len(row) != len(headers) for row in rows):
            raise ValueError(f"every row must have {len(headers)} cells")
        numeric = [
            bool(rows) and all(is_number(row[column]) for row in rows)
            for column in range(len(headers))
        ]
        head = "".join(
            _cell("th", text, number) for text, number in zip(headers, numeric, strict=True)
        )
        body = "".join(
            "<tr>"
            + "".join(_cell("td", shown(v), n) for v, n in zip(row, numeric, strict=True))
            + "</tr>\n"
            for row in rows
        )
        self._figure(
            caption,
            f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>',
        )

    def strip(self, caption: str, pictures: Sequence[Pixels], labels: Sequence[str] = ()) -> None:
        """One row of pictures, each (H, W, 3) uint8 RGB, with ``labels`` below the first ones."""
        cells = []
        for index, picture in enumerate(pictures):
            label = labels[index] if index < len(labels) else ""
            named = html.escape(label or f"{caption}, {index + 1}", quote=True)
            height, width = picture.shape[:2]
            cells.append(
                f'<div><img src="{_data_uri(picture)}" width="{width}" height="{height}"'
                f' alt="{named}" loading="lazy">{html.escape(label)}</div>'
            )
        self._figure(caption, f'<div class="wide"><div class="strip">{"".join(cells)}</div></div>')

    def plot(
        self,
        caption: str,
        series: Mapping[str, Sequence[float]],
        x: Sequence[float] | None = None,
        unit: str = "",
    ) -> None:
        """Lines over ``x`` (None: 0, 1, 2, ...), one a name; NaN and infinity are gaps. ``unit``: of the values.

        Raises ``ValueError`` where a series is not as long as ``x``.
        """
        self._figure(caption, chart(series, x, unit, caption))

    def bars(self, caption: str, values: Mapping[str, float], unit: str = "") -> None:
        """Lengths side by side, one a name, none negative; NaN and infinity are a dash."""
        self._figure(caption, bars(values, unit, caption))

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all. Raises ``StorageError``."""
        from lia_live.model.weights_file import write_atomically  # brings torch: only when needed

        body = "\n".join(self._parts)
        text = (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{html.escape(self._title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
            f"<body>\n{body}\n</body>\n</html>\n"
        )
        write_atomically(Path(path), text.encode("utf-8", "replace"))

    def _figure(self, caption: str, content: str) -> None:
        words = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
        self._parts.append(f"<figure>{words}{content}</figure>")


def shown(value: str | float | None) -> str:
    """A cell as text: numbers with about three digits, None and NaN as a dash."""
    if isinstance(value, str):
        return value
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, int):
        return str(value)
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{value:.{digits}f}"


def is_number(value: str | float | None) -> bool:
    """Whether a cell belongs to the right of its column: a number, no number, or text that begins with one."""
    return not isinstance(value, str) or re.match(r"[-+–]?\d|–$", value) is not None


def _cell(tag: str, text: str, number: bool) -> str:
    kind = ' class="number"' if number else ""
    return f"<{tag}{kind}>{html.escape(text)}</{tag}>"


def _data_uri(picture: Pixels) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def make_folder(folder: Path) -> None:
    """The folder of the report. Raises ``StorageError`` where it cannot be made or written to."""
    import tempfile

    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        raise StorageError(
            f"{folder} is a file, not a folder", "name a folder after --out"
        ) from None
    except FileNotFoundError:
        raise StorageError(
            f"there is no folder {folder.parent}", f"create it: mkdir -p {folder.parent}"
        ) from None
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written to ({error.strerror})",
            "name another folder after --out, or change its permissions",
        ) from error
