"""Weights on disk: strict reading, atomic writing. Safetensors only; nothing here unpickles."""

from __future__ import annotations

import errno
import math
import os
import secrets
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from lia_live.errors import StorageError, WeightsError
from lia_live.model.config import LIAConfig
from lia_live.model.directions import Direction
from lia_live.model.header import DTYPES, Header
from lia_live.model.layers import fir_kernel
from lia_live.model.lia import LIA

MAX_BYTES = 1 << 30
"""Larger files are refused before they are opened; the largest network (1024 px, width 2) is below."""
NAMED_AT_MOST = 4
"""How many wrong keys a message lists."""
WRONG_NETWORK = "these weights are for another network or damaged: fetch or convert them again"
STORED = ("F16", "F32")
"""The dtypes of a weights file, in safetensors' words."""


def read_weights(path: Path) -> LIA:
    """The network of a lia-live safetensors file: float32, cpu, eval mode.

    Strict: exact keys, shapes, dtypes; finite numbers; the unaltered FIR. Raises ``WeightsError``, or
    ``StorageError`` where the file may not be read.
    """
    check_readable(path, MAX_BYTES)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = Header.from_metadata(file.metadata())
            network, tensors = take_tensors(file, header)
    except SafetensorError as error:
        raise WeightsError(
            f"{path.name} is not a whole safetensors file ({str(error)[:120]})",
            "it may be cut short or of another kind: copy or download it again",
        ) from error
    except WeightsError as error:
        raise WeightsError(f"{path.name}: {error.message}", error.hint) from error
    fill(network, tensors, path.name)
    describe_by(network, header)
    return network


def take_tensors(
    file: Any, header: Header, prefix: str = "", stored: Collection[str] = STORED
) -> tuple[LIA, dict[str, Tensor]]:
    """From an open safetensors file: the skeleton that ``header`` describes, and its tensors, float32.

    ``prefix``: what the names of the network's tensors begin with; others are not looked at. ``stored``: the
    dtypes allowed. Keys, shapes and dtypes are compared before a tensor is read; ``fill`` looks at the numbers.
    Raises ``WeightsError``, ``SafetensorError``.
    """
    names = list(file.keys())
    keys = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    shapes = {key: tuple(file.get_slice(prefix + key).get_shape()) for key in keys}
    dtypes = {key: str(file.get_slice(prefix + key).get_dtype()) for key in keys}
    network = skeleton(header.config)
    check_shapes(shapes, expected_shapes(network))
    _check_dtypes(dtypes, stored)
    # copy: what safetensors returns may be a view of the mapped file, which others may rewrite
    tensors = {key: _as_float32(file.get_tensor(prefix + key)) for key in keys}
    return network, tensors


def describe_by(network: LIA, header: Header) -> None:
    """Give ``network`` the name, licence and directions of its header."""
    network.name, network.licence = header.name, header.licence
    network.directions = header.directions


def save_weights(
    model: LIA,
    path: str | Path,
    *,
    name: str | None = None,
    licence: str | None = None,
    directions: Iterable[Direction] | None = None,
    dtype: str = "float32",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write ``model`` as one safetensors file; what is left out is taken from the model.

    ``dtype``: "float32", or "float16" for half the size (loading casts back). The file appears whole or
    not at all. Raises ``WeightsError`` for numbers that are not finite or do not fit, ``StorageError``
    for no space or no permission.
    """
    path = Path(path)
    header = Header(
        config=model.config,
        directions=model.directions if directions is None else tuple(directions),
        name=model.name if name is None else name,
        licence=model.licence if licence is None else licence,
        dtype=dtype,
        extra=dict(metadata or {}),
    )
    tensors = stored_tensors(model, dtype)
    write_atomically(path, safetensors_bytes(tensors, metadata=header.to_metadata()))
    return path


def stored_tensors(model: LIA, dtype: str) -> dict[str, Tensor]:
    """Everything of ``model`` as a file keeps it: cpu, "float16" or "float32", memory of its own.

    Raises ``WeightsError`` for numbers that are not finite or do not fit.
    """
    stored = getattr(torch, DTYPES[DTYPES.index(dtype)])
    tensors = {
        key: value.detach().to("cpu", stored).contiguous().clone()
        for key, value in model.state_dict().items()
    }
    bad = [key for key, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise WeightsError(
            f"not saved: {_some(bad)} hold numbers that are not finite as {dtype}",
            "training diverged, or the numbers need dtype float32",
        )
    return tensors


def rounded(model: LIA) -> LIA:
    """A copy of ``model`` as a float16 file would give it back: float32 on the cpu, eval mode.

    Raises ``WeightsError`` for numbers that are not finite or do not fit.
    """
    network = skeleton(model.config)
    tensors = {key: value.float() for key, value in stored_tensors(model, "float16").items()}
    fill(network, tensors, model.name)
    network.name, network.licence = model.name, model.licence
    network.directions = model.directions
    return network


def write_atomically(path: Path, data: bytes) -> None:
    """All of ``data`` under ``path``, or nothing and a ``StorageError``. Survives a power cut once it returns."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise StorageError(
            f"{path} cannot be written ({error.strerror or error})",
            f"free some space: {len(data) / 1e6:.1f} MB are needed"
            if full
            else "choose a folder that exists and is writable",
        ) from error
    finally:
        with suppress(OSError):  # renamed by now, or there never was one
            part.unlink()


