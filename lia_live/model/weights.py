"""Where a network comes from: the shipped file, a safetensors file, an official checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from lia_live.errors import ConfigError, DeviceError, WeightsError
from lia_live.model.conversion import LICENCE_NOTE, convert_checkpoint, official_network
from lia_live.model.header import Header
from lia_live.model.lia import LIA
from lia_live.model.weights_file import read_weights, save_weights

__all__ = ["LICENCE_NOTE", "convert_checkpoint", "describe", "load_model", "save_weights"]

DEFAULT = "default"
PICKLES = (".pt", ".pth")


def load_model(spec: str | Path = DEFAULT, device: str = "auto") -> LIA:
    """A trained network in eval mode, float32, on ``device``.

    ``spec``: "default" (the weights shipped in the package), a lia-live .safetensors file, or an official
    LIA .pt (converted by a confined child each time: ``convert_checkpoint`` once is quicker).
    ``device``: "auto" (cuda, else mps, else cpu) or one of those by name.
    Raises ``WeightsError``, ``StorageError`` (may not be read), ``DeviceError`` (no such device here).
    """
    where = pick_device(device)
    with _opened(spec) as model:
        return model.to(where)


def describe(spec: str | Path) -> dict[str, Any]:
    """What a weights file is: size, width, latent_dim, motion_dim, framing, name, licence, dtype, parameters,
    fingerprint, directions (a list of dicts), bytes, and the extra text of its header under "notes".

    The whole file is checked on the way, as ``load_model`` does.
    """
    with _path(spec) as path, _opened(spec) as model:
        facts = asdict(model.config)
        facts |= {
            "name": model.name,
            "licence": model.licence,
            "dtype": "float32",
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "fingerprint": model.fingerprint,
            "directions": [asdict(direction) for direction in model.directions],
            "bytes": path.stat().st_size,
            "notes": {},
        }
        if path.suffix.lower() not in PICKLES:
            header = _header(path)
            facts |= {"dtype": header.dtype, "notes": dict(header.extra)}
        return facts


def pick_device(device: str) -> torch.device:
    """ "auto", "cpu", "cuda", "cuda:N" or "mps" -> a device that is there. Raises ``DeviceError`` otherwise."""
    has_mps = torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(
            f"device must be auto, cpu, cuda or mps, got {device!r}", "leave it out for auto"
        ) from error
    if wanted.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"device must be auto, cpu, cuda or mps, got {device!r}")
    missing = ""
    if wanted.type == "cuda" and not torch.cuda.is_available():
        missing = "torch sees no CUDA device here"
    elif wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        missing = f"there are only {torch.cuda.device_count()} CUDA devices"
    elif wanted.type == "mps" and not has_mps:
        missing = "torch sees no Metal device here"
    if missing:
        raise DeviceError(
            f"{device} was asked for, but {missing}", "use --device cpu, or see lia-live doctor"
        )
    return wanted


@contextmanager
def _opened(spec: str | Path) -> Iterator[LIA]:
    with _path(spec) as path:
        suffix = path.suffix.lower()
        if suffix in PICKLES:
            with official_network(path) as model:
                yield model
        elif suffix == ".safetensors" or not path.is_file():
            yield read_weights(path)  # says what is wrong with a path that is no file
        else:
            raise WeightsError(
                f"{path.name} is no weights file: its name ends in {suffix or 'nothing'}",
                "give a .safetensors file, or an official LIA .pt",
            )


@contextmanager
def _path(spec: str | Path) -> Iterator[Path]:
    if str(spec) != DEFAULT:
        yield Path(spec)
        return
    shipped = resources.files("lia_live") / "weights" / "default.safetensors"
    if not shipped.is_file():
        raise WeightsError(
            "this installation has no default weights (lia_live/weights/default.safetensors)",
            "install lia-live again from a complete wheel, or give weights: --weights file.safetensors",
        )
    with resources.as_file(shipped) as path:
        yield path


def _header(path: Path) -> Header:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return Header.from_metadata(file.metadata())
