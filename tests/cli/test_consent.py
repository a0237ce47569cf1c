"""Asked once per picture; without a terminal and without the flag: a usage error."""

import json
from pathlib import Path

import pytest

from lia_live.cli.consent import ConsentBook, ask_on_terminal, digest_of, settle, state_folder
from lia_live.errors import AvatarError, ConfigError, StorageError


@pytest.fixture
def book(tmp_path):
    return ConsentBook(tmp_path / "state" / "consent.json")


def never(name: str):
    raise AssertionError("asked")


def test_flag_answers_and_is_kept(book):
    assert settle("me.png", "d1", "me", book, never) == "me"
    assert settle("me.png", "d1", None, book, never) == "me"


def test_asked_once_per_picture(book):
    asked: list[str] = []

    def ask(name: str):
        asked.append(name)
        return "permission"

    for digest in ("d1", "d1", "d2"):
        assert settle("p.png", digest, None, book, ask) == "permission"
    assert len(asked) == 2


def test_flag_overrides_an_earlier_answer(book):
    settle("p.png", "d1", "me", book, never)
    settle("p.png", "d1", "not-a-person", book, never)
    assert book.answer("d1") == "not-a-person"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"d1": "yes"}', "\x00"])
def test_damaged_book_asks_again(book, text):
    book.path.parent.mkdir()
    book.path.write_text(text)
    assert book.answer("d1") is None
    settle("p.png", "d1", "me", book, never)
    assert json.loads(book.path.read_text())["d1"] == "me"


def test_no_terminal_is_a_usage_error_that_names_the_flag(monkeypatch, tmp_path):
    with (tmp_path / "empty").open("w+") as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        with pytest.raises(ConfigError) as caught:
            ask_on_terminal("me.png")
    assert "--consent me" in caught.value.hint


def test_answers_on_a_terminal(monkeypatch):
    class Terminal:
        def isatty(self) -> bool:
            return True

    replies = iter(["what?", "2", "not-a-person", "x", "y", "z"])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda question: next(replies))
    assert ask_on_terminal("me.png") == "permission"
    assert ask_on_terminal("me.png") == "not-a-person"
    with pytest.raises(ConfigError):
        ask_on_terminal("me.png")


def test_book_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        ConsentBook(tmp_path / "file" / "consent.json").write("d", "me")


def test_digest(tmp_path):
    one, two = tmp_path / "1.png", tmp_path / "2.png"
    one.write_bytes(b"a")
    two.write_bytes(b"a")
    assert digest_of(one) == digest_of(two)
    two.write_bytes(b"b")
    assert digest_of(one) != digest_of(two)
    (tmp_path / "empty.png").write_bytes(b"")
    for bad in (tmp_path, tmp_path / "none.png", tmp_path / "empty.png"):
        with pytest.raises(AvatarError):
            digest_of(bad)


def test_state_folder_follows_the_system(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert state_folder() == tmp_path / "lia-live"


def test_a_user_without_a_home_is_told(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StorageError, match="no home folder") as caught:
        ConsentBook()
    assert "set HOME" in caught.value.hint
