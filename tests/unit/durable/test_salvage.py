"""A recovery that leaves out what is damaged: all that is whole comes back, and nothing gets into another tenant's hands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from splinter import limits
from splinter.durable.catalog import TenantRow
from splinter.durable.disk_state import DiskState
from splinter.durable.folder import DataFolder
from splinter.durable.groups import GROUP_BYTES, Kind, group_at, span
from splinter.durable.logger import Logger, Paths
from splinter.durable.recovery import recover
from splinter.durable.replay import DamagedEntryError, Replay
from splinter.durable.snapshots import snapshots_in
from splinter.errors import DataFolderError
from splinter.store.layout import DURABILITY_ALWAYS
from splinter.store.log import LogRings
from splinter.store.region import Region
from splinter.store.store import Store
from tests.support.waiting import wait_for

FORMER, TENANT, OTHER = 1, 2, 3
BEFORE, AFTER = 12, 12  # puts of each tenant before and after the snapshot; more than can wait for one that is late
VALUE = bytes(limits.SNAPSHOT_GROUP_BYTES // 8)[: limits.VALUE_BYTES_MAX - 100]


@dataclass
class Made:
    """A data folder that a log process has left, closed; what it had."""

    folder: Path
    identity: int
    objects: dict[int, dict[bytes, bytes]]


def key_of(number: int) -> bytes:
    return b"key %d" % number


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """A snapshot of several groups, and a log of one group for each put behind it.

    FORMER is removed after the snapshot has begun, and another tenant has its id then.
    """
    folder = DataFolder(tmp_path / "data")
    store = Store.create(limits.STORE_BYTES_MIN, participants=1)
    rings = LogRings(store, Region.create("splinter-log", LogRings.bytes_for(1)), 1)
    rings.connect()
    for tenant in (FORMER, TENANT, OTHER):
        store.open_tenant(tenant, generation=1)
        store.set_modes(tenant, DURABILITY_ALWAYS)
    paths = Paths(folder.log, folder.snapshots, folder.catalog.identity)
    logger = Logger(store, rings, paths, DiskState())
    objects: dict[int, dict[bytes, bytes]] = {FORMER: {}, TENANT: {}, OTHER: {}}

    def put(tenant: int, number: int, value: bytes) -> None:
        objects[tenant][key_of(number)] = value
        store.put(tenant, 0, key_of(number), value)
        logger.turn()

    for number in range(BEFORE):
        for tenant in objects:
            put(tenant, number, VALUE + b"%d %03d" % (tenant, number))
    logger.begin_snapshot()

    def is_taken() -> bool:
        logger.turn()
        return bool(snapshots_in(folder.snapshots))

    wait_for(is_taken, what="a snapshot")
    store.close_tenant(FORMER)
    list(store.sweep_tenant(FORMER))
    objects[FORMER] = {}
    store.open_tenant(FORMER, generation=2)
    store.set_modes(FORMER, DURABILITY_ALWAYS)
    for number in range(BEFORE, BEFORE + AFTER):
        for tenant in objects:
            put(tenant, number, b"value %d %03d" % (tenant, number))
    logger.close()
    folder.close()
    yield Made(tmp_path / "data", paths.identity, objects)


def groups_in(made: Made, file: Path) -> list[tuple[int, Kind, bytes]]:
    """Place, kind and payload of each group of a file."""
    data, place, found = np.frombuffer(file.read_bytes(), np.uint8), 0, []
    while (group := group_at(data, place, made.identity)) is not None:
        found.append((place, Kind(group.kind), bytes(group.payload)))
        place += span(len(group.payload))
        if place >= len(data):
            break
    return found


def flip(file: Path, *places: int) -> None:
    damaged = bytearray(file.read_bytes())
    for place in places:
        damaged[place + GROUP_BYTES] ^= 1
    file.write_bytes(damaged)


def recovered(made: Made, *, salvages: bool = True) -> tuple[dict[int, dict[bytes, bytes]], list[str]]:
    """The objects of each tenant, and what was told to be left out."""
    folder, told = DataFolder(made.folder), list[str]()
    store = Store.create(limits.STORE_BYTES_MIN, participants=1)
    rows = []
    for tenant, generation in ((FORMER, 2), (TENANT, 1), (OTHER, 1)):
        store.open_tenant(tenant, generation=generation)
        rows.append(TenantRow(tenant, generation, True, quota_bytes=1 << 40, durability=DURABILITY_ALWAYS))
    try:
        found = recover(folder, store, rows, tell=told.append, salvages=salvages)
    finally:
        folder.close()
    told = [line for line in told if line.startswith("left out: ")]  # without how far it was
    assert found.is_exact == (not told)
    assert store.problems() == []
    return {row.id: {stored.key: stored.value for stored in store.scan(0, tenant=row.id)} for row in rows}, told


def without(made: Made, payload: bytes) -> dict[int, dict[bytes, bytes]]:
    """All objects but those whose values are in a group's payload."""
    return {
        tenant: {key: value for key, value in objects.items() if value not in payload}
        for tenant, objects in made.objects.items()
    }


