"""Any exception becomes one line what, one line what to do, and an exit code."""

import errno

import pytest

from lia_live import errors
from lia_live.cli.failures import explain, report


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("a", "b"), 2),
        (errors.WeightsError("a", "b"), 3),
        (errors.AvatarError("a", "b"), 3),
        (errors.MediaError("a", "b"), 3),
        (errors.StorageError("a", "b"), 4),
        (errors.DeviceError("a", "b"), 5),
        (errors.TrainingError("a", "b"), 6),
        (errors.LiaLiveError("a"), 1),
        (OSError(errno.ENOSPC, "No space left on device", "out.mp4"), 4),
        (PermissionError(errno.EACCES, "Permission denied", "out.mp4"), 4),
        (OSError(errno.EROFS, "Read-only file system"), 4),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), 3),
        (OSError(errno.ENODEV, "No such device", "/dev/video9"), 5),
        (OSError("odd"), 1),
        (MemoryError(), 4),
        (ZeroDivisionError("division\nby zero"), 1),
    ],
)
def test_two_lines_and_the_code(capsys, error, code):
    assert report(error) == code
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "to do"]
    assert all(line.split(":", 1)[1].strip() for line in lines)


def test_the_file_is_named():
    assert "out.mp4" in explain(OSError(errno.ENOSPC, "No space left on device", "out.mp4")).what


def test_traceback_only_with_debug(capsys):
    try:
        raise ValueError("inner")
    except ValueError as error:
        report(error, debug=True)
    assert "Traceback" in capsys.readouterr().err
