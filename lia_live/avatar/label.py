"""What a bundle says about itself, read without any of its tensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from lia_live.avatar.consent import Consent, is_consent
from lia_live.errors import AvatarError, StorageError, WeightsError
from lia_live.model.header import Header
from lia_live.model.weights_file import skeleton

FORMAT: Final = "lia-live avatar"
VERSIONS: Final = {"1": (False, False), "2": (True, False), "3": (False, True), "4": (True, True)}
"""Of bundles: whether one carries a network of its own or needs the weights it was made with, and whether its mouth has
other looks. Older programs refuse what they do not know by its number."""
NETWORK: Final = "network."
"""What the names of that network's tensors and labels begin with."""
MAX_HEADER: Final = 2**20
_MAX_NAME: Final = 120
REBUILD: Final = "build it again from its picture (lia-live avatar build)"
REMAKE: Final = "copy it again, or make it again (lia-live finetune)"

_LABELS: Final = ("format", "version", "name", "model", "fingerprint", "config", "consent", "created_by")  # fmt: skip
_NETWORK_LABELS: Final = ("format", "config", "directions", "name", "licence", "dtype")


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
    network: Header | None = None
    """Of the network that the bundle carries; None: it needs the weights it was made with."""
    mouths: bool = False
    """Its mouth has other looks."""

    @property
    def version(self) -> int:
        """Of the bundle's format."""
        parts = self.network is not None, self.mouths
        return next(int(number) for number, has in VERSIONS.items() if has == parts)

    def to_metadata(self) -> dict[str, str]:
        """The text that goes into the file."""
        carried = {} if self.network is None else self.network.to_metadata()
        return {
            "format": FORMAT,
            "version": str(self.version),
            "name": self.name,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "config": self.config,
            "consent": self.consent or "",
            "created_by": self.created_by,
            **{NETWORK + key: text for key, text in carried.items()},
        }


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
                raise AvatarError(f"{path} is empty (0 bytes)", REBUILD)
            # A safetensors header is JSON, maybe padded: another file's first bytes are a huge number.
            if len(head) < 8 or not 2 <= length <= MAX_HEADER:
                raise AvatarError(f"{path} is not an avatar bundle", REBUILD)
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise AvatarError(f"no such avatar: {path}", "check the path") from None
    except PermissionError as error:
        raise StorageError(f"{path} may not be read", "change its permissions") from error
    except OSError as error:
        raise AvatarError(f"{path} cannot be read ({error.strerror})", "check the path") from error
    except (ValueError, RecursionError):
        raise AvatarError(f"{path} is not an avatar bundle, or cut short", REBUILD) from None
    label = _label(path, header)
    if size != 8 + length + _data_bytes(header):
        raise AvatarError(f"{path} is damaged or cut short ({size} bytes)", REBUILD)
    return label


def describe(path: str | Path) -> dict[str, Any]:
    """What a bundle holds, for people and programs; its tensors are not read. Raises ``AvatarError``.

    "network" is None, or what it carries: name, licence, size, width, parameters, dtype, directions (names).
    """
    label = read_label(path)
    try:
        config = json.loads(label.config)
        size = config["size"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise AvatarError(f"{path} has a damaged label", REBUILD) from None
    return {
        "name": label.name,
        "model": label.model,
        "fingerprint": label.fingerprint,
        "size": size,
        "config": config,
        "consent": label.consent or "not answered",
        "created_by": label.created_by,
        "version": label.version,
        "bytes": Path(path).stat().st_size,
        "network": None if label.network is None else _network(label.network),
    }


def tidy_name(name: str) -> str:
    """A name as one short printable line: it will be shown in terminals and pages."""
    printable = "".join(sign if sign.isprintable() else " " for sign in name)
    return " ".join(printable.split())[:_MAX_NAME] or "avatar"


def _network(header: Header) -> dict[str, Any]:
    network = skeleton(header.config)
    return {
        "name": tidy_name(header.name),
        "licence": tidy_name(header.licence) if header.licence else "",
        "size": header.config.size,
        "width": header.config.width,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "dtype": header.dtype,
        "directions": [tidy_name(direction.name) for direction in header.directions],
    }


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
        raise AvatarError(f"{path} is not an avatar bundle", REBUILD)
    fields = {key: value for key, value in metadata.items() if isinstance(value, str)}
    carries, mouths = _parts(path, fields.get("version", ""), fields)
    wanted = {*_LABELS, *(NETWORK + key for key in _NETWORK_LABELS if carries)}
    if set(fields) != wanted or set(metadata) != wanted:
        raise AvatarError(f"{path} has missing or unknown labels", REBUILD)
    consent = fields["consent"] or None
    if consent is not None and not is_consent(consent):
        raise AvatarError(f"{path} has an unknown consent answer", REBUILD)
    return Label(
        name=tidy_name(fields["name"]),
        model=tidy_name(fields["model"]),
        fingerprint=tidy_name(fields["fingerprint"]),
        config=fields["config"],
        consent=consent,
        created_by=tidy_name(fields["created_by"]),
        network=_header(path, fields) if carries else None,
        mouths=mouths,
    )


def _parts(path: Path, version: str, fields: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether a bundle of that version carries a network, and looks of its mouth. Raises ``AvatarError`` where it
    cannot be read.
    """
    if version not in VERSIONS:
        last = max(map(int, VERSIONS))
        newer = version.isdecimal() and int(version[:9]) > last
        raise AvatarError(
            f"{path} has bundle version {tidy_name(version)[:9]}, this program reads 1 to {last}",
            "update lia-live" if newer else REBUILD,
        )
    carries, mouths = VERSIONS[version]
    if carries and not any(key.startswith(NETWORK) for key in fields):
        raise AvatarError(f"{path} has bundle version {version}, but carries no network", REMAKE)
    return carries, mouths


def _header(path: Path, fields: Mapping[str, str]) -> Header:
    """The carried network's header; it must say what the bundle says."""
    metadata = {
        key.removeprefix(NETWORK): text for key, text in fields.items() if key.startswith(NETWORK)
    }
    try:
        header = Header.from_metadata(metadata)
    except WeightsError as error:
        raise AvatarError(f"{path}: the network in it: {error.message}", REMAKE) from error
    if header.dtype != "float16":
        raise AvatarError(f"{path}: the network in it is not stored as float16", REMAKE)
    try:
        same = json.loads(fields["config"]) == asdict(header.config)
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise AvatarError(f"{path}: the network in it is of another size than its avatar", REMAKE)
    return header
