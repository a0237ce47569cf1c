"""The status line is written over itself on a terminal, and is nowhere else."""

import io

from lia_live.cli.status import Progress, StatusLine, clock_time


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_written_over_itself_on_a_terminal(capsys):
    stream = Terminal()
    line = StatusLine(stream)
    line.show("one")
    line.show("two")
    line.say("kept")
    line.clear()
    assert stream.getvalue().endswith("\r\x1b[2Ktwo\r\x1b[2K")
    assert capsys.readouterr().out == "kept\n"


def test_cut_to_the_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "5")
    stream = Terminal()
    StatusLine(stream).show("x" * 100)
    assert stream.getvalue().count("x") == 19


def test_away_from_a_terminal_only_what_stays(capsys):
    stream = io.StringIO()
    line = StatusLine(stream)
    line.show("status")
    line.say("kept")
    assert stream.getvalue() == ""
    assert capsys.readouterr().out == "kept\n"


def test_progress_text():
    progress = Progress(StatusLine(io.StringIO()), 100)
    text = progress.text(25, elapsed_s=5)
    assert "25%" in text
    assert "5.0 a second" in text
    assert "0:15 left" in text
    assert Progress(StatusLine(io.StringIO()), 0).text(7, 1) == "7 frames  7.0 a second"


def test_clock_time():
    assert [clock_time(s) for s in (0, 65, 3725)] == ["0:00", "1:05", "1:02:05"]