def test_what_is_whole_needs_no_salvage(made: Made) -> None:
    assert recovered(made) == (made.objects, [])


def test_a_damaged_group_of_the_log_takes_nothing_else_with_it(made: Made) -> None:
    file = next(path for path in (made.folder / "log").glob("*.log") if len(groups_in(made, path)) > AFTER)
    listed = groups_in(made, file)
    whole = file.read_bytes()
    for place, _, payload in listed[-3 * AFTER :]:
        flip(file, place)
        with pytest.raises(DataFolderError):
            recovered(made, salvages=False)
        objects, told = recovered(made)
        assert objects == without(made, payload)
        assert any(file.name in line for line in told)
        file.write_bytes(whole)


def test_a_damaged_group_of_a_snapshot_takes_nothing_else_with_it(made: Made) -> None:
    (file,) = snapshots_in(made.folder / "snapshots")
    listed = groups_in(made, file)
    assert [kind for _, kind, _ in listed].count(Kind.OBJECTS) > 1
    whole = file.read_bytes()
    for place, kind, payload in listed:
        flip(file, place)
        with pytest.raises(DataFolderError):
            recovered(made, salvages=False)
        objects, told = recovered(made)
        assert objects == (without(made, payload) if kind is Kind.OBJECTS else made.objects)
        assert any(file.name in line for line in told)
        file.write_bytes(whole)


def test_a_snapshot_that_does_not_say_whose_its_objects_are_gives_nobody_any(made: Made) -> None:
    (file,) = snapshots_in(made.folder / "snapshots")
    flip(file, *(place for place, kind, _ in groups_in(made, file) if kind is Kind.TENANTS))
    objects, told = recovered(made)
    later = {key_of(number) for number in range(BEFORE, BEFORE + AFTER)}
    assert objects == {tenant: {key: each[key] for key in later} for tenant, each in made.objects.items()}
    assert any("whose they are is nowhere whole" in line for line in told)


def test_a_log_that_is_missing_leaves_the_snapshot(made: Made) -> None:
    for file in (made.folder / "log").glob("*.log"):
        file.unlink()
    objects, _ = recovered(made)
    before = {key_of(number) for number in range(BEFORE)}
    assert objects == {tenant: {key: each[key] for key in before & each.keys()} for tenant, each in made.objects.items()}


def test_a_snapshot_that_is_missing_leaves_the_log(made: Made) -> None:
    """Which has all of it here, as its only segment is still in use."""
    for file in snapshots_in(made.folder / "snapshots"):
        file.unlink()
    assert recovered(made)[0] == made.objects


def test_an_entry_that_is_none_is_left_out_where_its_checksums_are_right(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = Replay.group, list[bytes]()

    def group(self: Replay, payload: bytes) -> None:
        seen.append(bytes(payload))
        if len(seen) == 2:
            raise DamagedEntryError(0)
        real(self, payload)

    monkeypatch.setattr(Replay, "group", group)
    objects, told = recovered(made)
    assert objects == without(made, seen[1])
    assert any("no entry in group" in line for line in told)
