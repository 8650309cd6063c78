"""Streams that drop what nobody takes, and say so; a writer that drops what cannot be written."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter.server import output
from splinter.server.logs import JsonFormatter, note_for
from splinter.server.output import _carry, _Stream, _write
from tests.support.pipes import full_pipe
from tests.support.waiting import WAIT_SECONDS

ROOT = Path(__file__).parents[3]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    yield reading, writing
    for end in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(end)


def test_lines_are_written_whole(pipe: tuple[int, int]) -> None:
    stream = _Stream(pipe[1])
    print("one", 1, file=stream)
    stream.write("half")
    assert os.read(pipe[0], 100) == b"one 1\n"
    stream.flush()
    assert os.read(pipe[0], 100) == b"half"


def test_a_full_pipe_loses_lines_and_counts_them(pipe: tuple[int, int]) -> None:
    stream = _Stream(pipe[1])
    for _ in range(10_000):
        print("x" * 1000, file=stream)
    with open(pipe[0], "rb", buffering=0, closefd=False) as reader:
        got = reader.read(1 << 20).count(b"\n")
        print("after", file=stream)
        assert (
            reader.read(1 << 20).decode()
            == f"splinter: {10_000 - got} lines before this one were lost, as nobody took them\nafter\n"
        )


@pytest.mark.parametrize("is_read_end_closed", [True, False])
def test_a_pipe_that_is_gone_loses_lines(pipe: tuple[int, int], is_read_end_closed: bool) -> None:
    stream = _Stream(pipe[1])
    os.close(pipe[0 if is_read_end_closed else 1])
    print("nobody", file=stream)
    try:
        raise ValueError("said")
    except ValueError:
        traceback.print_exc(file=stream)


def test_any_text_can_be_said(pipe: tuple[int, int]) -> None:
    stream = _Stream(pipe[1])
    print("ü \udcff", "y" * 100_000, file=stream)
    assert os.read(pipe[0], 1 << 20).startswith("ü \\udcff yyy".encode())


def test_the_writer_waits_for_a_slow_reader_and_loses_nothing() -> None:
    (from_server, server), (reader, out) = os.pipe(), os.pipe()
    thread = threading.Thread(target=_carry, args=(from_server, out))
    thread.start()
    os.set_blocking(out, False)  # as another holder of the descriptor may do
    sent = bytes(range(256)) * 4096
    feeder = threading.Thread(target=lambda: (_write(server, sent), os.close(server)))
    feeder.start()
    received = b""
    while len(received) < len(sent):
        received += os.read(reader, 1000)
    assert received == sent
    feeder.join()
    thread.join()
    for descriptor in (from_server, reader, out):
        os.close(descriptor)


def test_the_writer_tells_what_it_could_not_write() -> None:
    from_server, server = os.pipe()
    full, out = os.open("/dev/full", os.O_WRONLY), os.pipe()
    assert _write(full, b"lost") == 4
    target = os.dup(full)
    thread = threading.Thread(target=_carry, args=(from_server, target))
    thread.start()
    os.write(server, b"lost\n")
    waiting = select.poll()
    waiting.register(from_server, select.POLLIN)
    while waiting.poll(0):  # until it was taken
        pass
    os.dup2(out[1], target)  # the disk has room again
    os.write(server, b"kept\n")
    os.close(server)
    thread.join()
    for descriptor in (out[1], target, full, from_server):
        os.close(descriptor)
    text = os.read(out[0], 1000)
    # Whether the writer came to the disk before it had room again cannot be told from here.
    assert text in (b"splinter: 5 bytes before this could not be written\nkept\n", b"lost\nkept\n")
    os.close(out[0])


SAY_MUCH = """
import fcntl, os, signal, struct, sys, termios, time
from splinter.server.output import Output
output = Output()

def have_all_taken():
    for reading in output._pipes:
        while struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, b"1234"))[0]:
            time.sleep(0.001)  # between two looks, so that the writer gets the CPU; the program's time is bounded

for number in range(3000):
    print(number, "x" * 1000)
    print("error", number, file=sys.stderr)
if "kill" in sys.argv:
    have_all_taken()
    os.kill(output._pid, signal.SIGKILL)
    output.reap_writer()
    print("nobody carries this yet")
    output.start_writer()
if "full" not in sys.argv:
    have_all_taken()
