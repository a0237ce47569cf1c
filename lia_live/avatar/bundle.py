"""The file an avatar is kept in: one safetensors file, checked to the last key before anything is used.

Tensors: ``look.latent``, ``look.motion``, ``look.features.0`` ... (coarse to fine), ``crop``, ``thumbnail`` and,
for framings with a face, ``landmarks``. Metadata: what made it, for which model, whose portrait it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lia_live.avatar.consent import Consent, is_consent
from lia_live.avatar.portrait import THUMBNAIL
from lia_live.errors import AvatarError, StorageError
from lia_live.model.config import LIAConfig
from lia_live.model.weights_file import write_atomically

FORMAT: Final = "lia-live avatar"
VERSION: Final = 1
_MAX_HEADER: Final = 2**20
_MAX_NAME: Final = 120
_REBUILD: Final = "build it again from its picture (lia-live avatar build)"


@dataclass(frozen=True)
class Label:
    """What a bundle says about itself."""

    name: str
    """For lists and buttons."""
    model: str
    """Name of the model that it was encoded with."""
    fingerprint: str
    """Of that model's weights."""
    config: str
    """That model's configuration, JSON."""
    consent: Consent | None
    """Whose portrait it is, if that was answered."""
    created_by: str
    """Program and version."""


def layout(config: LIAConfig, *, landmarks: bool) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Every tensor of a bundle for ``config``: name -> (dtype, shape)."""
    size = config.size
    tensors: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        "look.latent": (torch.float32, (1, config.latent_dim)),
        "look.motion": (torch.float32, (1, config.motion_dim)),
        "crop": (torch.uint8, (size, size, 3)),
        "thumbnail": (torch.uint8, (THUMBNAIL, THUMBNAIL, 3)),
    }
    for level, side in enumerate(config.resolutions()):
        shape = (1, config.channels(side), side, side)
        tensors[f"look.features.{level}"] = (torch.float32, shape)
    if landmarks:
        tensors["landmarks"] = (torch.float32, (478, 3))
    return tensors


def write_bundle(path: str | Path, label: Label, tensors: Mapping[str, Tensor]) -> None:
    """Write a bundle, whole or not at all.

    Raises ``StorageError`` where there is no space or no permission.
    """
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "name": label.name,
        "model": label.model,
        "fingerprint": label.fingerprint,
        "config": label.config,
        "consent": label.consent or "",
        "created_by": label.created_by,
    }
    content = save({key: value.contiguous() for key, value in tensors.items()}, metadata)
    write_atomically(Path(path), content)


def read_label(path: str | Path) -> Label:
    """What a bundle says about itself; none of its tensors is read. Raises ``AvatarError``, ``StorageError``."""
    path = Path(path)
    try:
        if path.is_dir():
            raise AvatarError(f"{path} is a folder, not an avatar", "name a bundle inside it")
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            head = file.read(8)
            length = int.from_bytes(head, "little")
            if size == 0:
                raise AvatarError(f"{path} is empty (0 bytes)", _REBUILD)
            # A safetensors header is JSON, maybe padded: another file's first bytes are a huge number.
            if len(head) < 8 or not 2 <= length <= _MAX_HEADER:
                raise AvatarError(f"{path} is not an avatar bundle", _REBUILD)
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise AvatarError(f"no such avatar: {path}", "check the path") from None
    except PermissionError as error:
        raise StorageError(f"{path} may not be read", "change its permissions") from error
    except OSError as error:
        raise AvatarError(f"{path} cannot be read ({error.strerror})", "check the path") from error
    except (ValueError, RecursionError):
        raise AvatarError(f"{path} is not an avatar bundle, or cut short", _REBUILD) from None
    label = _label(path, header)
    if size != 8 + length + _data_bytes(header):
        raise AvatarError(f"{path} is damaged or cut short ({size} bytes)", _REBUILD)
    return label


def describe(path: str | Path) -> dict[str, Any]:
    """What a bundle holds, for people and programs; its tensors are not read. Raises ``AvatarError``."""
    label = read_label(path)
    try:
        config = json.loads(label.config)
        size = config["size"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise AvatarError(f"{path} has a damaged label", _REBUILD) from None
    return {
        "name": label.name,
        "model": label.model,
        "fingerprint": label.fingerprint,
        "size": size,
        "config": config,
        "consent": label.consent or "not answered",
        "created_by": label.created_by,
        "version": VERSION,
        "bytes": Path(path).stat().st_size,
    }


def read_bundle(
    path: str | Path, config: LIAConfig, fingerprint: str, model: str
) -> tuple[Label, dict[str, Tensor]]:
    """A bundle made with the model of that fingerprint: its label and tensors, exactly those of ``layout``.

    Raises ``AvatarError`` for another model's bundle and for any that is damaged, incomplete or not finite.
    """
    label = read_label(path)
    if label.fingerprint != fingerprint:
        raise AvatarError(
            f"{path} was made for the model {label.model!r} ({label.fingerprint}), "
            f"not for {model!r} ({fingerprint})",
            f"load that model with --weights, or {_REBUILD}",
        )
    expected = layout(config, landmarks=config.framing.kind == "face")
    allowed = (
        sum(dtype.itemsize * _count(shape) for dtype, shape in expected.values()) + 2 * _MAX_HEADER
    )
    try:
        size = Path(path).stat().st_size
        if size > allowed:
            raise AvatarError(f"{path} has {size} bytes, more than its model asks for", _REBUILD)
        with safe_open(path, framework="pt") as file:
            keys = set(file.keys())
            if keys != set(expected):
                strange = sorted(keys ^ set(expected))
                raise AvatarError(
                    f"{path} has missing or unknown parts: {', '.join(strange[:3])}", _REBUILD
                )
            # Shapes are compared on views of the file: nothing is allocated for a wrong one.
            for key, (_, shape) in expected.items():
                if tuple(file.get_slice(key).get_shape()) != shape:
                    raise AvatarError(f"{path}: {key} has the wrong shape", _REBUILD)
            tensors: dict[str, Tensor] = {key: file.get_tensor(key).clone() for key in expected}
    except (SafetensorError, OSError) as error:
        # An incomplete buffer, offsets that overlap, a dtype it has never heard of.
        raise AvatarError(f"{path} is damaged or cut short ({error})", _REBUILD) from error
    for key, (dtype, _) in expected.items():
        if tensors[key].dtype != dtype:
            raise AvatarError(f"{path}: {key} is {tensors[key].dtype}, not {dtype}", _REBUILD)
        if dtype.is_floating_point and not bool(torch.isfinite(tensors[key]).all()):
            raise AvatarError(f"{path}: {key} has values that are not finite", _REBUILD)
    return label, tensors


def tidy_name(name: str) -> str:
    """A name as one short printable line: it will be shown in terminals and pages."""
    printable = "".join(sign if sign.isprintable() else " " for sign in name)
    return " ".join(printable.split())[:_MAX_NAME] or "avatar"


def _data_bytes(header: object) -> int:
    """Bytes of tensors that a safetensors header announces; -1 for one that makes no sense."""
    if not isinstance(header, dict):
        return -1
    last = 0
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if not isinstance(offsets, list) or not all(type(offset) is int for offset in offsets):
            return -1
        last = max([last, *offsets])
    return last


def _label(path: Path, header: object) -> Label:
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise AvatarError(f"{path} is not an avatar bundle", _REBUILD)
    fields = {key: value for key, value in metadata.items() if isinstance(value, str)}
    version = fields.get("version", "")
    if version != str(VERSION):
        newer = version.isdecimal() and int(version[:9]) > VERSION
        raise AvatarError(
            f"{path} has bundle version {tidy_name(version)[:9]}, this program reads {VERSION}",
            "update lia-live" if newer else _REBUILD,
        )
    wanted = {
        "format",
        "version",
        "name",
        "model",
        "fingerprint",
        "config",
        "consent",
        "created_by",
    }
    if set(fields) != wanted or set(metadata) != wanted:
        raise AvatarError(f"{path} has missing or unknown labels", _REBUILD)
    consent = fields["consent"] or None
    if consent is not None and not is_consent(consent):
        raise AvatarError(f"{path} has an unknown consent answer", _REBUILD)
    return Label(
        name=tidy_name(fields["name"]),
        model=tidy_name(fields["model"]),
        fingerprint=tidy_name(fields["fingerprint"]),
        config=fields["config"],
        consent=consent,
        created_by=tidy_name(fields["created_by"]),
    )


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count
