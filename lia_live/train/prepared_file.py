"""One safetensors file of prepared data: pictures as they are or as JPEG, numbers, and a few words.

Reading needs torch and safetensors only, so training runs where no face finder is installed; Pillow is
imported when there are JPEG bytes to make or to read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lia_live.errors import MediaError, StorageError
from lia_live.model.weights_file import write_atomically

Store = Literal["raw", "jpeg"]
""""raw": bytes of the pixels. "jpeg": a tenth of the size for travelling, decoded while loading."""
JPEG_QUALITY: Final = 92
HINT: Final = "make it with `lia-live train prepare IN OUT`"
_JPEG, _OFFSETS = ".jpeg", ".offsets"


class TensorFile(Protocol):
    """What ``safe_open`` gives, as far as it is used here."""

    def get_tensor(self, name: str) -> Tensor: ...


def write_prepared(
    path: str | Path, kind: str, tensors: Mapping[str, Tensor], words: Mapping[str, Any]
) -> None:
    """Write one file, whole or not at all. ``words``: anything JSON can hold. Raises ``StorageError``."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path.parent} cannot be created ({error.strerror or error})",
            "choose a folder that exists and is writable",
        ) from error
    metadata = {"format": kind, "words": json.dumps(dict(words))}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(whole, metadata))


def file_kind(path: str | Path) -> str:
    """The ``kind`` a file was written with, "" if it is another safetensors file.

    Raises ``MediaError`` if it is none that can be read.
    """
    try:
        with safe_open(str(path), "pt") as file:
            return str((file.metadata() or {}).get("format", ""))
    except (OSError, SafetensorError) as error:
        raise MediaError(f"cannot read prepared data from {path}: {error}", HINT) from error


def read_prepared(
    path: str | Path, kind: str, pictures: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and words of a file of this ``kind``; the tensor named ``pictures`` is decoded if it was JPEG.

    Raises ``MediaError`` for anything else.
    """
    try:
        with safe_open(str(path), "pt") as file:
            header = file.metadata() or {}
            if header.get("format") != kind:
                raise MediaError(f"{path} is not a file of {kind.rpartition(' ')[0]}", HINT)
            words = json.loads(header["words"])
            held = {pictures + _JPEG, pictures + _OFFSETS}
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names if name not in held}
            if pictures not in tensors:
                tensors[pictures] = _decoded(file, pictures, int(words["side"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise MediaError(f"cannot read prepared data from {path}: {error}", HINT) from error
    return tensors, words


def packed(name: str, pictures: Tensor, store: Store) -> dict[str, Tensor]:
    """Pictures (N, 3, P, P) uint8 as the tensors of a file: themselves, or JPEG bytes and where each begins."""
    if store == "raw":
        return {name: pictures}
    from PIL import Image

    parts: list[bytes] = []
    for picture in pictures.permute(0, 2, 3, 1).cpu().numpy():
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "JPEG", quality=JPEG_QUALITY)
        parts.append(data.getvalue())
    offsets = np.cumsum([0, *(len(part) for part in parts)])
    blob = np.frombuffer(b"".join(parts), np.uint8).copy()
    return {name + _JPEG: torch.from_numpy(blob), name + _OFFSETS: torch.from_numpy(offsets)}


def _decoded(file: TensorFile, name: str, side: int) -> Tensor:
    """(N, 3, ``side``, ``side``) uint8. Raises ``ValueError`` or ``OSError`` for damaged or foreign bytes."""
    from PIL import Image

    blob = file.get_tensor(name + _JPEG).numpy().tobytes()
    offsets = file.get_tensor(name + _OFFSETS).tolist()
    if offsets[:1] != [0] or offsets[-1] != len(blob):
        raise ValueError("the JPEG bytes are not as long as was said")
    pictures = torch.empty(len(offsets) - 1, 3, side, side, dtype=torch.uint8)
    for number, (begin, end) in enumerate(pairwise(offsets)):
        with Image.open(io.BytesIO(blob[begin:end]), formats=("JPEG",)) as picture:
            if picture.size != (side, side):  # before anything is decoded
                raise ValueError(f"picture {number} is not {side} pixels wide and high")
            pixels = np.array(picture.convert("RGB"))
        pictures[number] = torch.from_numpy(pixels).permute(2, 0, 1)
    return pictures
