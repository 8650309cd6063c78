"""A disk that has room for the log, and none for a snapshot: what then must wait is refused, and told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from splinter.durable import logger as logger_module
from splinter.durable.logger import Logger
from splinter.durable.segments import LogFailedError
from splinter.durable.snapshots import snapshots_in
from splinter.errors import DiskFailedError
from splinter.store.layout import DURABILITY_ALWAYS, LOG_FAILED, LOG_KEPT
from tests.support.log_worlds import LATE, TENANT, RefusingDisk, World, log_world
from tests.support.waiting import wait_for


class TightDisk(RefusingDisk):
    """One that may have no room for a snapshot."""

    is_tight = False

    def __init__(self) -> None:
        self._snapshots: set[int] = set()

    def open(self, path: Path, *, create: bool = False) -> int:
        descriptor = super().open(path, create=create)
        if path.parent.name == "snapshots":
            self._snapshots.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self._snapshots.discard(descriptor)
        super().close(descriptor)

    def write(self, descriptor: int, pieces: Sequence[memoryview], place: int) -> None:
        if self.is_tight and descriptor in self._snapshots:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, pieces, place)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(logger_module, "_SNAPSHOT_RETRY_SECONDS", 0.0)
    with log_world(tmp_path) as made:
        made.paths.disk = TightDisk()
        yield made


def _tight(world: World, *, is_tight: bool) -> None:
    disk = world.paths.disk
    assert isinstance(disk, TightDisk)
    disk.is_tight = is_tight


def _lack(world: World) -> None:
    """Have the log lack something: what a tenant put before it began to be logged."""
    world.store.put(LATE, 0, b"before", b"is not logged")
    world.store.set_modes(LATE, DURABILITY_ALWAYS)


def _is_refused(world: World) -> bool:
    is_refused = world.told()["refused_seconds"] is not None
    assert world.store.descriptor["log_state"] == (LOG_FAILED if is_refused else LOG_KEPT)
    return is_refused


def _turn_until(logger: Logger, is_so: Callable[[], bool], what: str) -> None:
    def look() -> bool:
        logger.turn()
        return is_so()

    wait_for(look, what=what)


def _is_durable(world: World, tenant: int) -> bool:
    return bool(world.store.accounts["durable"][tenant] == world.store.accounts["sequence"][tenant])


def test_writes_are_refused_from_when_a_snapshot_fails_until_one_is_whole(world: World) -> None:
    logger = world.logger()
    world.store.put(TENANT, 0, b"key", b"old")
    logger.turn()
    assert _is_durable(world, TENANT) and not _is_refused(world)
    _tight(world, is_tight=True)
    _lack(world)
    world.store.put(TENANT, 0, b"key", b"new")
    _turn_until(logger, lambda: _is_refused(world), "the refusal")
    with pytest.raises(DiskFailedError):
        world.store.put(TENANT, 0, b"key", b"newest")
    assert world.store.get(TENANT, 0, b"key") == b"new" and world.told()["disk_failures"] == 1
    for _ in range(3):  # however often it is tried
        _turn_until(logger, lambda: logger.is_taking_snapshot, "the next one")
        _turn_until(logger, lambda: not logger.is_taking_snapshot, "its failure")
        assert _is_refused(world) and not _is_durable(world, TENANT) and world.told()["disk_failures"] == 1
    _tight(world, is_tight=False)
    _turn_until(logger, lambda: not _is_refused(world), "a snapshot")
    assert _is_durable(world, TENANT) and _is_durable(world, LATE)
    world.store.put(TENANT, 0, b"key", b"newest")
    logger.turn()
    assert _is_durable(world, TENANT)


def test_a_snapshot_that_nobody_waits_for_may_fail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And when one is waited for, the pause after that is over."""
    monkeypatch.setattr(logger_module, "_SNAPSHOT_RETRY_SECONDS", 1e9)
    logger = world.logger()
    _tight(world, is_tight=True)
    logger.begin_snapshot()
    _turn_until(logger, lambda: not logger.is_taking_snapshot, "its failure")
    world.store.put(TENANT, 0, b"key", b"value")
    logger.turn()
    assert _is_durable(world, TENANT) and not _is_refused(world)
    _lack(world)
    _turn_until(logger, lambda: _is_refused(world), "the refusal")


@pytest.mark.parametrize("name", ["finish", "make_whole"])
def test_who_waits_for_a_snapshot_that_cannot_be_is_told(world: World, name: str) -> None:
    _tight(world, is_tight=True)
    _lack(world)
    for _ in range(5):
        logger = world.logger()
        with pytest.raises(LogFailedError, match=r"no snapshot can be written to .*No space left"):
            getattr(logger, name)()
        logger.close()
    assert len([*world.paths.log.glob("0*")]) <= 2  # who tries again and again takes up no more room
    _tight(world, is_tight=False)
    successor = world.logger()
    getattr(successor, name)()
    assert world.rings.gaps == world.rings.gaps_covered and len(snapshots_in(world.paths.snapshots)) == 1
    if name == "make_whole":
        assert not [*world.paths.log.glob("*.log")]
