"""Where a dump is written to: files by whatever name, and what is told of those that take nothing."""

from __future__ import annotations

import errno
import os
import resource
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter.cli.dump import written
from splinter.cli.errors import explain

PIECES = [b"first\n", b"x" * 200_000, b"last\n"]  # more than a pipe takes at once


def write_all(output: Path | str) -> None:
    with written(str(output)) as write:
        for piece in PIECES:
            write(piece)


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path):
    file, link = tmp_path / "dump", tmp_path / "link"
    file.write_bytes(b"before")
    link.symlink_to(file)
    with written(str(link)) as write:
        write(b"new")
        assert file.read_bytes() == b"before"
    assert file.read_bytes() == b"new" and file.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == [file, link] and link.is_symlink()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises, as in a command; who runs the tests may have it end the process, or ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_who_is_interrupted_while_the_file_is_made_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make = tempfile.mkstemp

    def make_interrupted(**options: str) -> tuple[int, str]:
        made = make(**options)
        signal.raise_signal(signal.SIGINT)
        return made

    monkeypatch.setattr(tempfile, "mkstemp", make_interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_all(tmp_path / "dump")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "fifo"])
def test_a_pipe_is_written_to_by_any_of_its_names(tmp_path: Path, name: str):
    """As of ``-o >(gzip > file)``, and of ``-o /dev/stdout | gzip``."""
    if name == "fifo":
        output = tmp_path / name
        os.mkfifo(output)
        reading = os.open(output, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(reading, True)
        writing = os.open(output, os.O_WRONLY)
    else:
        reading, writing = os.pipe()
        output = Path(name.format(writing))
    found: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as opened:
            found.append(opened.read())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        write_all(output)
    finally:
        os.close(writing)
        reader.join()
    assert found == [b"".join(PIECES)]


def test_what_takes_nothing_is_told_by_its_name(tmp_path: Path):
    file = tmp_path / "dump"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError) as of_file:
            write_all(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert of_file.value.errno == errno.EFBIG and str(file) in explain(of_file.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError) as of_device:
        write_all("/dev/full")
    assert explain(of_device.value) == "No space left on device: '/dev/full'"
    with pytest.raises(OSError) as of_missing:
        write_all(tmp_path / "none" / "dump")
    assert str(tmp_path / "none" / "dump") in explain(of_missing.value)
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):  # nobody reads: nothing is said
        write_all(f"/dev/fd/{writing}")
    os.close(writing)


def test_what_goes_wrong_elsewhere_keeps_its_name_and_leaves_nothing(tmp_path: Path):
    with pytest.raises(OSError, match="elsewhere"), written(str(tmp_path / "dump")):
        raise OSError(errno.EIO, "failed", "elsewhere")
    assert list(tmp_path.iterdir()) == []
