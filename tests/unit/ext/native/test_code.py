"""The code region: allocation, traps in freed places, and never both writable and executable."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter.errors import ServerError
from splinter.ext.native.code import ALIGNMENT, CodeRegion

RETURN_7 = bytes.fromhex("b807000000c3")  # mov eax, 7; ret
PAGE = 4096


OTHERS: set[str] = set()  # inodes of regions that were mapped before: other tests' in this process


def mappings() -> list[list[str]]:
    """Of this process: range, protection, offset, device, inode, name."""
    return [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]


@pytest.fixture
def region() -> Iterator[CodeRegion]:
    OTHERS.clear()
    OTHERS.update(fields[4] for fields in mappings() if "splinter-code" in " ".join(fields))
    made = CodeRegion.create(4 * PAGE)
    yield made
    made.close()


def in_child(action) -> int:  # type: ignore[no-untyped-def]
    """Run in a forked child; its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(action())
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def protections(region: CodeRegion) -> list[str]:
    """Protections of all mappings of the region's file or at its address, in this process; others may have regions, too."""
    found = []
    for fields in mappings():
        start, end = (int(part, 16) for part in fields[0].split("-"))
        is_ours = "splinter-code" in " ".join(fields) and fields[4] not in OTHERS
        if is_ours or (start < region.address + region.size and region.address < end):
            found.append(fields[1])
    return found


def test_code_written_after_the_fork_runs_in_the_child(region: CodeRegion) -> None:
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        address = int.from_bytes(os.read(ready, 8), "little")
        os._exit(ctypes.CFUNCTYPE(ctypes.c_int)(address)())
    region.become_writer()
    address, offset = region.write(RETURN_7)
    assert address == region.address + offset
    os.write(go, address.to_bytes(8, "little"))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    os.close(ready), os.close(go)


def test_never_writable_and_executable(region: CodeRegion) -> None:
    assert protections(region) == ["r-xs"]

    def writer() -> int:
        region.become_writer()
        region.write(RETURN_7)
        return 0 if protections(region) == ["---p"] else 1

    def reader() -> int:
        region.become_reader()
        try:
            region.write(RETURN_7)
        except OSError:
            return 0 if protections(region) == ["r-xs"] else 1
        return 2

    assert in_child(writer) == 0
    assert in_child(reader) == 0


def test_places_are_aligned_reused_and_trapped(region: CodeRegion) -> None:
    offsets = [region.write(bytes([i]) * 100)[1] for i in range(8)]
    assert all(offset % ALIGNMENT == 0 for offset in offsets) and len(set(offsets)) == 8
    assert region.used_bytes == 8 * 128
    region.free(offsets[2])
    region.free(offsets[4])
    assert os.pread(region.descriptor, 128, offsets[2]) == b"\xcc" * 128
    region.free(offsets[3])  # joins both neighbours
    assert region.allocate(3 * 128) == offsets[2]
    assert os.pread(region.descriptor, 100, offsets[5]) == bytes([5]) * 100
    with pytest.raises(KeyError):
        region.free(offsets[4])


def test_everything_freed_is_one_place_again(region: CodeRegion) -> None:
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        offsets = [region.allocate(PAGE) for _ in range(4)]
        with pytest.raises(ServerError, match="uninstall"):
            region.allocate(1)
        for index in order:
            region.free(offsets[index])
        assert region.allocate(4 * PAGE) == 0
        region.free(0)


def test_reserve_rebuilds_the_allocation(region: CodeRegion) -> None:
    region.reserve(128, 100)
    region.reserve(0, 64)
    for offset, size in ((128, 64), (192, 1), (64, 65), (1, 10), (-64, 64), (4 * PAGE, 1), (3 * PAGE, 2 * PAGE)):
        with pytest.raises(ValueError):
            region.reserve(offset, size)
    assert region.allocate(64) == 64
    assert region.allocate(64) == 256
    region.free(128)
    assert region.allocate(128) == 128


class Copy:
    """Pages in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[int, bytes] = {}
        self.is_closed = self.is_full = False

    def write(self, page: int, content: bytes) -> None:
        if self.is_full:
            raise OSError(12, "Cannot allocate memory")
        self.kept[page] = content

    def pages(self) -> list[tuple[int, bytes]]:
        return list(self.kept.items())

    def close(self) -> None:
        self.is_closed = True


def test_what_is_kept_of_the_code_fills_the_next_region_at_the_same_address() -> None:
    copy = Copy()
    first = CodeRegion.create(8 * PAGE, copy)
    long = os.urandom(PAGE + 100)
    offsets = [first.write(code)[1] for code in (RETURN_7, long, RETURN_7)]
    address = first.address
    assert sorted(copy.kept) == [0, 1]
    first.free(offsets[0])
    first.close()
    again = CodeRegion.create(8 * PAGE, copy)
    assert again.address == address
    assert os.pread(again.descriptor, len(long), offsets[1]) == long
    assert os.pread(again.descriptor, ALIGNMENT, offsets[0]) == b"\xcc" * ALIGNMENT  # freed places trap there, too
    assert ctypes.CFUNCTYPE(ctypes.c_int)(address + offsets[2])() == 7
    again.close()
    assert copy.is_closed  # a worker has no means of writing


def test_code_that_cannot_be_kept_is_refused_and_takes_no_place() -> None:
    copy = Copy()
    region = CodeRegion.create(8 * PAGE, copy)
    kept = region.write(RETURN_7)[1]
    copy.is_full = True
    with pytest.raises(ServerError, match="no memory to keep machine code"):
        region.write(RETURN_7)
    region.free(kept)
    assert region.used_bytes == 0
    region.close()
