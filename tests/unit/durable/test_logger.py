"""The log process's turns, one by one."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter import limits
from splinter.durable.logger import Logger, Paths, begin
from splinter.errors import DiskFailedError
from splinter.store.layout import DURABILITY_ALWAYS, LOG_FAILED, LOG_KEPT
from splinter.store.store import Store
from tests.support.log_worlds import LATE, TENANT, RefusingDisk, World, log_world
from tests.support.logs import logged
from tests.support.waiting import wait_for

SECONDS_MAX = 30.0
FLUSH_SECONDS = 0.002


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with log_world(tmp_path) as made:
        yield made


def take_snapshot(logger: Logger) -> None:
    """Have one taken, to its end."""
    logger.begin_snapshot()
    deadline = time.monotonic() + SECONDS_MAX
    while logger.is_taking_snapshot:
        assert time.monotonic() < deadline
        logger.turn()
        time.sleep(0)  # gives the CPU to the thread that takes it; the deadline decides


def test_what_the_log_lacks_keeps_all_from_being_called_durable_until_a_snapshot_is_whole(tmp_path: Path) -> None:
    store = Store.create(limits.STORE_BYTES_MIN, participants=2)
    for tenant in (TENANT, LATE):
        store.open_tenant(tenant)
    rings = logged(store, TENANT)
    (tmp_path / "log").mkdir()
    (tmp_path / "snapshots").mkdir()
    logger = Logger(store, rings, Paths(tmp_path / "log", tmp_path / "snapshots", 5, segment_bytes=1 << 20))
    store.put(TENANT, 0, b"key", b"value")
    logger.turn()
    assert store.accounts["durable"][TENANT] == store.accounts["sequence"][TENANT]
    store.put(LATE, 0, b"before", b"is not logged")
    store.set_modes(LATE, DURABILITY_ALWAYS)
    store.put(LATE, 0, b"after", b"is logged")
    store.put(TENANT, 0, b"key", b"other")
    durable = store.accounts["durable"].copy()
    logger.turn()  # the very next one
    assert (store.accounts["durable"] == durable).all()
    deadline = time.monotonic() + SECONDS_MAX
    while logger.is_taking_snapshot or rings.gaps != rings.gaps_covered:
        assert time.monotonic() < deadline
        logger.turn()
        time.sleep(0)  # gives the CPU to the thread that takes it; the deadline decides
    for tenant in (TENANT, LATE):
        assert store.accounts["durable"][tenant] == store.accounts["sequence"][tenant]
    store.put(LATE, 0, b"after", b"again")
    logger.turn()
    assert store.accounts["durable"][LATE] == store.accounts["sequence"][LATE]
    logger.close()


def test_what_is_behind_the_disk_is_told_by_tenant_and_in_all(world: World) -> None:
    logger = world.logger()
    assert world.told()["sync_age_ms"] is None and world.behind() == [(TENANT, "always", 0)]
    for number in range(5):
        world.store.put(TENANT, 0, b"key", b"%d" % number)
        world.store.put(LATE, 0, b"key", b"not logged")
    assert world.behind() == [(TENANT, "always", 5)]
    told = world.told()
    assert told["bytes_behind"] > 5 * 64 and told["log_bytes"] == 1 << 20
    logger.turn()
    told = world.told()
    assert world.behind() == [(TENANT, "always", 0)] and told["bytes_behind"] == 0
    assert 0 <= told["sync_age_ms"] < SECONDS_MAX * 1000


def test_the_last_snapshot_is_told_with_age_size_and_duration(world: World) -> None:
    logger = world.logger()
    world.store.put(TENANT, 0, b"key", b"value")
    assert world.told()["snapshot"] is None
    take_snapshot(logger)
    told = world.told()
    assert told["snapshot"]["bytes"] == told["snapshot_bytes"] > 0
    assert 0 <= told["snapshot"]["age_seconds"] < SECONDS_MAX and 0 <= told["snapshot"]["seconds"] < SECONDS_MAX
    (path,) = world.paths.snapshots.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert world.told()["snapshot"] is None  # it has no end any more


def test_a_disk_that_refuses_is_told_since_when_and_how_often(world: World) -> None:
    for _ in range(2):
        world.state.note_refusal(is_refused=True)
    told = world.told()
    assert told["disk_failures"] == 1 and 0 <= told["refused_seconds"] < SECONDS_MAX
    world.state.note_refusal(is_refused=False)
    told = world.told()
    assert told["disk_failures"] == 1 and told["refused_seconds"] is None


def test_a_log_process_takes_writes_again_that_a_dead_one_had_refused(world: World) -> None:
    """It died while the disk was full; its successor finds room."""
    world.logger().close()
    world.rings.tell_failed(is_failed=True)
    world.state.note_refusal(is_refused=True)
    with pytest.raises(DiskFailedError):
        world.store.put(TENANT, 0, b"key", b"value")
    successor = world.logger()
    wake = os.eventfd(0, os.EFD_NONBLOCK)

    def end_when_kept() -> None:
        with contextlib.suppress(AssertionError):  # what comes then fails
            wait_for(lambda: world.store.descriptor["log_state"] == LOG_KEPT, 5.0)
        os.kill(os.getpid(), signal.SIGTERM)

    assert world.store.descriptor["log_state"] == LOG_FAILED
    before = signal.getsignal(signal.SIGTERM)
    ending = threading.Thread(target=end_when_kept)
    try:
        ending.start()
        successor.run(wake)
    finally:
        ending.join()
        signal.signal(signal.SIGTERM, before)
        os.close(wake)
    world.store.put(TENANT, 0, b"key", b"value")
    assert world.told()["refused_seconds"] is None


def test_a_log_process_that_begins_on_a_full_disk_waits_for_room(world: World) -> None:
    """Rather than ending, with the whole server, after some attempts."""
    disk = world.paths.disk
    assert isinstance(disk, RefusingDisk)
    disk.is_full = True

    def make_room() -> None:
        wait_for(lambda: world.told()["refused_seconds"] is not None, SECONDS_MAX)
        assert world.store.descriptor["log_state"] == LOG_FAILED
        disk.is_full = False

    waiting = threading.Thread(target=make_room)
    waiting.start()
    try:
        world.loggers.append(begin(world.store, world.rings, world.paths, world.state))
    finally:
        waiting.join()
    assert world.told()["disk_failures"] == 1


def test_who_is_started_again_and_again_leaves_no_log_without_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 4 * world.paths.segment_bytes
    monkeypatch.setattr(limits, "LOG_BYTES_MIN", most)
    longest = 0
    for number in range(24):
        logger = world.logger()
        world.store.put(TENANT, 0, b"key", b"%d" % number)
        logger.turn()
        while logger.is_taking_snapshot:
            logger.turn()
        logger.close()
        longest = max(longest, len([*world.paths.log.glob("*.log")]))
    assert longest <= most // world.paths.segment_bytes + 2
    assert len([*world.paths.snapshots.iterdir()]) == 1


class FakeClock:
    """The log process's: it stands still but where it sleeps. ``meanwhile`` is called then."""

    def __init__(self) -> None:
        self.now, self.meanwhile = 1000.0, lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()


