"""A disk that is full of what nobody needs any more: it goes, and writes are taken again."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from splinter import limits
from splinter.durable.files import Disk
from splinter.durable.groups import Kind
from splinter.durable.log_reader import LogReader
from splinter.durable.logger import Logger
from splinter.durable.segments import LogFailedError
from splinter.durable.snapshots import SnapshotReader, first_group, places_in, snapshots_in
from tests.support.log_worlds import IDENTITY, TENANT, World, log_world
from tests.support.logs import restored, state_of
from tests.support.waiting import wait_for

SECONDS = 60.0


def _size(path: Path) -> int:
    """Of a file; 0 when it has another name by now, as a segment that a helper thread has made."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


class SmallDisk(Disk):
    """One with so much room for the files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.room = folder, 1 << 60

    def write(self, descriptor: int, pieces: Sequence[memoryview], place: int) -> None:
        end = place + sum(len(piece) for piece in pieces)
        used = sum(map(_size, self._folder.rglob("0*")))
        if end > (size := os.fstat(descriptor).st_size) and used + end - size > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, pieces, place)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with log_world(tmp_path) as made:
        made.paths.disk = SmallDisk(tmp_path)
        yield made


def _fill(world: World, append: Callable[[], object]) -> None:
    """Have the disk have no room but in the log's last segment, and write until that is full."""
    disk = world.paths.disk
    assert isinstance(disk, SmallDisk)
    disk.room = 0
    with pytest.raises(LogFailedError):
        while True:
            world.store.put(TENANT, 0, b"filling", bytes(30_000))
            append()


def _write(world: World, logger: Logger) -> None:
    """More than a segment has."""
    for number in range(64):
        world.store.put(TENANT, 0, b"key %d" % number, bytes(30_000))
        logger.turn()


def _take_snapshot(logger: Logger) -> None:
    logger.begin_snapshot()

    def look() -> bool:
        logger.turn()
        return not logger.is_taking_snapshot

    wait_for(look, SECONDS, "a snapshot")


def _held(world: World) -> tuple[Logger, int]:
    """A log process that keeps, for a backup alone, what a snapshot stands for; the disk is full. And the backup's number."""
    logger = world.logger()
    _write(world, logger)
    _take_snapshot(logger)
    hold = world.state.begin_hold(SECONDS)
    assert hold is not None
    _write(world, logger)
    _take_snapshot(logger)
    assert len(snapshots_in(world.paths.snapshots)) == 2
    _fill(world, logger.turn)
    with pytest.raises(LogFailedError):
        logger.try_again()
    assert len(snapshots_in(world.paths.snapshots)) == 2
    return logger, hold


def _require_all_is_kept(world: World, logger: Logger) -> None:
    """A write is taken and durable; what the disk has makes the store again; what nobody needs is gone."""
    world.store.put(TENANT, 0, b"key", b"value")
    logger.turn()
    assert world.store.accounts["durable"][TENANT] == world.store.accounts["sequence"][TENANT]
    (newest,) = snapshots_in(world.paths.snapshots)
    copies, numbers = b"", np.zeros(limits.TENANTS_MAX, np.int64)
    for group in SnapshotReader(newest, IDENTITY):
        if group.kind == Kind.TENANTS:
            numbers[places_in(group)["tenant"]] = places_in(group)["number"]
        else:
            copies += bytes(group.payload)
    log = [bytes(group.payload) for group in LogReader(world.paths.log, IDENTITY, first_group(newest))]
    made = restored(log, world.store, snapshot=copies, numbers=numbers)
    assert state_of(made, TENANT) == state_of(world.store, TENANT)


def test_what_a_backup_has_held_goes_when_that_ends_though_the_disk_is_full(world: World) -> None:
    logger, hold = _held(world)
    world.state.end_hold(hold)
    logger.try_again()
    assert world.state.look_at_hold() == 0
    _require_all_is_kept(world, logger)


def test_what_a_snapshot_stands_for_goes_that_became_whole_as_the_disk_was_full(world: World) -> None:
    logger = world.logger()
    _write(world, logger)
    _take_snapshot(logger)
    _write(world, logger)
    logger.begin_snapshot()
    taken = logger._snapshot
    assert taken is not None
    taken.join(SECONDS)
    assert taken.path is not None and len(snapshots_in(world.paths.snapshots)) == 2  # no turn has seen that it is whole
    logger._snapshot = None
    _fill(world, logger.turn)
    logger._snapshot = taken
    logger.try_again()
    _require_all_is_kept(world, logger)


@pytest.mark.parametrize("is_held", [False, True])
def test_a_log_process_that_begins_on_a_full_disk_lets_go_of_what_nobody_needs(world: World, is_held: bool) -> None:
    """All processes, or that one, died while a backup held files."""
    logger, hold = _held(world)
    logger.close()
    if is_held:
        with pytest.raises(LogFailedError):
            world.logger()
        assert len(snapshots_in(world.paths.snapshots)) == 2
    world.state.end_hold(hold)
    _require_all_is_kept(world, world.logger())
