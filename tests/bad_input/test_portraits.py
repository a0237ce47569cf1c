"""Portraits and bundles that cannot be used."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import pytest


def bomb(path: Path, side: int = 30_000) -> None:
    """A valid PNG of side x side black pixels: about 100 kB that unpack to 112 MB, or 2.7 GB as RGB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + side // 8)) for _ in range(side)) + rows.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def bad_portrait(kind: str, folder: Path, good: Path) -> Path:
    from PIL import Image

    path = folder / f"{kind}.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("this is a letter, not a picture\n" * 50)
    elif kind == "empty":
        path.touch()
    elif kind == "truncated":
        path.write_bytes(good.read_bytes()[:20_000])
    elif kind == "bomb":
        bomb(path)
    elif kind == "animated":
        path = folder / "animated.gif"
        frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    elif kind == "faceless":
        Image.new("RGB", (400, 400), "grey").save(path)
    return path


PORTRAITS = ("missing", "folder", "text", "empty", "truncated", "bomb", "animated", "faceless")


@pytest.mark.parametrize("kind", PORTRAITS)
def test_portrait(kind, files, live, tmp_path):
    path = bad_portrait(kind, tmp_path, files / "me.png")
    what, _ = live(3, avatar=path)
    assert path.name in what


@pytest.mark.parametrize("kind", ("text", "bomb"))
def test_portrait_of_the_other_commands(kind, files, animate, refused, tmp_path):
    path = bad_portrait(kind, tmp_path, files / "me.png")
    weights = files / "tiny.safetensors"
    animate(3, avatar=path)
    refused(3, "avatar", "build", path, "--weights", weights, "--consent", "me")
    assert not path.with_suffix(".avatar").exists()


@pytest.fixture(scope="module")
def good_bundle(files) -> Path:
    from lia_live.avatar import Avatar
    from lia_live.model import load_model

    model = load_model(files / "tiny.safetensors", "cpu")
    Avatar.from_image(files / "me.png", model).with_consent("me").save(files / "me.avatar")
    return files / "me.avatar"


@pytest.mark.parametrize("kind", ("missing", "empty", "text", "truncated", "other model"))
def test_bundle(kind, files, good_bundle, live, refused, tmp_path):
    bundle = tmp_path / "me.avatar"
    shutil.copy(good_bundle, bundle)
    if kind == "missing":
        bundle.unlink()
    elif kind == "empty":
        bundle.write_bytes(b"")
    elif kind == "text":
        bundle.write_text("not a bundle " * 20)
    elif kind == "truncated":
        bundle.write_bytes(bundle.read_bytes()[:-1000])
    weights = "other" if kind == "other model" else "tiny"
    live(3, avatar=bundle, weights=files / f"{weights}.safetensors")
    if kind != "other model":
        refused(3, "avatar", "info", bundle)


@pytest.mark.parametrize("label", (b'\\"size\\": "', b'\\"sine\\": 64'))
def test_bundle_with_a_damaged_label(label, good_bundle, refused, tmp_path):
    bundle = tmp_path / "me.avatar"
    whole = good_bundle.read_bytes()
    assert whole.count(b'\\"size\\": 64') == 1
    bundle.write_bytes(whole.replace(b'\\"size\\": 64', label.ljust(12)))
    assert bundle.stat().st_size == len(whole)
    for more in ([], ["--json"]):
        what, _ = refused(3, "avatar", "info", bundle, *more)
        assert "damaged" in what or "not an avatar bundle" in what
