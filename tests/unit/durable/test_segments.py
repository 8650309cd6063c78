"""The log's files: what was confirmed is read back, what is torn is cut, what is damaged is told with its place."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from splinter.durable.files import Disk
from splinter.durable.groups import GROUP_ALIGN_BYTES, GROUP_BYTES, DamageError
from splinter.durable.log_reader import LogReader
from splinter.durable.segments import Confirmed, LogFailedError, LogWriter

IDENTITY = 0x1234_5678_9ABC
SEGMENT = 8192


def payload(number: int, size: int = 100) -> memoryview:
    """What group ``number`` of a test holds."""
    return memoryview(bytes([number % 251]) * size)


def write(folder: Path, first: int, count: int, size: int = 100, disk: Disk | None = None) -> LogWriter:
    """A log to which so many groups were appended."""
    writer = LogWriter(folder, IDENTITY, first, disk=disk, segment_bytes=SEGMENT)
    for number in range(first, first + count):
        assert writer.append([payload(number, size)[:30], payload(number, size)[30:]]) == number
    return writer


def read(folder: Path, first: int = 1, told: list[DamageError] | None = None) -> tuple[list[int], LogReader]:
    """The numbers of the groups that are read, each with its own content; ``told`` salvages."""
    reader = LogReader(folder, IDENTITY, first, salvage=told.append if told is not None else None)
    numbers = []
    for group in reader:
        assert bytes(group.payload) == bytes(payload(group.number, len(group.payload)))
        numbers.append(group.number)
    return numbers, reader


def used(folder: Path) -> list[Path]:
    """The segments in use."""
    return sorted(folder.glob("*.log"))


def test_groups_are_read_in_order_over_many_segments(tmp_path: Path):
    write(tmp_path, 1, 50).close()
    assert len(used(tmp_path)) > 3
    numbers, reader = read(tmp_path)
    assert (numbers, reader.number, reader.torn) == ([*range(1, 51)], 51, "")
    assert read(tmp_path, 20)[0] == [*range(20, 51)]
    assert read(tmp_path, 51)[0] == []


def test_an_empty_folder_has_no_groups(tmp_path: Path):
    assert read(tmp_path)[0] == []


def test_a_log_goes_on_where_the_last_writer_ended(tmp_path: Path):
    write(tmp_path, 1, 5).close()
    write(tmp_path, 6, 5).close()
    assert read(tmp_path)[0] == [*range(1, 11)]


def test_segments_are_used_again_and_their_old_groups_do_not_come_back(tmp_path: Path):
    writer = write(tmp_path, 1, 60)
    for number in range(61, 200):
        writer.append([payload(number)])
        writer.forget_before(number - 5)
        assert len([*tmp_path.glob("*.log"), *tmp_path.glob("*.spare")]) <= 6
        assert read(tmp_path, number - 5)[0] == [*range(number - 5, number + 1)]
    writer.close()


def test_what_is_missing_at_the_beginning_is_told(tmp_path: Path):
    writer = write(tmp_path, 1, 60)
    writer.forget_before(50)
    writer.close()
    with pytest.raises(DamageError, match="missing"):
        read(tmp_path)


def test_a_segment_in_the_middle_that_is_missing_is_told(tmp_path: Path):
    write(tmp_path, 1, 60).close()
    used(tmp_path)[1].unlink()
    with pytest.raises(DamageError):
        read(tmp_path)
    told: list[DamageError] = []
    numbers, _ = read(tmp_path, told=told)
    assert len(told) == 1 and numbers[0] == 1 and numbers[-1] == 60 and len(numbers) < 60


def _torn(folder: Path, last: int) -> tuple[Path, int, int]:
    """Where group ``last`` lies: file, first byte, bytes."""
    data = used(folder)[-1].read_bytes()
    size = -(-(GROUP_BYTES + 1000) // GROUP_ALIGN_BYTES) * GROUP_ALIGN_BYTES
    places = [at for at in range(0, len(data), GROUP_ALIGN_BYTES) if data[at + 8 : at + 16] == last.to_bytes(8, "little")]
    return used(folder)[-1], places[0], size


def test_the_last_group_may_be_torn_anywhere_if_it_was_not_confirmed(tmp_path: Path):
    write(tmp_path, 1, 3, size=1000).close()
    path, at, size = _torn(tmp_path, 3)
    whole = path.read_bytes()
    for cut in range(0, size, GROUP_ALIGN_BYTES):
        path.write_bytes(whole[: at + cut] + bytes(len(whole) - at - cut))
        Confirmed(tmp_path).number = 2
        numbers, reader = read(tmp_path)
        assert numbers == [1, 2]
        assert bool(reader.torn) == (cut > 0)
        assert reader.number == 3
        Confirmed(tmp_path).number = 3
        with pytest.raises(DamageError):
            read(tmp_path)


def test_what_was_cut_off_does_not_come_back(tmp_path: Path):
    write(tmp_path, 1, 3, size=1000).close()
    path, at, _ = _torn(tmp_path, 2)
    damaged = bytearray(path.read_bytes())
    damaged[at + GROUP_BYTES + 5] ^= 1
    path.write_bytes(damaged)
    Confirmed(tmp_path).number = 1
    with pytest.raises(DamageError):  # group 3 is whole: so 2 was on the disk
        read(tmp_path)
    path, at3, _ = _torn(tmp_path, 3)
    damaged[at3 : at3 + 8] = bytes(8)  # the header of 3 was not written, 2 was torn
    path.write_bytes(damaged)
    assert read(tmp_path)[0] == [1]
    write(tmp_path, 2, 1, size=1000).close()
    damaged[at3 : at3 + 8] = whole_header(path, tmp_path)
    assert read(tmp_path)[0] == [1, 2]


def whole_header(path: Path, folder: Path) -> bytes:
    """The first bytes of any header."""
    return path.read_bytes()[:8]


def test_every_flipped_bit_is_found(tmp_path: Path):
    write(tmp_path, 1, 4, size=40).close()
    (path,) = used(tmp_path)
    whole, told = path.read_bytes(), 0
    for byte in range(4 * GROUP_ALIGN_BYTES):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[byte] ^= 1 << bit
            path.write_bytes(damaged)
            is_padding = byte % GROUP_ALIGN_BYTES >= GROUP_BYTES + 40
            if is_padding:
                assert read(tmp_path)[0] == [1, 2, 3, 4]
                continue
            with pytest.raises(DamageError) as raised:
                read(tmp_path)
            assert raised.value.path == path
            assert raised.value.place == byte // GROUP_ALIGN_BYTES * GROUP_ALIGN_BYTES
            told += 1
    assert told == 4 * 8 * (GROUP_BYTES + 40)


def test_what_is_whole_can_be_salvaged(tmp_path: Path):
    write(tmp_path, 1, 60).close()
    damaged = bytearray(used(tmp_path)[1].read_bytes())
    damaged[GROUP_BYTES + 3] ^= 1
    damaged[3 * GROUP_ALIGN_BYTES + 9] ^= 1
    used(tmp_path)[1].write_bytes(damaged)
    told: list[DamageError] = []
    numbers, reader = read(tmp_path, told=told)
    assert len(told) == 2 and len(numbers) == 58 and reader.number == 61
    assert [damage.place for damage in told] == [0, 3 * GROUP_ALIGN_BYTES]


def test_bytes_that_look_like_a_group_of_another_folder_are_none(tmp_path: Path):
    other, here = tmp_path / "other", tmp_path / "here"
    other.mkdir()
    here.mkdir()
    LogWriter(other, IDENTITY + 1, 2, segment_bytes=SEGMENT).append([payload(2)])
    forged = used(other)[0].read_bytes()[:GROUP_ALIGN_BYTES]
    writer = write(here, 1, 1)
    value = bytes(GROUP_ALIGN_BYTES - GROUP_BYTES) + forged
    writer._disk.write(
        writer._descriptor, [memoryview(value)], GROUP_ALIGN_BYTES + GROUP_BYTES
    )  # a torn group with such a value
    writer.close()
    assert read(here)[0] == [1]


class Failing(Disk):
    """A disk whose operations of a name fail from some call on."""

    def __init__(self, name: str, after: int, number: int) -> None:
        self.name, self.left, self.number = name, after, number

    def _may_fail(self, name: str) -> None:
        if name == self.name:
            self.left -= 1
            if self.left < 0:
                raise OSError(self.number, os.strerror(self.number))

    def open(self, path: Path, *, create: bool = False) -> int:
        self._may_fail("open")
        return super().open(path, create=create)

    def write(self, descriptor: int, pieces, place: int) -> None:
        self._may_fail("write")
        super().write(descriptor, pieces, place)

    def sync(self, descriptor: int) -> None:
        self._may_fail("sync")
        super().sync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        self._may_fail("sync_folder")
        super().sync_folder(folder)

    def rename(self, old: Path, new: Path) -> None:
        self._may_fail("rename")
        super().rename(old, new)


@pytest.mark.parametrize("name", ["open", "write", "sync", "sync_folder", "rename"])
@pytest.mark.parametrize("after", range(0, 40, 3))
def test_whatever_fails_nothing_confirmed_is_lost_and_it_goes_on(tmp_path: Path, name: str, after: int):
    disk = Failing(name, 1 << 30, errno.EIO)
    writer = LogWriter(tmp_path, IDENTITY, 1, disk=disk, segment_bytes=SEGMENT)
    disk.left = after
    number = 1
    try:
        while number < 100:
            writer.append([payload(number)])
            number += 1
        assert name in ("open", "rename", "sync_folder")
    except LogFailedError:
        assert writer.confirmed == number - 1
        with pytest.raises(LogFailedError):  # nothing is tried before recover()
            writer.append([payload(number)])
        with pytest.raises(LogFailedError):
            writer.recover()
        assert read(tmp_path)[0][: number - 1] == [*range(1, number)]
    disk.left = 1 << 30
    writer.recover()
    for more in range(number, number + 30):
        writer.append([payload(more)])
    writer.close()
    assert read(tmp_path)[0] == [*range(1, number + 30)]


def test_what_the_disk_has_lost_of_what_it_confirmed_is_told(tmp_path: Path):
    disk = Failing("sync", 1 << 30, errno.EIO)
    writer = write(tmp_path, 1, 3, disk=disk)
    disk.left = 0
    with pytest.raises(LogFailedError):
        writer.append([payload(4)])
    path = used(tmp_path)[-1]
    with path.open("r+b") as file:
        file.seek(GROUP_ALIGN_BYTES + GROUP_BYTES)
        file.write(b"lost")
        os.fsync(file.fileno())
    disk.left = 1 << 30
    with pytest.raises(DamageError, match="group 2"):
        writer.recover()


@pytest.mark.parametrize("confirmed", [0, 60])
def test_a_damaged_beginning_of_the_last_segment_is_no_torn_end(tmp_path: Path, confirmed: int):
    write(tmp_path, 1, 60).close()
    last = used(tmp_path)[-1]
    damaged = bytearray(last.read_bytes())
    lost = int.from_bytes(damaged[8:16], "little")
    assert lost < 59
    damaged[9] ^= 1
    last.write_bytes(damaged)
    Confirmed(tmp_path).number = confirmed  # 0: the machine died, and nobody had written that page yet
    with pytest.raises(DamageError, match=f"group {lost} "):
        read(tmp_path)
    told: list[DamageError] = []
    assert read(tmp_path, told=told)[0] == [*range(1, lost), *range(lost + 1, 61)]
    assert len(told) == 1 and told[0].path == last and told[0].place == 0


def test_a_group_that_failed_does_not_stand_in_for_the_one_with_its_number(tmp_path: Path):
    disk = Failing("sync", 1 << 30, errno.EIO)
    writer = write(tmp_path, 1, 2, disk=disk)
    disk.left = 0
    with pytest.raises(LogFailedError):
        writer.append([payload(3)])  # it is whole in its file
    disk.left = 1 << 30
    writer.recover()
    writer.append([payload(3), payload(3)])
    writer.close()
    damaged = bytearray(used(tmp_path)[-1].read_bytes())
    damaged[20] ^= 1
    used(tmp_path)[-1].write_bytes(damaged)
    with pytest.raises(DamageError, match="group 3 "):
        read(tmp_path)