print("the end")
output.close()
"""


def say_much(stdout: int, stderr: int, *arguments: str) -> subprocess.Popen[bytes]:
    """A process that says three megabytes, and ends."""
    return subprocess.Popen([sys.executable, "-c", SAY_MUCH, *arguments], stdout=stdout, stderr=stderr, cwd=ROOT)


def test_who_says_much_to_a_full_pipe_ends_all_the_same() -> None:
    reading, writing = full_pipe()
    process = say_much(writing, writing, "full")
    os.close(writing)
    assert process.wait(WAIT_SECONDS) == 0
    os.close(reading)


@pytest.mark.parametrize("argument", ["", "kill"])
def test_what_is_read_comes_in_order_by_its_own_stream(argument: str, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        assert say_much(out.fileno(), err.fileno(), argument).wait(WAIT_SECONDS) == 0
    said = (tmp_path / "out").read_text().splitlines()
    numbers = [int(line.split()[0]) for line in said if line[0].isdigit()]
    assert numbers == sorted(set(numbers))
    assert said[-1] == "the end"
    if argument:
        assert "nobody carries this yet" in said
    assert (tmp_path / "err").read_text().splitlines()[0] == "error 0"


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    program = "from splinter.server.output import Output; o = Output(); print('in'); o.close(); print('after', flush=True)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout == "in\nafter\n"


def test_what_is_said_of_lost_lines_has_the_form_of_the_log(pipe: tuple[int, int]) -> None:
    stream = _Stream(pipe[1], note_for("json"))
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe[1], b"x" * 4096):
            pass
    stream.write('{"lost": 1}\n')
    while len(os.read(pipe[0], 1 << 20)) == 1 << 20:
        pass
    stream.write('{"kept": 1}\n')
    lost, kept = (json.loads(line) for line in os.read(pipe[0], 4096).decode().splitlines())
    assert lost["message"] == "1 lines before this one were lost, as nobody took them"
    assert kept == {"kept": 1}


def test_a_long_line_is_whole_behind_what_is_said_of_lost_ones(pipe: tuple[int, int]) -> None:
    stream = _Stream(pipe[1], note_for("json"))
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe[1], b"x" * select.PIPE_BUF):
            pass
    stream.write("{}\n")
    while len(os.read(pipe[0], 1 << 20)) == 1 << 20:
        pass
    long = JsonFormatter().format(logging.LogRecord("splinter", logging.INFO, "", 0, "y" * 3950, (), None))
    stream.write(long + "\n")
    lost, kept = (json.loads(line) for line in os.read(pipe[0], 1 << 20).decode().splitlines())
    assert "lines before this one were lost" in lost["message"] and kept["message"] == "y" * 3950


class Disk:
    """A file with room for so many bytes more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room, self.text = 0, b""
        monkeypatch.setattr(output, "_write", self._write)

    def _write(self, descriptor: int, data: bytes) -> int:
        taken = data[: self.room]
        self.text += taken
        self.room -= len(taken)
        return len(data) - len(taken)


LINES = [b'{"line": %d, "text": "%s"}\n' % (number, b"z" * 40) for number in range(12)]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("chunk", [1, 7, 64, 100, 1 << 16])
def test_what_follows_a_full_disk_is_whole_lines_wherever_it_was_full(
    monkeypatch: pytest.MonkeyPatch, form: str, chunk: int
) -> None:
    """Room for some bytes, then for the notes in part, then for all; whatever pieces the text comes in."""
    said = b"".join(LINES)
    pieces = [said[at : at + chunk] for at in range(0, len(said), chunk)]
    for room in range(0, 3 * len(LINES[0]), 5):
        for again in (0, 1, 30):  # a try to tell of it that is cut as well
            disk = Disk(monkeypatch)
            carrier = output._Carrier(0, note_for(form))
            disk.room = room
            for at, piece in enumerate(pieces):
                if at == len(pieces) // 3:
                    disk.room += again
                if at == len(pieces) // 2:
                    disk.room = len(said) * 99
                carrier.carry(piece)
            carrier.carry(b'{"line": 99}\n')
            lines = disk.text.splitlines(keepends=True)
            whole = [line for line in lines if line in (*LINES, b'{"line": 99}\n')]
            notes = [line for line in lines if b"could not be written" in line]
            cut = [line for line in lines if line not in (*whole, *notes)]
            assert whole[-1] == b'{"line": 99}\n' and len(cut) <= 3, disk.text
            assert all(line.endswith(b"\n") for line in lines)
            for line in notes:
                said_of = json.loads(line)["message"] if form == "json" else line.decode().removeprefix("splinter: ")
                assert said_of[0].isdigit(), line
            # What is cut is what the disk cut, and nothing else: a beginning of a line, or of a note.
            for line in cut:
                begun = (*LINES, b'{"time": ', b"splinter: ")
                assert any(each.startswith(line[:-1]) for each in begun) or line.startswith(begun[-2:]), line