class SlowDisk(RefusingDisk):
    """One whose flushes take FLUSH_SECONDS of a clock."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self.flushes = clock, 0

    def sync(self, descriptor: int) -> None:
        self._clock.now += FLUSH_SECONDS
        self.flushes += 1
        super().sync(descriptor)


def test_a_flush_is_for_all_who_ask_again_and_waits_for_nobody_who_does_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("splinter.durable.logger.time", clock)
    disk = world.paths.disk = SlowDisk(clock)
    logger, header = world.logger(), world.rings._headers[0]
    spare = logger._writer._helper
    assert spare is not None
    spare.join()  # it flushes as well

    def ask(count: int, awaited: int = 1, value: bytes = b"value") -> None:
        for number in range(count):
            world.store.put(TENANT, 0, b"%04d" % number, value)
        header["awaited"] = awaited

    def waits() -> float:
        """How long one turn waits before its flush, after which no reply is held back."""
        before, flushes = clock.now, disk.flushes
        logger.turn()
        assert disk.flushes == flushes + 1
        assert world.store.accounts["durable"][TENANT] == world.store.accounts["sequence"][TENANT]
        header["awaited"] = 0
        return clock.now - before - FLUSH_SECONDS

    ask(100)
    assert waits() == pytest.approx(0)  # nobody was let go before
    ask(10)
    clock.meanwhile = lambda: ask(30)
    assert waits() == pytest.approx(0.0003)  # three looks, and the other 90 are there
    clock.meanwhile = lambda: None
    ask(10)
    assert waits() == pytest.approx(0.0001)  # nobody comes any more
    ask(10)
    assert waits() == pytest.approx(0)  # as many as before
    ask(100)
    waits()
    ask(1)
    clock.meanwhile = lambda: ask(1)
    assert waits() == pytest.approx(FLUSH_SECONDS, abs=0.0002)  # one after the other, without an end
    ask(1, awaited=0)
    assert waits() == pytest.approx(0)  # nobody waits for it
    ask(200, value=bytes(1000))
    waits()
    ask(80, value=bytes(1000))
    assert waits() == pytest.approx(0)  # a flush of so much takes longer for each that is more
