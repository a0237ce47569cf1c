"""Any picture a person has, and everything that is none."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from lia_live.avatar import decode_picture, read_picture
from lia_live.errors import MediaError, StorageError
from tests.avatar.pictures import difference, encoded, portrait, write
from tests.track.faces import hopper


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("PPM", {}, 0),
        ("JPEG", {"quality": 90}, 3),
        ("JPEG", {"quality": 90, "progressive": True}, 3),
        ("WEBP", {"quality": 90}, 4),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG2000", {"irreversible": False}, 0),
        ("GIF", {}, 12),
    ],
)
def test_formats(tmp_path: Path, kind: str, options: dict, tolerance: float) -> None:
    path = write(tmp_path / "me.any", portrait(), kind, **options)
    pixels = read_picture(path)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous and pixels.flags.writeable
    assert difference(pixels, hopper()) <= tolerance
    assert decode_picture(path).notes == ()


def test_transparent_parts_become_mid_grey(tmp_path: Path) -> None:
    image = portrait().convert("RGBA")
    alpha = np.full((600, 512), 255, np.uint8)
    alpha[:100] = 0
    alpha[100:200] = 128
    image.putalpha(Image.fromarray(alpha))
    pixels = read_picture(write(tmp_path / "me.png", image, "PNG"))
    assert (pixels[:100] == 128).all()
    half = (hopper()[100:200].astype(float) + 128) / 2
    assert np.abs(pixels[100:200] - half).max() <= 2
    assert (pixels[200:] == hopper()[200:]).all()


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (4, 0, 8, 8))
    pixels = read_picture(write(tmp_path / "me.png", image, "PNG", transparency=0))
    assert (pixels[:, :4] == 128).all()
    assert (pixels[:, 4:] == (0, 255, 0)).all()


def test_grey_with_alpha_and_plain_grey(tmp_path: Path) -> None:
    grey = portrait().convert("L")
    expected = np.asarray(grey)[:, :, None].repeat(3, axis=2)
    assert difference(read_picture(write(tmp_path / "l.png", grey, "PNG")), expected) == 0
    pair = Image.merge("LA", (grey, Image.new("L", grey.size, 255)))
    assert difference(read_picture(write(tmp_path / "la.png", pair, "PNG")), expected) == 0
    bits = portrait().convert("1")
    assert set(np.unique(read_picture(write(tmp_path / "1.png", bits, "PNG")))) == {0, 255}


def test_sixteen_bits(tmp_path: Path) -> None:
    wide = hopper().astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "rgb.png"), wide[:, :, ::-1])
    assert difference(read_picture(tmp_path / "rgb.png"), hopper()) <= 0.5
    cv2.imwrite(str(tmp_path / "grey.png"), wide[:, :, 1])
    grey = hopper()[:, :, 1:2].repeat(3, axis=2)
    assert difference(read_picture(tmp_path / "grey.png"), grey) <= 0.6
    cv2.imwrite(str(tmp_path / "grey.tiff"), wide[:, :, 1])
    assert difference(read_picture(tmp_path / "grey.tiff"), grey) <= 0.6
    Image.fromarray(hopper()[:, :, 1].astype(np.float32) / 255).save(tmp_path / "float.tiff")
    assert difference(read_picture(tmp_path / "float.tiff"), grey) <= 0.6


def test_sixteen_bit_colour_tiff_is_read_or_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "rgb.tiff"
    cv2.imwrite(str(path), (hopper().astype(np.uint16) * 257)[:, :, ::-1])
    try:
        assert difference(read_picture(path), hopper()) <= 0.6
    except MediaError as error:
        assert "PNG" in error.hint or "JPEG" in error.hint


def test_cmyk(tmp_path: Path) -> None:
    pixels = read_picture(
        write(tmp_path / "me.jpg", portrait().convert("CMYK"), "JPEG", quality=95)
    )
    assert difference(pixels, hopper()) <= 4


def test_colours_of_a_wide_gamut_come_out_as_srgb(tmp_path: Path) -> None:
    swapped = portrait()
    linear = ImageCms.createProfile("XYZ")  # any profile that is not sRGB changes the numbers
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = read_picture(write(tmp_path / "srgb.png", swapped, "PNG", icc_profile=profile))
    assert difference(same, hopper()) <= 1
    broken = read_picture(write(tmp_path / "broken.png", swapped, "PNG", icc_profile=b"nonsense"))
    assert difference(broken, hopper()) == 0
    assert linear is not None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_as_exif_says(tmp_path: Path, orientation: int) -> None:
    stored = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: p.transpose(1, 0, 2)[::-1],
        7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda p: p.transpose(1, 0, 2)[:, ::-1],
    }[orientation](hopper())
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    path = write(tmp_path / "me.jpg", image, "JPEG", quality=95, exif=exif)
    assert difference(read_picture(path), hopper()) <= 3


def test_a_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    path = write(
        tmp_path / "me.jpg", portrait(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"
    )
    assert difference(read_picture(path), hopper()) <= 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_12_megapixel_photo_is_reduced_not_refused(tmp_path: Path, kind: str) -> None:
    photo = portrait().resize((4200, 3150))
    pixels = read_picture(write(tmp_path / "photo", photo, kind))
    assert max(pixels.shape) <= 4200
    assert max(pixels.shape) >= 2048
    assert pixels.shape[1] / pixels.shape[0] == pytest.approx(4 / 3, rel=0.01)


def test_of_an_animation_the_first_picture_with_a_note(tmp_path: Path) -> None:
    for kind in ("GIF", "WEBP", "PNG"):
        frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
        path = write(
            tmp_path / f"me.{kind}", frames[0], kind, save_all=True, append_images=frames[1:]
        )
        picture = decode_picture(path)
        assert np.abs(picture.pixels.astype(int) - (255, 0, 0)).max() < 8
        assert len(picture.notes) == 1
        assert "animation" in picture.notes[0]


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header says so; ``data`` is what is there of its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def bad_files() -> dict[str, tuple[bytes, str]]:
    """Contents that are no usable picture, and a word of the message."""
    jpeg, still = encoded(portrait(), "JPEG"), encoded(portrait(), "PNG")
    webp, gif = encoded(portrait(), "WEBP"), encoded(portrait(), "GIF")
    return {
        "empty": (b"", "empty"),
        "text": (b"Dear Sir or Madam,\n" * 20, "text"),
        "script": (b"#!/bin/sh\necho hello\n", "text"),
        "noise": (np.random.default_rng(0).bytes(5000), "not a picture"),
        "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300), "HEIC"),
        "mp4": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(300), "video"),
        "webm": (b"\x1aE\xdf\xa3" + bytes(300), "video"),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),
        "bomb": (png(30_000, 30_000), "too many pixels"),
        "small bomb": (png(11_000, 11_000), "11000 x 11000 pixels"),
        "wide bomb": (png(2_000_000_000, 2), "megapixels"),
        "cut jpeg": (jpeg[: len(jpeg) // 2], "damaged or cut short"),
        "cut png": (still[: len(still) // 2], "damaged or cut short"),
        "cut webp": (webp[: len(webp) // 2], "damaged or cut short"),
        "cut gif": (gif[: len(gif) // 2], "damaged or cut short"),
        "png of nothing": (png(100, 100), "damaged or cut short"),
        "jpeg head": (jpeg[:20], "not a picture"),
    }


@pytest.mark.parametrize("kind", bad_files())
def test_what_is_no_picture_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    content, word = bad_files()[kind]
    path = tmp_path / "me.png"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=word) as caught:
        read_picture(path)
    assert "me.png" in caught.value.message
    assert "\n" not in caught.value.message + caught.value.hint
    assert caught.value.hint


def test_missing_folder_and_device(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such picture"):
        read_picture(tmp_path / "nobody.png")
    with pytest.raises(MediaError, match="folder"):
        read_picture(tmp_path)
    with pytest.raises(MediaError, match="not an ordinary file"):
        read_picture("/dev/zero")


def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "me.png", portrait(), "PNG")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # tests may run as a user who may read everything
    with pytest.raises(StorageError, match="may not be read"):
        read_picture(path)


def test_a_huge_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "me.png"
    with path.open("wb") as file:
        file.truncate(300 * 2**20)  # sparse: takes no space
    with pytest.raises(MediaError, match="300 MB"):
        read_picture(path)
