"""Whatever was confirmed is read back whole after every crash; what was not is there whole, or is cut off."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splinter.durable.log_reader import LogReader, next_group
from splinter.durable.segments import CONFIRMED, Confirmed, LogFailedError, LogWriter
from tests.support.disks import SimulatedDisk

IDENTITY = 0x1234_5678_9ABC
SEGMENT = 4096


class Run:
    """A log on a simulated disk, and what of it must be there."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.random = root, Random(seed)
        self.folder = root / "0"
        self.folder.mkdir()
        self.disk = SimulatedDisk(self.folder, self.random)
        self.first = 1
        self.kept: dict[int, bytes] = {}  # groups that were confirmed, or read and believed
        self.tried: dict[int, set[bytes]] = {}  # what was written under a number
        self.writer: LogWriter | None = None
        self.start()

    @property
    def next(self) -> int:
        return max(self.kept, default=0) + 1

    def start(self) -> None:
        """What a server does: read all, believe it, go on behind."""
        try:
            reader = LogReader(self.folder, IDENTITY, self.first, disk=self.disk)
            read = {group.number: bytes(group.payload) for group in reader}
            self.spoil()
            assert next_group(self.folder, IDENTITY, self.first, self.disk) == reader.number
        except (LogFailedError, OSError):
            assert self.disk.operations > self.disk.power_until or self.disk.failing
            return
        assert [*read] == [*range(self.first, self.first + len(read))]
        assert reader.number >= self.next
        for number, payload in read.items():
            assert payload == self.kept[number] if number in self.kept else payload in self.tried[number]
        self.kept |= read
        Confirmed(self.folder).number = reader.number - 1
        try:
            self.writer = LogWriter(self.folder, IDENTITY, reader.number, disk=self.disk, segment_bytes=SEGMENT)
        except LogFailedError:
            self.writer = None

    def spoil(self) -> None:
        """Leave the file that tells what was confirmed as it is, of an earlier time, with a flipped bit, or nowhere."""
        path = self.folder / CONFIRMED
        match self.random.randrange(4):
            case 0:
                confirmed = Confirmed(self.folder)
                confirmed.number = self.random.randint(0, confirmed.number)
            case 1 if self.writer is not None:  # it has written it
                with path.open("r+b") as file:
                    head = bytearray(file.read(12))
                    head[self.random.randrange(12)] ^= 1 << self.random.randrange(8)
                    file.seek(0)
                    file.write(head)
            case 2:
                path.unlink()

    def append(self, size: int) -> None:
        if self.writer is None:
            return self.start()
        number, payload = self.next, self.random.randbytes(size)
        self.tried.setdefault(number, set()).add(payload)
        try:
            assert self.writer.append([memoryview(payload)]) == number
            self.kept[number] = payload
        except LogFailedError:
            assert self.disk.operations > self.disk.power_until or self.disk.failing

    def fail(self, name: str, number: int, size: int) -> None:
        """One group while an operation fails; then all is well."""
        self.disk.failing = {name: number}
        self.append(size)
        self.join()
        self.disk.failing = {}
        if self.writer is None:
            return self.start()
        try:
            self.writer.recover()
        except LogFailedError:
            assert self.disk.operations > self.disk.power_until

    def forget(self, behind: int) -> None:
        self.first = max(self.first, self.next - behind)
        if self.writer is not None:
            try:
                self.writer.forget_before(self.first)
            except LogFailedError:
                assert self.disk.operations > self.disk.power_until

    def join(self) -> None:
        if self.writer is not None and self.writer._helper is not None:
            self.writer._helper.join()

    def kill(self) -> None:
        """All processes die. The kernel has what they wrote."""
        self.join()
        self.disk.die()
        self.start()

    def lose_power(self) -> None:
        self.join()
        folder = self.root / str(int(self.folder.name) + 1)
        folder.mkdir()
        self.disk.lose_power(folder)
        self.disk.die()
        Confirmed(folder).number = self.random.choice((0, self.random.randint(0, self.next - 1), self.next - 1))
        self.folder = folder
        self.disk = SimulatedDisk(folder, self.random)
        self.start()

    def end(self) -> None:
        self.lose_power()
        for _ in range(3):
            self.append(300)
        self.kill()
        assert self.writer is not None and self.writer.number == self.next
        self.writer.close()
        assert self.disk.opened() == 0


SIZES = st.sampled_from((8, 400, 448, 456, 1500, 3000))
ACTIONS = st.one_of(
    st.tuples(st.just("append"), SIZES),
    st.tuples(st.just("append"), SIZES),
    st.tuples(
        st.just("fail"),
        st.sampled_from(("sync", "write", "create", "open", "rename", "sync_folder")),
        st.sampled_from((errno.EIO, errno.ENOSPC)),
        SIZES,
    ),
    st.tuples(st.just("forget"), st.integers(0, 4)),
    st.tuples(st.just("kill")),
    st.tuples(st.just("lose_power")),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=25), st.integers(0, 1 << 32))
def test_confirmed_groups_outlast_whatever_happens(actions: list[tuple], seed: int):
    with TemporaryDirectory() as root:
        run = Run(Path(root), seed)
        for name, *arguments in actions:
            getattr(run, name)(*arguments)
        run.end()


def _script(run: Run) -> None:
    """A run over several segments, one of them used again."""
    for size in (8, 1500, 448, 3000, 456, 1500):
        run.append(size)
        run.join()
    run.forget(1)
    for size in (3000, 8, 3000):
        run.append(size)
        run.join()
    run.kill()
    run.append(400)
    run.join()


def test_the_power_may_go_at_every_operation(tmp_path: Path):
    (tmp_path / "all").mkdir()
    whole = Run(tmp_path / "all", 0)
    _script(whole)
    assert whole.disk.operations > 60
    for operation in range(whole.disk.operations + 1):
        for seed in range(6):
            root = tmp_path / f"{operation}-{seed}"
            root.mkdir()
            run = Run(root, seed)
            run.disk.power_until = operation
            _script(run)
            run.end()


def test_what_only_the_kernel_remembers_is_written_before_it_is_believed(tmp_path: Path):
    for seed in range(20):
        root = tmp_path / str(seed)
        root.mkdir()
        run = Run(root, seed)
        run.append(100)
        assert run.writer is not None
        run.disk.failing = {"sync": errno.EIO}
        run.append(1500)  # as if its writer had died between write and flush, or the flush had failed
        run.join()
        run.disk.failing = {}
        run.kill()
        run.lose_power()
        run.end()


@pytest.mark.parametrize("name", ["rename", "sync_folder", "sync", "write", "create"])
def test_trying_again_for_long_takes_no_more_room(tmp_path: Path, name: str):
    run = Run(tmp_path, 1)
    run.append(100)
    run.join()
    run.disk.failing = {name: errno.EIO}
    for _ in range(6):
        run.append(4000)
    assert run.writer is not None
    for _ in range(20):
        with pytest.raises(LogFailedError):
            run.writer.recover()
            run.append(4000)
            raise LogFailedError
    assert len([path for path in run.folder.iterdir() if path.suffix != ""]) <= 5
    assert run.disk.opened() <= 2
    run.join()
    run.disk.die()
