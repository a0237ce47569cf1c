"""Plain HTTP: the page, pictures, health, figures, and portraits that are brought."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from skimage import data

from lia_live.avatar import Avatar
from lia_live.errors import ConfigError
from lia_live.model.config import Framing, LIAConfig
from lia_live.model.lia import LIA
from lia_live_server import ServerConfig, client_directory, create_app, upload_child
from lia_live_server.protocol import ProtocolError
from lia_live_server.uploads import MOST_A_SESSION, decoded
from tests.server.harness import RunningServer, joined, opened, shade


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer() as running:
        yield running


def fetch(server: RunningServer, path: str, **headers: str) -> httpx.Response:
    return httpx.get(server.url + path, headers=headers)


def test_the_page_and_all_of_its_files(server: RunningServer) -> None:
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
    answer = fetch(server, "")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-cache"
    for path in client_directory().rglob("*"):
        if path.suffix in kinds:
            found = fetch(server, path.relative_to(client_directory()).as_posix())
            assert found.status_code == 200, path
            assert found.headers["content-type"].startswith(kinds[path.suffix]), path
    again = fetch(server, "", **{"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_nothing_inline_and_no_other_host(server: RunningServer) -> None:
    policy = fetch(server, "").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?:", policy)
    for path in client_directory().rglob("*"):
        if path.suffix in (".html", ".css", ".js"):
            text = path.read_text("utf-8").replace("http://www.w3.org/", "")
            assert not re.search(r"(src|href|url\()\s*=?\s*[\"']?https?://", text), path
    html = (client_directory() / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+=|<style", html)


@pytest.mark.parametrize(
    "path",
    ["nothing", "../pyproject.toml", "..%2fpyproject.toml", "%2e%2e/pyproject.toml", "css", "js/", ".git/config",
     "css/../../server/app.py", 300 * "x" + ".js", "js/main.js/x.js", "%ff%fe.js",
     "avatars/green.jpg", "avatars/green.jpg?key=0", "index.html%00", "__init__.py"],
)  # fmt: skip
def test_what_is_not_there(server: RunningServer, path: str) -> None:
    assert fetch(server, path).status_code == 404


def test_pictures_of_avatars(server: RunningServer) -> None:
    async def addresses() -> list[str]:
        async with joined(server) as client:
            return [avatar["picture_url"] for avatar in client.welcome["avatars"]]

    for address, name in zip(asyncio.run(addresses()), ("green", "blue"), strict=True):
        found = fetch(server, address)
        assert found.headers["content-type"] == "image/jpeg"
        assert shade(np.asarray(Image.open(io.BytesIO(found.content)))) == name


def test_health_and_figures(server: RunningServer) -> None:
    assert fetch(server, "healthz").json() == {"status": "ok"}
    text = fetch(server, "metrics").text
    assert re.search(r"^lia_live_sessions \d+$", text, re.MULTILINE)
    names = re.findall(r"^# TYPE (\w+) (?:gauge|counter)$", text, re.MULTILINE)
    assert len(names) == len(set(names)) > 10
    assert fetch(server, "metrics", **{"x-forwarded-for": "203.0.113.5"}).status_code == 404


def test_other_names_are_not_answered(server: RunningServer) -> None:
    assert fetch(server, "", host="evil.org").status_code == 421
    assert "content-security-policy" in fetch(server, "", host="evil.org").headers


def test_draining_is_told(server: RunningServer) -> None:
    async def refused() -> dict:
        async with opened(server) as client:
            await client.send("join")
            return await client.wait_for("error")

    server.parts.book.draining = True
    try:
        assert fetch(server, "healthz").status_code == 503
        assert asyncio.run(refused())["code"] == "stopping"
    finally:
        server.parts.book.draining = False


# Portraits that are brought

TOKEN = "correct horse battery"


def small_model() -> LIA:
    import torch

    torch.manual_seed(0)
    return LIA(LIAConfig(size=64, width=0.0625, latent_dim=32, framing=Framing())).eval()


@pytest.fixture(scope="module")
def taking() -> Iterator[RunningServer]:
    model = small_model()
    avatar = Avatar.from_image(data.astronaut(), model, name="astronaut")
    config = ServerConfig(allow_upload=True, token=TOKEN)
    with RunningServer(config, model=model, avatars=[avatar]) as running:
        running.parts.door.uploads.take = lambda peer: 0.0
        yield running


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def bring(server: RunningServer, body: bytes, secret: str, **headers: str) -> httpx.Response:
    given = {
        "authorization": f"Bearer {TOKEN}",
        "x-session": secret,
        "x-consent": "me",
        "x-name": "M%C3%A9",
    }
    return httpx.post(
        server.url + "avatars", content=body, headers={**given, **headers}, timeout=30
    )


def test_a_portrait_is_taken_seen_by_its_owner_only_and_forgotten(taking: RunningServer) -> None:
    async def scenario() -> None:
        async with joined(taking, token=TOKEN) as mine, joined(taking, token=TOKEN) as other:
            assert mine.welcome["uploads"]
            secret = mine.welcome["resume"]
            face = data.astronaut()[:300, 60:420]
            answer = await asyncio.to_thread(bring, taking, png(face), secret)
            assert answer.status_code == 201, answer.text
            told = answer.json()
            assert (told["name"], told["own"]) == ("Mé", True)
            picture = await asyncio.to_thread(fetch, taking, told["picture_url"])
            assert picture.headers["content-type"] == "image/jpeg"
            await mine.send("avatar", name="Mé")
            await mine.wait_for("status", lambda m: m["avatar"] == "Mé")
            await other.send("avatar", name="Mé")
            assert (await other.wait_for("error"))["code"] == "unknown_avatar"
            mine.drop()
            await asyncio.sleep(0.2)
            async with joined(taking, resume=secret) as again:
                assert [a["name"] for a in again.welcome["avatars"]] == ["astronaut", "Mé"]
                assert again.welcome["avatar"] == "Mé"
            await asyncio.sleep(0.3)
            gone = await asyncio.to_thread(fetch, taking, told["picture_url"])
            assert gone.status_code == 404

    asyncio.run(scenario())


def test_portraits_that_are_refused(taking: RunningServer) -> None:
    async def scenario() -> None:
        async with joined(taking, token=TOKEN) as client:
            secret = client.welcome["resume"]
            wall = np.full((200, 200, 3), 128, np.uint8)

            async def told(body: bytes, secret: str = secret, **headers: str) -> tuple[int, str]:
                answer = await asyncio.to_thread(bring, taking, body, secret, **headers)
                assert "Traceback" not in answer.text
                return answer.status_code, answer.json()["code"]

            assert await told(b"no picture") == (400, "picture")
            assert await told(b"") == (400, "picture")
            assert await told(png(wall)) == (400, "picture")  # nobody in it
            assert await told(png(wall)[:-30]) == (400, "picture")
            assert await told(bomb()) == (400, "picture")
            assert await told(bytes(11 * 2**20)) == (413, "too_big")
            assert await told(png(wall), **{"x-consent": "yes"}) == (400, "consent")
            assert await told(png(wall), "wrong secret") == (403, "session")
            assert await told(png(wall), authorization="Bearer nonsense") == (401, "token")
            assert await told(png(wall), authorization="") == (401, "token")
            assert await told(png(wall), origin="http://evil.org") == (403, "origin")

    asyncio.run(scenario())


def test_pictures_that_were_refused_do_not_count(taking: RunningServer) -> None:
    async def scenario() -> None:
        async with joined(taking, token=TOKEN) as client:
            secret = client.welcome["resume"]
            for _ in range(5):
                answer = await asyncio.to_thread(bring, taking, b"no picture", secret)
                assert answer.json()["code"] == "picture"
            face = png(data.astronaut()[:300, 60:420])
            for _ in range(MOST_A_SESSION):
                answer = await asyncio.to_thread(bring, taking, face, secret)
                assert answer.status_code == 201, answer.text
            answer = await asyncio.to_thread(bring, taking, face, secret)
            assert (answer.status_code, answer.json()["code"]) == (409, "too_many")

    asyncio.run(scenario())


def test_a_portrait_that_comes_after_its_session_is_not_kept(taking: RunningServer) -> None:
    """The tab was closed while the picture was still being opened."""

    async def scenario() -> None:
        gallery = taking.parts.gallery
        before = dict(gallery._entries)
        async with joined(taking, token=TOKEN) as client:
            secret = client.welcome["resume"]
            held = threading.Event()
            gallery.thread.submit(held.wait, 20)  # busy with somebody else's
            face = png(data.astronaut()[:300, 60:420])
            bringing = asyncio.create_task(asyncio.to_thread(bring, taking, face, secret))
            await asyncio.sleep(0.5)
            await client.send("bye")
            while len(taking.parts.book):
                await asyncio.sleep(0.02)
            held.set()
            answer = await bringing
            assert (answer.status_code, answer.json()["code"]) == (403, "session")
        # nothing new; what earlier sessions brought may go meanwhile
        assert gallery._entries.keys() <= before.keys()

    asyncio.run(scenario())


def test_no_portrait_is_written_to_a_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sizes: list[int] = []

    async def scenario() -> None:
        decoding = asyncio.create_task(decoded(png(data.astronaut())))
        while not decoding.done():
            sizes.extend(one.stat().st_size for one in tmp_path.glob("*/*"))
            await asyncio.sleep(0.005)
        assert decoding.result().shape == (512, 512, 3)

    asyncio.run(scenario())
    assert sizes == []


def test_a_child_that_writes_without_end_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = tmp_path / "child.py"
    child.write_text("import sys\nwhile True: sys.stdout.buffer.write(bytes(1 << 20))\n")
    monkeypatch.setattr(upload_child, "__file__", str(child))
    began = time.monotonic()
    with pytest.raises(ProtocolError, match="no usable picture"):
        asyncio.run(decoded(b"picture"))
    assert time.monotonic() - began < 15  # and not the child's own 20 s


def bomb() -> bytes:
    """A few bytes that claim 20,000 x 20,000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def test_uploads_are_off_unless_asked_for(server: RunningServer) -> None:
    answer = httpx.post(server.url + "avatars", content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (403, "uploads_off")
    with pytest.raises(ConfigError):
        create_app(ServerConfig(allow_upload=True), None, [])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_the_child_decodes_what_cameras_and_phones_write(kind: str) -> None:
    face = data.astronaut()
    found = asyncio.run(decoded(png(face, kind)))
    assert found.shape == face.shape
    assert np.abs(found.astype(int) - face).mean() < 12


def test_the_child_reduces_large_pictures_and_turns_them_upright() -> None:
    image = Image.fromarray(np.zeros((1500, 3000, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    assert asyncio.run(decoded(file.getvalue())).shape == (2048, 1024, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere not every limit is known")
@pytest.mark.parametrize(
    "tried",
    [
        "open('made', 'wb').write(b'x')",
        "open('secret').read()",
        "socket.socket()",
        "os.fork()",
        "bytearray(2 << 30)",
    ],
)
def test_the_child_has_no_rights(tmp_path: Path, tried: str) -> None:
    (tmp_path / "secret").write_text("the token")
    program = (
        f"import os, socket, sys; sys.path.insert(0, {str(Path(upload_child.__file__).parent)!r})\n"
        f"import upload_child; upload_child.confine()\n{tried}\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, check=False
    )
    if tried == "os.fork()" and os.getuid() == 0:
        return  # the system lets root start processes all the same
    assert done.returncode == 1
    assert re.search(rb"^(OSError|BlockingIOError|MemoryError)", done.stderr, re.M), done.stderr


def unusual() -> dict[str, bytes]:
    """Pictures that make Pillow reach for more of its parts."""
    image = Image.fromarray(data.astronaut())
    exif = image.getexif()
    exif[0x0112] = 1
    clear = image.convert("RGBA")
    clear.putalpha(200)
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
    deep = Image.fromarray(data.astronaut()[:, :, 0].astype(np.uint16) * 257)
    more = [image.transpose(Image.Transpose.ROTATE_90), palette.convert("RGB")]
    made = {
        "a phone's two pictures": (image, {"format": "MPO", "save_all": True, "append_images": more, "exif": exif}),
        "moving GIF": (palette, {"format": "GIF", "save_all": True, "append_images": more, "transparency": 3}),
        "moving WebP": (clear, {"format": "WEBP", "save_all": True, "append_images": more, "exif": exif}),
        "moving PNG": (clear, {"format": "PNG", "save_all": True, "append_images": [clear]}),
        "clear palette": (palette, {"format": "PNG", "transparency": 3, "exif": exif}),
        "16 bits": (deep, {"format": "PNG"}),
        "printer's JPEG": (image.convert("CMYK"), {"format": "JPEG", "progressive": True, "exif": exif}),
    }  # fmt: skip
    files = {}
    for name, (picture, how) in made.items():
        file = io.BytesIO()
        picture.save(file, **how)
        files[name] = file.getvalue()
    return files


@pytest.mark.parametrize("name", unusual())
def test_the_child_needs_no_rights_for_unusual_pictures(name: str) -> None:
    assert asyncio.run(decoded(unusual()[name])).shape == (512, 512, 3)
