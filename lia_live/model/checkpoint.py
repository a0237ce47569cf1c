"""The confined child that opens an official checkpoint: ``python -I checkpoint.py IN.pt OUT.safetensors``.

It runs in a process of its own, with an empty environment, an empty folder as its working directory and
limits on memory, time and file size, because IN.pt is a pickle from a stranger. It never falls back to
``weights_only=False``. Standard library, torch and safetensors only: the project is not on its path.
Exit 0: OUT holds the float32 tensors of the generator. Exit 3: one line on stderr says what is wrong.
"""

from __future__ import annotations

import argparse
import pickle
import re
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

MAX_NUMBERS = 1 << 28
"""Of the whole generator: 1 GiB of float32."""
MAX_UNPACKED = 3 << 30
"""Bytes that the archive may claim to hold, optimiser state included."""
MAX_KEYS = 2000
HEADROOM = 4 << 30
"""Bytes of address space that loading may take on top of what Python and torch hold."""
CPU_S = 120
DAMAGED = 3
"""Exit status: the file is at fault, and stderr says how."""


class Refused(Exception):
    """The file is not a checkpoint that may be converted; the text says why."""


def confine() -> None:
    """Limits on this process, set before the stranger's first byte is read. Windows has none of them."""
    try:
        import resource
    except ImportError:
        return
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: CPU_S,
        resource.RLIMIT_FSIZE: MAX_NUMBERS * 5,
    }
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + HEADROOM
    except OSError:
        pass  # not Linux: the address space of a process cannot be known, nor well limited
    for limit, value in limits.items():
        _, hard = resource.getrlimit(limit)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(limit, (allowed, allowed))
        except (ValueError, OSError):
            if sys.platform == "linux":
                raise


def check_archive(path: Path) -> None:
    """Refuse an archive that would unpack to more than any checkpoint holds."""
    if not zipfile.is_zipfile(path):
        return  # checkpoints older than torch 1.6 are bare pickles; the limits hold for them too
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MAX_UNPACKED:
        raise Refused(f"it claims to unpack to {unpacked / 1e9:.1f} GB")


def read_generator(path: Path) -> dict[str, torch.Tensor]:
    """The state_dict under "gen", or the file itself where it is a bare state_dict."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise Refused(f"it holds a {type(content).__name__}, not a checkpoint")
    state = content.get("gen", content)
    if not isinstance(state, dict) or not state:
        raise Refused('its entry "gen" is not a state_dict')
    if len(state) > MAX_KEYS:
        raise Refused(f"it has {len(state)} entries")
    numbers = 0
    for key, value in state.items():
        if not isinstance(key, str) or not is_plain(value):
            raise Refused(f"its entry {str(key)[:80]!r} is not a plain tensor of real numbers")
        numbers += value.numel()  # before any copy: an expanded tensor claims more than it holds
        if numbers > MAX_NUMBERS:
            raise Refused("it has more numbers than any LIA network")
    # clone: tensors of a pickle may share storage, those of a safetensors file may not
    return {
        key: value.detach().to(torch.float32).contiguous().clone() for key, value in state.items()
    }


def is_plain(value: Any) -> bool:
    """Whether it is a dense floating-point tensor in ordinary memory."""
    return (
        type(value) in (torch.Tensor, torch.nn.Parameter)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and value.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    )


def reason(error: Exception) -> str:
    """One line about why torch could not read it."""
    text = str(error)
    asked = re.search(r"GLOBAL ([\w.]+)", text) or re.search(
        r"([\w.]+) is not an allowed global", text
    )
    if asked:
        return f"it asks for {asked[1][:80]}, which weights never need: it may be malicious"
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return "it needs more memory than any LIA checkpoint"
    if isinstance(error, pickle.UnpicklingError):  # torch adds advice that must not be followed
        return "it is damaged or no checkpoint of torch"
    return f"it is damaged or no checkpoint ({type(error).__name__}: {text.splitlines()[0][:120] if text else ''})"


def main(source: str, target: str) -> int:
    """Convert; returns the exit status."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    confine()
    try:
        check_archive(Path(source))
        save_file(read_generator(Path(source)), target)
    except Refused as error:
        print(error, file=sys.stderr)
        return DAMAGED
    except (
        pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, ValueError, TypeError, KeyError, IndexError,
        AttributeError, EOFError, MemoryError, OSError, AssertionError, OverflowError, RecursionError, ImportError,
    ) as error:  # fmt: skip
        # All that a damaged pickle or archive makes torch raise.
        print(reason(error), file=sys.stderr)
        return DAMAGED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
