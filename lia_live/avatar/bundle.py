"""The file an avatar is kept in: one safetensors file, checked to the last key before anything is used.

Tensors: ``look.latent``, ``look.motion``, ``look.features.0`` ... (coarse to fine), ``crop``, ``thumbnail`` and,
for framings with a face, ``landmarks``. Where the mouth has other looks, ``mouths.by`` and, as of the look,
``mouths.0.latent`` ... (features in float16). Metadata: what made it, for which model, whose portrait it is.
A bundle may carry a network of its own: ``network.<key of its state_dict>`` in float16 and, in the metadata, the
header of a weights file under ``network.``. Then it needs no other weights, and no other could show it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lia_live.avatar.label import MAX_HEADER, NETWORK, REBUILD, REMAKE, Label, read_label
from lia_live.avatar.portrait import THUMBNAIL
from lia_live.errors import AvatarError, WeightsError
from lia_live.model.config import LIAConfig
from lia_live.model.header import Header
from lia_live.model.lia import LIA
from lia_live.model.weights_file import (
    describe_by,
    fill,
    is_finite,
    network_bytes,
    stored_tensors,
    take_tensors,
    write_atomically,
)
from lia_live.puppet.lips import GAPS

LOOK: Final = "look."
"""What the names of an avatar's own look begin with."""
MOUTHS: Final = len(GAPS) - 1
"""Other looks of its mouth, where there are any."""
MOUTHS_BY: Final = "mouths.by"


def mouth_key(number: int) -> str:
    """What the names of such a look begin with."""
    return f"mouths.{number}."


def layout(
    config: LIAConfig, *, landmarks: bool, mouths: bool
) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Every tensor of a bundle for ``config`` but a network's: name -> (dtype, shape)."""
    size = config.size
    tensors: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        "crop": (torch.uint8, (size, size, 3)),
        "thumbnail": (torch.uint8, (THUMBNAIL, THUMBNAIL, 3)),
    }
    for look in (LOOK, *(mouth_key(number) for number in range(MOUTHS if mouths else 0))):
        tensors[look + "latent"] = (torch.float32, (1, config.latent_dim))
        tensors[look + "motion"] = (torch.float32, (1, config.motion_dim))
        for level, side in enumerate(config.resolutions()):
            shape = (1, config.channels(side), side, side)
            dtype = torch.float32 if look == LOOK else torch.float16
            tensors[f"{look}features.{level}"] = (dtype, shape)
    if mouths:
        tensors[MOUTHS_BY] = (torch.float32, (MOUTHS,))
    if landmarks:
        tensors["landmarks"] = (torch.float32, (478, 3))
    return tensors


def header_of(network: LIA) -> Header:
    """The header with which a bundle carries ``network``."""
    return Header(
        config=network.config,
        directions=network.directions,
        name=network.name,
        licence=network.licence,
        dtype="float16",
    )


def write_bundle(
    path: str | Path, label: Label, tensors: Mapping[str, Tensor], network: LIA | None = None
) -> None:
    """Write a bundle, whole or not at all; ``network``: what ``label.network`` is the header of.

    Raises ``StorageError`` where there is no space or no permission, ``WeightsError`` for a network whose
    numbers float16 cannot hold.
    """
    parts = {key: value.contiguous() for key, value in tensors.items()}
    if network is not None:
        stored = stored_tensors(network, "float16")
        parts |= {NETWORK + key: value for key, value in stored.items()}
    write_atomically(Path(path), save(parts, label.to_metadata()))


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
            f"load that model with --weights, or {REBUILD}",
        )
    return label, _read_look(path, config, label)


def read_carrying(path: str | Path) -> tuple[Label, dict[str, Tensor], LIA] | None:
    """A bundle that carries its network: label, tensors of ``layout``, network; None where it carries none.

    Raises ``AvatarError`` for any part that is damaged, incomplete, not finite or of another network.
    """
    label = read_label(path)
    if label.network is None:
        return None
    return label, _read_look(path, label.network.config, label), _read_network(path, label)


def read_network(path: str | Path) -> LIA | None:
    """The network that a bundle carries (float32, cpu, eval mode), None where it carries none.

    Its avatar is not read. Raises ``AvatarError``, ``StorageError``.
    """
    label = read_label(path)
    return None if label.network is None else _read_network(path, label)


def _read_look(path: str | Path, config: LIAConfig, label: Label) -> dict[str, Tensor]:
    expected = _expected(config, label)
    _check_size(path, expected, label)
    try:
        with safe_open(path, framework="pt") as file:
            keys = {key for key in list(file.keys()) if not _of_network(key, label)}
            if keys != set(expected):
                strange = sorted(keys ^ set(expected))
                raise AvatarError(
                    f"{path} has missing or unknown parts: {', '.join(strange[:3])}", REBUILD
                )
            # Shapes are compared on views of the file: nothing is allocated for a wrong one.
            for key, (_, shape) in expected.items():
                if tuple(file.get_slice(key).get_shape()) != shape:
                    raise AvatarError(f"{path}: {key} has the wrong shape", REBUILD)
            tensors: dict[str, Tensor] = {key: file.get_tensor(key).clone() for key in expected}
    except (SafetensorError, OSError) as error:
        # An incomplete buffer, offsets that overlap, a dtype it has never heard of.
        raise AvatarError(f"{path} is damaged or cut short ({error})", REBUILD) from error
    for key, (dtype, _) in expected.items():
        if tensors[key].dtype != dtype:
            raise AvatarError(f"{path}: {key} is {tensors[key].dtype}, not {dtype}", REBUILD)
        if dtype.is_floating_point and not is_finite(tensors[key]):
            raise AvatarError(f"{path}: {key} has values that are not finite", REBUILD)
    return tensors


def _read_network(path: str | Path, label: Label) -> LIA:
    header = label.network
    assert header is not None  # asked by whoever calls
    config = header.config
    _check_size(path, _expected(config, label), label)
    try:
        with safe_open(path, framework="pt") as file:
            network, tensors = take_tensors(file, header, NETWORK, stored=("F16",))
        fill(network, tensors, "its weights")
    except WeightsError as error:
        raise AvatarError(f"{path}: the network in it: {error.message}", REMAKE) from error
    except (SafetensorError, OSError) as error:
        raise AvatarError(f"{path} is damaged or cut short ({error})", REMAKE) from error
    describe_by(network, header)
    if network.fingerprint != label.fingerprint:
        raise AvatarError(
            f"{path}: the network in it is not the one the avatar was made with", REMAKE
        )
    return network


def _expected(config: LIAConfig, label: Label) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    return layout(config, landmarks=config.framing.kind == "face", mouths=label.mouths)


def _of_network(key: str, label: Label) -> bool:
    """Whether this part belongs to a network that the bundle says it carries."""
    return label.network is not None and key.startswith(NETWORK)


def _check_size(path: str | Path, expected: Mapping[str, Any], label: Label) -> None:
    """Refuse a file with more bytes than its parts take; nothing of it has been read yet."""
    allowed = sum(dtype.itemsize * math.prod(shape) for dtype, shape in expected.values())
    if label.network is not None:
        allowed += network_bytes(label.network.config, torch.float16.itemsize)
    try:
        size = Path(path).stat().st_size
    except OSError as error:
        raise AvatarError(f"{path} cannot be read ({error.strerror})", "check the path") from error
    if size > allowed + 2 * MAX_HEADER:
        raise AvatarError(f"{path} has {size} bytes, more than its model asks for", REBUILD)
