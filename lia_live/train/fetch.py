"""VGG19's weights: from torchvision's file, on disk or on a server, to a safetensors file for ``perceptual.py``.

The one place of the trainer that uses the network, and only when asked to. The file is a pickle from elsewhere: its
hash must be the one in its name, and only the confined child (``model/checkpoint.py``) opens it. Everything
on the way lies in one folder beside the output that goes whatever happens.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import torch
from safetensors.torch import save as safetensors_bytes

from lia_live.errors import ConfigError, StorageError, WeightsError
from lia_live.model import conversion
from lia_live.model.header import DTYPES
from lia_live.model.weights_file import check_readable, write_atomically
from lia_live.train.perceptual import MAX_VGG_BYTES, read_vgg

FORMAT = "lia-live-vgg19/1"
KNOWN_DIGITS = "dcbb9e9d"
"""The sha256 of torchvision's VGG19_Weights.IMAGENET1K_V1 begins so: asked of a name that carries no digits."""
MAX_BYTES = 1 << 30
"""The whole VGG19 with its classifier has 575 MB."""
TIMEOUT_S = 30.0
"""Of one answer of the server, not of the file."""
BLOCK_BYTES = 1 << 20
WHICH_FILE = (
    "give torchvision's vgg19-dcbb9e9d.pth; torchvision tells its address: "
    'python -c "import torchvision; print(torchvision.models.VGG19_Weights.IMAGENET1K_V1.url)"'
)

Progress = Callable[[int, int], None]
"""(bytes so far, bytes in all or 0 where the server does not say)."""


@dataclass(frozen=True)
class Fetched:
    """What was made."""

    path: Path
    sha256: str
    """Of the source, hexadecimal."""
    was_safetensors: bool
    """The source was converted already; its content was checked all the same."""
    written: bool
    """False where source and output are one file, which was only checked."""


