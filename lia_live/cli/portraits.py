"""From ``--avatar`` to avatars: folders are opened, consent is settled, pictures are encoded."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lia_live.cli.config import ConsentAnswer, ModelSettings
from lia_live.cli.consent import ConsentBook, digest_of, settle
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.loading import Networks
from lia_live.errors import AvatarError, ConfigError, MediaError

if TYPE_CHECKING:
    from lia_live.avatar import Avatar, Label
    from lia_live.model import LIA

BUNDLE = ".avatar"
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""What is taken from a folder; a picture named directly may end in anything."""


@dataclass(frozen=True)
class Portrait:
    """A picture or bundle that may be used."""

    path: Path
    consent: ConsentAnswer
    """Whose portrait it is: as the bundle says, as answered before, or as answered now."""
    own_network: bool = False
    """A bundle that carries the network it needs: no weights have to be loaded for it."""


def find_portraits(paths: Sequence[str]) -> list[Path]:
    """The files behind ``--avatar``, folders opened and sorted by name. Raises where there is none."""
    if not paths:
        raise ConfigError(
            "no portrait was given",
            "add --avatar me.png; `lia-live demo` shows one that is shipped",
        )
    found: list[Path] = []
    for text in paths:
        if not text:  # as a path it would mean this very folder
            raise ConfigError("--avatar is empty", "name a picture, a bundle or a folder of them")
        path = Path(text)
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in (*PICTURES, BUNDLE))
        if not inside:
            raise AvatarError(
                f"{path} is a folder without portraits",
                f"name a picture, or a folder with {', '.join(PICTURES)} or {BUNDLE} files",
            )
        found.extend(inside)
    return found


def settle_portraits(
    paths: Sequence[Path], flag: ConsentAnswer | None, book: ConsentBook, interrupts: Interrupts
) -> list[Portrait]:
    """Ask whose portraits these are, before anything slow happens. Bundles may carry their answer."""
    portraits = []
    for path in paths:
        digest = digest_of(path)
        answer, own_network = None, False
        if path.suffix.lower() == BUNDLE:
            with interrupts.deferred():
                label = _label(path)
            answer, own_network = label.consent, label.network is not None
        consent = answer or settle(path.name, digest, flag, book)
        portraits.append(Portrait(path, consent, own_network))
    return portraits


def open_portraits(
    portraits: Sequence[Portrait], networks: Networks, interrupts: Interrupts
) -> list[Avatar]:
    """The avatars of ``portraits``; the weights are loaded only if one of them needs them.

    Raises ``AvatarError``, ``MediaError``, ``WeightsError``.
    """
    avatars = []
    for portrait in portraits:
        with interrupts.deferred():
            model = None if portrait.own_network else networks.model()
        with interrupts.deferred():
            avatars.append(open_portrait(portrait, model))
        if portrait.own_network and networks.settings.weights != ModelSettings().weights:
            print(
                f"note: {portrait.path.name} carries its own network, --weights is not for it",
                file=sys.stderr,
            )
    return avatars


def open_portrait(
    portrait: Portrait, model: LIA | None, face: int | None = None, keep_mouth: bool = False
) -> Avatar:
    """The avatar of a portrait, its consent set, its warnings printed. Raises ``AvatarError``.

    ``model``: None for a bundle that carries its network. ``keep_mouth``: as for ``Avatar.from_image``.
    """
    from lia_live.avatar import Avatar

    path = portrait.path
    with naming(path):
        if model is None or path.suffix.lower() == BUNDLE:
            avatar = Avatar.load(path, model)
        else:
            avatar = Avatar.from_image(path, model, face=face, keep_mouth=keep_mouth)
    for note in avatar.notes:
        print(f"note: {path.name}: {note}", file=sys.stderr)
    return avatar.with_consent(portrait.consent)


def _label(bundle: Path) -> Label:
    from lia_live.avatar import read_label

    return read_label(bundle)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever is said against a file in this block says which file, too."""
    try:
        yield
    except (AvatarError, MediaError) as error:
        if path.name in error.message:
            raise
        raise type(error)(f"{path}: {error.message}", error.hint) from error
