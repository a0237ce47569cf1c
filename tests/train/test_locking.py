"""Folders held by one process: who comes second is told why, and no lock is taken away from its holder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lia_live.errors import ConfigError, StorageError
from lia_live.train import locking
from lia_live.train.locking import locked
from tests.train import runs

HOLD = """
import sys
from pathlib import Path
from lia_live.train.locking import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_run_at_a_time_and_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        env=runs.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another run"), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with locked(tmp_path):
        pass
    with locked(tmp_path):  # given back
        pass
    assert (tmp_path / "lock").exists()


def test_no_permission_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"), locked(tmp_path / "file"):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EIO])
def test_a_file_system_without_locks_is_no_other_run(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locking, "_lock", refuse)
    with pytest.raises(StorageError, match="cannot be locked") as caught, locked(tmp_path):
        pass
    assert "local disk" in caught.value.hint


def test_a_lock_file_that_is_not_kept(tmp_path: Path) -> None:
    with locked(tmp_path, ".busy", "`train prepare`", keep=False):
        again = locked(tmp_path, ".busy", "`train prepare`", keep=False)
        with pytest.raises(ConfigError, match="another `train prepare` is at work"), again:
            pass
        assert (tmp_path / ".busy").exists(), "who was refused has not removed it"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="open files are not removed elsewhere")
def test_a_file_that_was_removed_before_it_was_locked_holds_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened while another held it, locked after that one removed it and was done."""
    lock, taken = locking._lock, []

    def late(descriptor: int) -> None:
        if not taken:
            (tmp_path / "lock").unlink()
        taken.append(descriptor)
        lock(descriptor)

    monkeypatch.setattr(locking, "_lock", late)
    with locked(tmp_path):
        assert len(taken) == 2
        with pytest.raises(ConfigError), locked(tmp_path):
            pass


@pytest.mark.skipif(os.name != "posix", reason="open files are not removed elsewhere")
def test_the_file_is_removed_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink, refused = Path.unlink, []

    def watched(path: Path) -> None:
        with pytest.raises(ConfigError), locked(tmp_path):
            pass
        refused.append(path.name)
        unlink(path)

    with locked(tmp_path, keep=False):
        monkeypatch.setattr(Path, "unlink", watched)
    assert refused == ["lock"]
    assert not list(tmp_path.iterdir())
