"""From ``--avatar`` to avatars: folders are opened, consent is settled, pictures are encoded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lia_live.cli.config import ConsentAnswer
from lia_live.cli.consent import ConsentBook, digest_of, settle
from lia_live.errors import AvatarError, ConfigError, MediaError

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.model import LIA

BUNDLE = ".avatar"
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""What is taken from a folder; a picture named directly may end in anything."""


@dataclass(frozen=True)
class Portrait:
    """A picture or bundle that may be used."""

    path: Path
    consent: ConsentAnswer | None
    """None: a bundle, which carries its own answer or is asked about when it is open."""


def find_portraits(paths: Sequence[str]) -> list[Path]:
    """The files behind ``--avatar``, folders opened and sorted by name. Raises where there is none."""
    if not paths:
        raise ConfigError(
            "no portrait was given",
            "add --avatar me.png; `lia-live demo` shows one that is shipped",
        )
    found: list[Path] = []
    for path in map(Path, paths):
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
    paths: Sequence[Path], flag: ConsentAnswer | None, book: ConsentBook
) -> list[Portrait]:
    """Ask whose portraits these are, before anything slow happens. Bundles wait until they are open."""
    portraits = []
    for path in paths:
        digest = digest_of(path)
        bundle = path.suffix.lower() == BUNDLE
        answer = None if bundle else settle(path.name, digest, flag, book)
        portraits.append(Portrait(path, answer))
    return portraits


def open_portrait(
    portrait: Portrait,
    model: LIA,
    flag: ConsentAnswer | None,
    book: ConsentBook,
    face: int | None = None,
) -> Avatar:
    """The avatar of a portrait, its consent set, its warnings printed. Raises ``AvatarError``."""
    try:
        avatar = _opened(portrait.path, model, face)
    except (AvatarError, MediaError) as error:
        if portrait.path.name in error.message:
            raise
        raise type(error)(f"{portrait.path}: {error.message}", error.hint) from error
    for note in avatar.notes:
        print(f"note: {portrait.path.name}: {note}", file=sys.stderr)
    answer = portrait.consent or avatar.consent
    if answer is None:
        answer = settle(portrait.path.name, digest_of(portrait.path), flag, book)
    return avatar.with_consent(answer)


def _opened(path: Path, model: LIA, face: int | None) -> Avatar:
    from lia_live.avatar import Avatar

    if path.suffix.lower() == BUNDLE:
        return Avatar.load(path, model)
    return Avatar.from_image(path, model, face=face)