def fetch_vgg(
    source: str,
    out: str | Path,
    *,
    dtype: str = "float32",
    any_file: bool = False,
    progress: Progress | None = None,
) -> Fetched:
    """Write the convolutions of VGG19 up to conv5_1 as safetensors (52 MB in float32, 26 in float16).

    ``source``: a path, or an http://, https:// or file:// address, of a .pth with torchvision's keys or of a
    .safetensors. ``any_file``: do not ask for the hash that a .pth's name promises. The output appears whole
    or not at all. Raises ``WeightsError`` (not there, damaged, another network), ``StorageError`` or ``ConfigError``.
    """
    out = Path(out)
    if dtype not in DTYPES:
        raise ConfigError(f"dtype must be float16 or float32, got {dtype!r}")
    if out.suffix.lower() != ".safetensors":
        raise ConfigError(f"{out} does not end in .safetensors", "name a .safetensors file")
    url = address(source)
    name = file_name(source)
    with _workspace(out) as folder:
        if url is not None and url.scheme != "file":
            given = folder / (re.sub(r"[^\w.-]", "_", name).strip(".") or "download")
            download(source, given, progress)
        else:
            given = Path(source if url is None else urllib.request.url2pathname(url.path))
            _check_given(given)
        with open(given, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        ready = Path(name).suffix.lower() == ".safetensors"
        if not (ready or any_file):
            check_digits(name, digest)
        try:
            safe = given if ready else _unpickled(given, folder)
            tensors = read_vgg(safe, rest=True, limit=MAX_BYTES)
        except WeightsError as error:
            raise WeightsError(error.message, WHICH_FILE) from error
        written = not (out.exists() and out.samefile(given))
        if written:
            stored = {key: value.to(getattr(torch, dtype)) for key, value in tensors.items()}
            if not all(bool(torch.isfinite(value).all()) for value in stored.values()):
                raise WeightsError(f"{name}: its numbers do not fit {dtype}", "take float32")
            metadata = {"format": FORMAT, "dtype": dtype, "source": name, "sha256": digest}
            write_atomically(out, safetensors_bytes(stored, metadata=metadata))
    return Fetched(out, digest, ready, written)


def address(source: str) -> SplitResult | None:
    """``source`` as an address; None where it is a path. Raises ``ConfigError`` for other protocols."""
    if "://" not in source:
        return None
    try:
        url = urlsplit(source)
        known = url.scheme in ("http", "https", "file") and (url.scheme == "file") != bool(
            url.hostname
        )
    except ValueError:
        known = False
    if not known:
        raise ConfigError(
            "the source is no address that can be fetched",
            "give a path, or an address with http://, https:// or file:/// in front",
        )
    return url


def file_name(source: str) -> str:
    """The last part of a path or address, without the query: what may be printed."""
    url = address(source)
    return Path(source).name if url is None else Path(urllib.request.url2pathname(url.path)).name


def download(url: str, target: Path, progress: Progress | None = None) -> None:
    """Fetch ``url`` (http or https) into the new file ``target``, at most ``MAX_BYTES``.

    Raises ``WeightsError`` where the server or the network is at fault, ``StorageError`` where the disk is.
    """
    name = file_name(url)
    with _answer(url, name) as answer:
        stated = answer.headers.get("Content-Length", "")
        total = int(stated) if stated.isascii() and stated.isdigit() else 0
        _check_size(name, total)
        require_space(target.parent, 2 * total)
        done = 0
        try:
            with open(target, "xb") as file:
                for block in _blocks(answer, name):
                    done += len(block)
                    _check_size(name, done)
                    file.write(block)
                    if progress is not None:
                        progress(done, total)
        except OSError as error:
            raise _storage(target.parent, error) from error
    if total and done != total:
        raise WeightsError(
            f"{name}: the download ended after {done / 1e6:.1f} of {total / 1e6:.1f} MB",
            "start it again",
        )


def check_digits(name: str, digest: str) -> None:
    """Raise ``WeightsError`` unless ``digest`` begins with the hexadecimal digits that ``name`` ends in."""
    promised = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
    digits = promised[1] if promised else KNOWN_DIGITS
    if not digest.startswith(digits):
        raise WeightsError(
            f"{name} is not the file it should be: its sha256 begins with {digest[:8]}, expected {digits[:8]}",
            "it is damaged or another file: fetch it again, or take it as it is with --any",
        )


def require_space(folder: Path, needed: int) -> None:
    """Raise ``StorageError`` unless ``folder``'s disk has ``needed`` bytes and room for the output."""
    free = shutil.disk_usage(folder).free
    needed += MAX_VGG_BYTES
    if free < needed:
        raise StorageError(
            f"no space: {needed / 1e6:.0f} MB are needed for a while, {free / 1e6:.0f} MB are free",
            "free some space, or write to another disk",
        )


def _unpickled(given: Path, folder: Path) -> Path:
    """What the confined child makes of a .pth: all its tensors as safetensors, in a folder of the child's own."""
    require_space(folder, given.stat().st_size)
    cell = folder / "child"
    cell.mkdir()
    target = cell / f"{given.stem}.safetensors"
    # The one runner of the child there is: another would be another chance to confine it badly.
    conversion._run_child(given.resolve(), target)
    return target


def _check_given(given: Path) -> None:
    if not given.exists():
        raise WeightsError(f"there is no file {given}", WHICH_FILE)
    try:
        check_readable(given, MAX_BYTES)
    except WeightsError as error:
        raise WeightsError(error.message, WHICH_FILE) from error


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise WeightsError(f"{name} has more than {MAX_BYTES / 1e6:.0f} MB", WHICH_FILE)


@contextmanager
def _workspace(out: Path) -> Iterator[Path]:
    """A folder beside ``out``, on the disk that has to have the room, gone afterwards."""
    try:
        made = tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)
    except OSError as error:
        raise _storage(out.parent, error) from error
    with made as folder:
        yield Path(folder)


@contextmanager
def _answer(url: str, name: str) -> Iterator[http.client.HTTPResponse]:
    """The server's answer. An opener of its own: no redirect leads to a file or another protocol."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    try:
        answer = opener.open(url, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        gone = error.code in (404, 410)
        raise WeightsError(
            f"the server has no {name} ({error.code})"
            if gone
            else f"{name}: the server answered {error.code}",
            WHICH_FILE if gone else "try again later, or download it elsewhere and give its path",
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(name, error) from error
    with answer:
        yield answer


def _blocks(answer: http.client.HTTPResponse, name: str) -> Iterator[bytes]:
    while True:
        try:
            block = answer.read(BLOCK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(name, error) from error
        if not block:
            return
        yield block


def _unreachable(name: str, error: Exception) -> WeightsError:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return WeightsError(
        f"{name} cannot be fetched ({str(reason)[:120] or type(reason).__name__})",
        "check the address and the network, or download it elsewhere and give its path",
    )


def _storage(folder: Path, error: OSError) -> StorageError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return StorageError(
        f"{folder} cannot be written to ({error.strerror or error})",
        "free some space, or write to another disk" if full else "choose a folder that is writable",
    )
