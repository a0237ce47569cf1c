"""Official LIA checkpoints: from a stranger's .pt to our safetensors, through a confined child process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lia_live.errors import ConfigError, WeightsError
from lia_live.model import checkpoint
from lia_live.model.config import Framing, LIAConfig
from lia_live.model.lia import LIA
from lia_live.model.weights_file import (
    check_readable,
    check_shapes,
    expected_shapes,
    fill,
    save_weights,
    skeleton,
)

OFFICIAL_LICENCE = "CC BY-NC 4.0"
LICENCE_NOTE = (
    "Official LIA weights are licensed CC BY-NC 4.0 (Inria; Wang, Yang, Bremond, Dantcheva): for "
    "non-commercial use only, with attribution. The converted file stays under that licence."
)
MAX_PT_BYTES = 2 << 30
"""A training checkpoint with both networks and both optimisers has 0.9 GB."""
TIMEOUT_S = 300.0
VOX_FRAMING = Framing("face", eye_distance=0.30, eye_x=0.5, eye_y=0.42)
"""About the square that FOMM-style VoxCeleb crops show."""


def convert_checkpoint(pt: str | Path, out: str | Path, *, name: str | None = None) -> Path:
    """Write the generator of an official checkpoint as a lia-live safetensors file (float32); returns its path.

    The pickle is opened by a child process only (``checkpoint.py``), never here. The framing is guessed from
    the file's name: see ``guess_framing``. Raises ``WeightsError``, or ``StorageError`` for the output.
    """
    pt, out = Path(pt), Path(out)
    if out.suffix.lower() != ".safetensors":
        raise ConfigError(f"the output must end in .safetensors, got {out.name!r}")
    with official_network(pt, name=name) as model:
        _, note = guess_framing(pt)
        return save_weights(model, out, metadata={"framing_note": note, "converted_from": pt.name})


@contextmanager
def official_network(pt: Path, *, name: str | None = None) -> Iterator[LIA]:
    """The network of an official .pt (float32, cpu, eval), with licence, name and guessed framing set."""
    check_readable(pt, MAX_PT_BYTES)
    with tempfile.TemporaryDirectory(prefix="lia-live-") as folder:
        target = Path(folder) / "gen.safetensors"
        _run_child(pt.resolve(), target)
        try:
            tensors = load_file(target)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{pt.name}: the conversion left no tensors", "try again") from error
        framing, _ = guess_framing(pt)
        try:
            network = skeleton(derive_config(tensors, framing))
            check_shapes(
                {key: tuple(value.shape) for key, value in tensors.items()},
                expected_shapes(network),
            )
        except WeightsError as error:
            raise WeightsError(f"{pt.name}: {error.message}", error.hint) from error
        # clone: the tensors may be views of the mapped file, which goes with the folder
        fill(network, {key: value.clone() for key, value in tensors.items()}, pt.name)
        network.name, network.licence = name or pt.stem, OFFICIAL_LICENCE
        yield network


def derive_config(tensors: Mapping[str, Tensor], framing: Framing) -> LIAConfig:
    """The network that these keys and shapes describe. Raises ``WeightsError`` where they describe none."""
    levels = sum(bool(re.fullmatch(r"dec\.to_flows\.\d+\.bias", key)) for key in tensors)
    dictionary = tensors.get("dec.direction.weight")
    colour = tensors.get("dec.to_rgbs.0.conv.0.weight")
    if (
        levels == 0
        or dictionary is None
        or colour is None
        or dictionary.ndim != 2
        or colour.ndim != 4
    ):
        raise WeightsError(
            "its keys are not those of a LIA generator",
            "give an official LIA checkpoint (vox.pt, taichi.pt, ted.pt) or one trained by its code",
        )
    latent_dim, motion_dim = dictionary.shape
    try:
        return LIAConfig(
            size=2 ** (levels + 2),
            width=colour.shape[1] / 512,
            latent_dim=latent_dim,
            motion_dim=motion_dim,
            framing=framing,
        )
    except ConfigError as error:
        raise WeightsError(f"its shapes describe no LIA network: {error.message}") from error


def guess_framing(pt: Path) -> tuple[Framing, str]:
    """The crop these weights were trained on, by the file's name, and a line that says how sure that is."""
    stem = pt.stem.lower()
    if re.search(r"(?<![a-z])(taichi|ted)(?![a-z])", stem):
        return Framing("full"), "framing: the full frame, as the file's name says (taichi, ted)"
    known = re.search(r"(?<![a-z])vox", stem)
    why = "as the file's name says (vox)" if known else "assumed: the file's name tells nothing"
    return VOX_FRAMING, f"framing: a face square like VoxCeleb's, {why}; approximate"


def _run_child(pt: Path, target: Path) -> None:
    """Run ``checkpoint.py``; raises ``WeightsError`` unless it wrote ``target``."""
    folder = str(target.parent)
    # Nothing of the user's environment reaches the child; Windows cannot start Python without these.
    environment = {
        k: os.environ[k] for k in ("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR") if k in os.environ
    }
    environment |= {
        "HOME": folder,
        "TMPDIR": folder,
        "TEMP": folder,
        "TMP": folder,
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-I", str(Path(checkpoint.__file__).resolve()), str(pt), str(target)]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, timeout=TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise WeightsError(
            f"{pt.name}: reading it took more than {TIMEOUT_S:.0f} s and was stopped",
            "a LIA checkpoint takes seconds: is this the right file?",
        ) from error
    if done.returncode == 0 and target.is_file():
        return
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    said = "".join(c for c in (lines[-1] if lines else "") if c.isprintable())[:300]
    if done.returncode != checkpoint.DAMAGED:
        said = f"reading it was stopped (status {done.returncode}{': ' + said if said else ''})"
    raise WeightsError(
        f"{pt.name} cannot be converted: {said}",
        "give an official LIA checkpoint (vox.pt, taichi.pt, ted.pt), downloaded whole",
    )
