"""The child that opens a stranger's picture: little memory, little time, opens no file and no connection.

Run as a script with Python's ``-I``; imports nothing of this project. Reads the file from stdin; writes "height
width\\n" and the pixels (H, W, 3) uint8 RGB to stdout, or "no <reason>\\n" and exits with ``REFUSED``.
"""

from __future__ import annotations

import io
import sys
from typing import BinaryIO

MOST_PIXELS = 17_000_000
LONGEST_SIDE = 2048
"""What goes back is reduced to this: a face in it has more pixels than any model."""
REFUSED = 3
MEMORY_BYTES = 1 << 30
CPU_S = 15
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")


def confine() -> None:
    """Limits that hold for whatever the decoder may be tricked into. Where the system knows none: nothing."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_NOFILE, 3),  # what is open: nothing else can be opened, sockets included
        (resource.RLIMIT_NPROC, 0),
    ):
        try:
            resource.setrlimit(kind, (most, most))
        except (ValueError, OSError):  # macOS does not know every one
            continue


def main(file: BinaryIO) -> int:
    """Decode ``file``; returns the exit code."""
    # Before the limits, and what Pillow would import only when it comes to it: modules are files, too.
    import copy  # noqa: F401

    from PIL import (  # noqa: F401
        Image,
        ImageColor,
        ImageFile,
        ImageFilter,
        ImageOps,
        ImagePalette,
        MpoImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    Image.preinit()

    confine()
    Image.MAX_IMAGE_PIXELS = None  # the size is checked here
    try:
        with Image.open(io.BytesIO(file.read()), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                return refuse(f"it has {width} x {height} pixels, more than 17 million")
            image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            image.load()
            try:
                upright = ImageOps.exif_transpose(image)
            except Exception:  # damaged EXIF asks for nothing
                upright = image
            if upright.mode in ("RGBA", "LA", "PA", "P"):
                rgba = upright.convert("RGBA")
                ground = Image.new("RGBA", rgba.size, (128, 128, 128, 255))
                upright = Image.alpha_composite(ground, rgba)
            picture = upright.convert("RGB")
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    except MemoryError:
        return refuse("it needs too much memory")
    except Exception:  # a decoder has a hundred ways to say no
        return refuse("it is damaged, or of a kind that is not known here")
    out = sys.stdout.buffer
    out.write(f"{picture.height} {picture.width}\n".encode())
    out.write(picture.tobytes())
    out.flush()
    return 0


def refuse(why: str) -> int:
    sys.stdout.write(f"no {why}\n")
    sys.stdout.flush()
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer))
