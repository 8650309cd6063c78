"""How far a command is: a bar where somebody looks, lines for a log, and nothing of either on standard output."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from splinter.cli import progress
from splinter.cli.restore import _Source

PROGRAM = """
from splinter.cli.progress import shown
with shown("copying") as show:
    for number in range(5):
        show(number, TOTAL, f"{number} objects")
print("done")
"""


@pytest.mark.parametrize("total", [4, 0])
def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(total: int) -> None:
    ours, theirs = pty.openpty()
    program = PROGRAM.replace("TOTAL", str(total))
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    drawn = b""
    while piece := _read(ours):
        drawn += piece
    os.close(ours)
    assert process.communicate()[0] == b"done\n" and process.returncode == 0
    # It is drawn ten times a second, and once more at the end.
    assert b"copying" in drawn and b"4 objects" in drawn
    assert (b"100%" in drawn) == (b"%" in drawn) == (total > 0)  # no share of what nobody knows
    assert drawn.rstrip().endswith(b"\x1b[2K")  # the line is erased


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # the other side has closed it
        return b""


def test_elsewhere_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with progress.shown("restoring") as show:
        for second in range(8):
            clock[0] = second * 0.75
            show(second, 0 if second == 3 else 16, f"{second:,} objects")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["restoring: 3 objects", "restoring: 37 %, 6 objects"]


def test_of_a_dump_from_a_pipe_no_share_is_told(tmp_path: Path) -> None:
    shares: list[tuple[int, int]] = []
    reading, writing = os.pipe()
    os.write(writing, b"12345")
    os.close(writing)
    file = tmp_path / "dump"
    file.write_bytes(b"12345")
    for opened, total in ((os.fdopen(reading, "rb"), 0), (file.open("rb"), 5)):
        with opened:
            assert list(_Source(opened, lambda done, total, what: shares.append((done, total))).pieces()) == [b"12345"]
        assert shares.pop() == shares.pop() == (5, total) and not shares