def check_readable(path: Path, limit: int) -> None:
    """Raise unless ``path`` is a plain file, readable, not empty and at most ``limit`` bytes."""
    if not path.exists():
        raise WeightsError(
            f"there is no weights file {path}",
            'check the spelling, or leave it out for the shipped weights ("default")',
        )
    if not path.is_file():
        raise WeightsError(
            f"{path} is not a file", "give a .safetensors file, or an official LIA .pt"
        )
    size = path.stat().st_size
    if not 0 < size <= limit:
        what = (
            "is empty"
            if size == 0
            else f"has {size / 1e6:.0f} MB, more than the {limit / 1e6:.0f} allowed"
        )
        raise WeightsError(
            f"{path.name} {what}", "a LIA network has 5 to 200 MB: is this the right file?"
        )
    if not os.access(path, os.R_OK):
        raise StorageError(f"{path} may not be read", "change its permissions (chmod u+r)")


def skeleton(config: LIAConfig) -> LIA:
    """The network without numbers (device "meta"): costs milliseconds at any size."""
    with torch.device("meta"):
        return LIA(config)


def expected_shapes(network: LIA) -> dict[str, tuple[int, ...]]:
    """Key -> shape of everything that a file of this network holds."""
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


@lru_cache(maxsize=8)
def network_bytes(config: LIAConfig, itemsize: int) -> int:
    """What all tensors of such a network take, at ``itemsize`` bytes a number."""
    shapes = expected_shapes(skeleton(config)).values()
    return itemsize * sum(math.prod(shape) for shape in shapes)


def check_shapes(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise ``WeightsError`` that names the first missing or extra keys, or the first wrong shapes."""
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if missing or extra:
        parts = [f"{len(missing)} keys are missing ({_some(missing)})"] if missing else []
        parts += [f"{len(extra)} keys do not belong ({_some(extra)})"] if extra else []
        raise WeightsError(" and ".join(parts), WRONG_NETWORK)
    wrong = [
        f"{key} is {_shape(found[key])}, expected {_shape(expected[key])}"
        for key in sorted(expected)
        if found[key] != expected[key]
    ]
    if wrong:
        raise WeightsError(f"{len(wrong)} shapes are wrong: {'; '.join(wrong[:2])}", WRONG_NETWORK)


def fill(network: LIA, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put float32 ``tensors`` (keys and shapes already checked) into a ``skeleton``, after looking at every number."""
    bad = [key for key, value in tensors.items() if not is_finite(value)]
    if bad:
        raise WeightsError(
            f"{where}: {len(bad)} tensors hold NaN or infinity ({_some(bad)})",
            "the training that made it diverged: take an earlier checkpoint",
        )
    for key, value in tensors.items():
        # A fixed part of the architecture that the official format happens to store.
        if key.endswith(".kernel"):
            fir = fir_kernel(4.0 if key.startswith("dec.") else 1.0)
            if not torch.allclose(value, fir, rtol=0, atol=1e-6):
                raise WeightsError(f"{where}: {key} is not LIA's FIR filter", WRONG_NETWORK)
    network.load_state_dict(dict(tensors), strict=True, assign=True)
    network.eval()


def is_finite(tensor: Tensor) -> bool:
    """Whether every number of a tensor on the cpu is one.

    By numpy, on this thread alone: torch's threads wait for each other at every one of hundreds of tensors, which
    takes ten times as long on a machine whose cores are in use.
    """
    return bool(np.isfinite(tensor.detach().numpy()).all())


def _as_float32(stored: Tensor) -> Tensor:
    """A copy, by numpy for the same reason."""
    return torch.from_numpy(np.array(stored.numpy(), dtype=np.float32))


def _check_dtypes(dtypes: Mapping[str, str], stored: Collection[str]) -> None:
    wrong = [f"{key} is {dtype}" for key, dtype in sorted(dtypes.items()) if dtype not in stored]
    if wrong:
        allowed = "neither F16 nor F32" if len(stored) > 1 else f"not {', '.join(stored)}"
        raise WeightsError(
            f"{len(wrong)} tensors are {allowed} ({'; '.join(wrong[:2])})",
            "save the weights with dtype float16 or float32",
        )


def _some(keys: list[str]) -> str:
    more = len(keys) - NAMED_AT_MOST
    return ", ".join(keys[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(str(n) for n in shape) or "a scalar"
