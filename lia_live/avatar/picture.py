"""Any picture a person has, as upright RGB pixels. Sizes are checked before anything is decoded."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from lia_live.errors import MediaError, StorageError
from lia_live.frame import Pixels

MAX_BYTES: Final = 200 * 2**20
"""Largest picture file that is opened."""
MAX_PIXELS: Final = 120_000_000
"""Largest picture that is decoded (phones write up to 108 megapixels); 360 MB as RGB."""
MAX_SIDE: Final = 4096
"""Larger pictures are reduced to this on the long side: a face in them has more pixels than any model."""
HEIC_BRANDS: Final = (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"heis", b"hevc")
"""Bytes 8 to 12 of the pictures that iPhones take; bytes 4 to 8 are ``ftyp``, as of an MP4."""
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000")
_BACKGROUND: Final = (128, 128, 128)
"""What shows through transparent parts: mid grey, neither halo nor shadow."""
_BROKEN: Final = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, zlib.error)
"""What Pillow's decoders raise on damaged files."""
_GOOD_KINDS: Final = "choose a JPEG, PNG or WebP picture"


@dataclass(frozen=True)
class Picture:
    """A decoded picture and what the person should know about it."""

    pixels: Pixels
    """(H, W, 3) uint8 RGB, upright, at most 4096 on the long side."""
    notes: tuple[str, ...] = ()
    """One-line remarks: only the first frame of an animation was taken."""


def read_picture(path: str | Path) -> Pixels:
    """The picture in a file as (H, W, 3) uint8 RGB, upright. See ``decode_picture``."""
    return decode_picture(path).pixels


def decode_picture(path: str | Path) -> Picture:
    """Decode a JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or JPEG 2000 file.

    Turned as EXIF says; colour profiles brought to sRGB; 16 bits, CMYK and greyscale converted; transparent
    parts laid on mid grey; of an animation the first frame, with a note. Raises ``MediaError`` for what is no
    usable picture and ``StorageError`` for what may not be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise MediaError(f"{path} is a folder, not a picture", "name a picture inside it")
        if path.exists() and not path.is_file():
            raise MediaError(f"{path} is not an ordinary file", _GOOD_KINDS)
        with path.open("rb") as file:
            return _decode(file, path)
    except FileNotFoundError:
        raise MediaError(f"no such picture: {path}", "check the path") from None
    except PermissionError as error:
        raise StorageError(f"{path} may not be read", "change its permissions") from error
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror})", "check the path") from error


def _decode(file: IO[bytes], path: Path) -> Picture:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size == 0:
        raise MediaError(f"{path} is empty (0 bytes)", _GOOD_KINDS)
    if size > MAX_BYTES:
        raise MediaError(
            f"{path} has {size / 2**20:.0f} MB, more than the {MAX_BYTES / 2**20:.0f} allowed",
            "save it smaller",
        )
    with warnings.catch_warnings():
        # Pillow warns of sizes (our own limit is checked before decoding) and of damaged EXIF.
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=_FORMATS) as image:
                return _convert(image, path)
        except Image.DecompressionBombError as error:
            raise _too_large(path) from error
        except UnidentifiedImageError as error:
            raise _no_picture(file, path) from error
        except MemoryError as error:
            raise _too_large(path) from error
        except _BROKEN as error:
            raise MediaError(
                f"{path} is damaged or cut short ({_one_line(error)})", "export or copy it again"
            ) from error


def _convert(image: Image.Image, path: Path) -> Picture:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(path, width, height)
    notes: tuple[str, ...] = ()
    if getattr(image, "is_animated", False) and image.format != "MPO":
        notes = ("an animation: only its first picture is used",)
    if image.format in ("JPEG", "MPO"):
        image.draft(None, (MAX_SIDE, MAX_SIDE))  # decodes a huge JPEG at half size or less
    image.load()
    upright = _upright(image)
    if max(upright.size) > MAX_SIDE:
        upright = _resizable(upright)
        upright.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX, reducing_gap=None)
    return Picture(np.array(_rgb(upright, image.info.get("icc_profile")), dtype=np.uint8), notes)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF asks; a damaged EXIF asks for nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except _BROKEN:
        return image.copy()


def _resizable(image: Image.Image) -> Image.Image:
    """Palettes and single bits cannot be averaged."""
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.convert("L") if image.mode == "1" else image


def _rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """8-bit sRGB of any mode that Pillow decodes to."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_wide(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (*_BACKGROUND, 255))
        return _in_srgb(Image.alpha_composite(background, image).convert("RGB"), profile)
    if image.mode not in ("RGB", "CMYK", "L", "LAB"):
        image = image.convert("RGB")
    return _in_srgb(image, profile).convert("RGB")


def _from_wide(image: Image.Image) -> Image.Image:
    """16 or 32 bits or floats of grey to 8 bits: 16-bit files by their full scale, others by their range."""
    values = np.asarray(image, dtype=np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    if image.mode == "F" and top <= 1.0:
        scale = 255.0
    elif top <= 255:
        scale = 1.0
    else:
        scale = 255.0 / max(top, 65535.0)
    return Image.fromarray(np.clip(values * scale, 0, 255).round().astype(np.uint8))


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours brought from the embedded profile (wide-gamut phones, print) to sRGB; unchanged if it is unusable."""
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted


def _too_large(path: Path, width: int = 0, height: int = 0) -> MediaError:
    size = f"{width} x {height} pixels" if width else "far too many pixels"
    return MediaError(
        f"{path} has {size}, more than the {MAX_PIXELS // 1_000_000} megapixels allowed",
        "save it smaller",
    )


def _no_picture(file: IO[bytes], path: Path) -> MediaError:
    """What the first bytes say about a file that Pillow does not know."""
    file.seek(0)
    head = file.read(512)
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in HEIC_BRANDS:
        return MediaError(f"{path} is a HEIC picture", "export it as JPEG (phone: share as JPEG)")
    if brand or head[:4] == b"\x1aE\xdf\xa3":
        return MediaError(f"{path} is a video, not a picture", "save one frame of it as PNG")
    if head and b"\0" not in head:
        return MediaError(f"{path} is text, not a picture", _GOOD_KINDS)
    return MediaError(f"{path} is not a picture that can be read", _GOOD_KINDS)


def _one_line(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return words[:120] or type(error).__name__
