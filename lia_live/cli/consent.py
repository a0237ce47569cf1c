"""Whose portrait is it? Asked once per picture, kept in the user's state folder by the picture's hash."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from lia_live.cli.config import ConsentAnswer
from lia_live.errors import AvatarError, ConfigError, StorageError

QUESTION = """Whose portrait is {name}?
  1  me
  2  somebody who gave me permission
  3  not a real person (drawn, generated, or long in the public domain)
Answer 1, 2 or 3: """
ANSWERS: tuple[ConsentAnswer, ...] = get_args(ConsentAnswer)
_TRIES = 3


def state_folder() -> Path:
    """Where this user's programs keep what they must remember. Raises ``StorageError``: there is no such place."""
    try:
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = str(Path.home() / "Library" / "Application Support")
        else:
            base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    except RuntimeError as error:  # no HOME, and a user whom the system does not know
        raise StorageError(
            "this user has no home folder to remember things in",
            "set HOME (on Windows LOCALAPPDATA) to a folder that you may write to",
        ) from error
    return Path(base) / "lia-live"


class ConsentBook:
    """The answers given so far: sha256 of a picture's bytes -> answer. One small JSON file."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or state_folder() / "consent.json"

    def answer(self, digest: str) -> ConsentAnswer | None:
        """What was answered for this picture; a book that cannot be read has no answers."""
        found = self._read().get(digest)
        return found if found in ANSWERS else None

    def write(self, digest: str, answer: ConsentAnswer) -> None:
        """Keep an answer; the file is replaced in one step. Raises ``StorageError``."""
        answers = {**self._read(), digest: answer}
        new = self.path.with_suffix(f".{os.getpid()}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(answers, indent=1), encoding="utf-8")
            new.replace(self.path)
        except OSError as error:
            raise StorageError(
                f"the answer cannot be kept in {self.path} ({error.strerror})",
                "make that folder writable, or set XDG_STATE_HOME to one that is",
            ) from error

    def _read(self) -> dict[str, ConsentAnswer]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def digest_of(path: Path) -> str:
    """sha256 of a portrait's bytes. Raises ``AvatarError`` for what cannot be a portrait."""
    try:
        if path.is_dir():
            raise AvatarError(f"{path} is a folder, not a picture", "name a picture inside it")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            if file.tell() == 0:
                raise AvatarError(
                    f"{path} is empty (0 bytes)", "choose a JPEG, PNG or WebP portrait"
                )
    except FileNotFoundError:
        raise AvatarError(f"no such picture: {path}", "check the path after --avatar") from None
    return digest.hexdigest()


def ask_on_terminal(name: str) -> ConsentAnswer:
    """Ask the person at the terminal. Raises ``ConfigError`` where nobody is there to answer."""
    flags = " or ".join(f"--consent {answer}" for answer in ANSWERS)
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(f"whose portrait {name} is has not been answered", f"add {flags}")
    for _ in range(_TRIES):
        try:
            words = input(QUESTION.format(name=name)).strip().lower()
        except EOFError:
            break
        if words in ("1", "2", "3"):
            return ANSWERS[int(words) - 1]
        if words in ANSWERS:
            return ANSWERS[ANSWERS.index(words)]
    raise ConfigError(
        f"whose portrait {name} is was not answered", f"answer 1, 2 or 3, or add {flags}"
    )


def settle(
    name: str,
    digest: str,
    flag: ConsentAnswer | None,
    book: ConsentBook,
    ask: Callable[[str], ConsentAnswer] = ask_on_terminal,
) -> ConsentAnswer:
    """The answer for one portrait: the flag's, the one given before, or asked for now; then kept."""
    before = book.answer(digest)
    answer = flag or before or ask(name)
    if answer != before:
        book.write(digest, answer)
    return answer
