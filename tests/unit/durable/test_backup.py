"""A copy of a data folder that is written meanwhile: whole, or not there."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from splinter.durable.backup import Backup, Progress
from splinter.durable.catalog import TenantRow
from splinter.durable.disk_state import DiskState
from splinter.durable.files import Disk
from splinter.durable.folder import DataFolder
from splinter.errors import DataFolderError, ServerError
from splinter.store.layout import DURABILITY_ALWAYS, DURABILITY_NONE
from tests.support.backup_worlds import GENERATION, ROW, SECONDS, TENANT, World, backup_world, left, restored
from tests.support.logs import state_of


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with backup_world(tmp_path) as made:
        yield made


@pytest.mark.parametrize("with_snapshot", [False, True])
def test_a_copy_has_what_there_was_and_nothing_later(world: World, with_snapshot: bool) -> None:
    world.put(0)
    if with_snapshot:
        world.take_snapshot()
    world.put(40)
    world.store.put(TENANT, 0, b"key 3", b"in memory, and acknowledged, when the hold begins")
    expected = state_of(world.store, TENANT)
    _, held = world.hold()
    assert (held.snapshot is not None) == with_snapshot
    world.put(200)  # goes on meanwhile
    told: list[tuple[int, int]] = []
    size = world.back_up(held, tell=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (2 * size, 2 * size)
    assert left(world) == ["copy"] and world.target.stat().st_mode & 0o777 == 0o700
    assert restored(world.target) == expected


def test_files_stay_where_they_are_as_long_as_a_hold_lasts(world: World) -> None:
    world.put(0)
    world.take_snapshot()
    number, held = world.hold()
    expected, names = state_of(world.store, TENANT), world.names()
    for first in (100, 200):
        world.put(first, 200)
        world.take_snapshot()
    assert {name for name in names if not name.endswith(".spare")} <= world.names()
    world.back_up(held)
    assert restored(world.target) == expected
    world.state.end_hold(number)
    world.logger.turn()
    assert len([name for name in world.names() if name.endswith(".snap")]) == 1
    assert not any(name in world.names() for name in names if name.endswith((".snap", ".log")))


def test_a_snapshot_that_becomes_whole_later_is_not_taken(world: World) -> None:
    """It may know of later groups of the log than the copy has."""
    world.put(0)
    _, held = world.hold()
    expected = state_of(world.store, TENANT)
    world.put(100)
    world.take_snapshot()
    world.back_up(held)
    assert list((world.target / "snapshots").iterdir()) == []
    assert restored(world.target) == expected


def test_a_snapshot_does_not_take_the_place_of_one_that_is_held(world: World) -> None:
    """Though nothing was written between the two, from which it would have another name."""
    world.put(0)
    world.logger.turn()
    world.take_snapshot()
    expected = state_of(world.store, TENANT)
    number, held = world.hold()
    (path,) = world.folder.snapshots.iterdir()
    before = path.read_bytes()
    world.store.delete(TENANT, 0, b"key 3")
    world.take_snapshot()
    assert path.read_bytes() == before
    world.back_up(held)
    assert restored(world.target) == expected
    world.state.end_hold(number)
    world.take_snapshot()  # and the log goes on behind empty groups
    world.store.put(TENANT, 0, b"key 4", b"last")
    expected = state_of(world.store, TENANT)
    _, held = world.hold()
    shutil.rmtree(world.target)
    world.back_up(held)
    assert restored(world.target) == expected


def test_no_hold_is_answered_before_all_is_on_the_disk(world: World) -> None:
    world.put(0, 5)
    world.store.open_tenant(2)
    world.store.put(2, 0, b"key", b"is not logged")
    world.store.set_modes(2, DURABILITY_ALWAYS)  # so the log lacks something
    number = world.state.begin_hold(SECONDS)
    assert number is not None
    world.logger.turn()
    assert world.state.answer(number) is None
    deadline = time.monotonic() + SECONDS
    while (answer := world.state.answer(number)) is None:
        assert time.monotonic() < deadline
        world.logger.turn()
    assert answer[1] is not None  # the snapshot that made it good


def test_a_hold_that_was_seen_to_end_is_not_taken_up_again() -> None:
    state = DiskState()
    number = state.begin_hold(SECONDS)
    assert number is not None and state.begin_hold(SECONDS) is None and state.look_at_hold() == number
    assert state.renew_hold(number, SECONDS) and not state.renew_hold(number + 1, SECONDS)
    assert state.renew_hold(number, -1)  # it lasts no more
    assert not state.renew_hold(number, SECONDS) and state.look_at_hold() == 0
    state._record["hold_until_ns"] = 1 << 62  # renewed by who had looked just before
    assert state.look_at_hold() == 0 and not state.renew_hold(number, SECONDS)
    state.end_hold(number)
    assert state.begin_hold(SECONDS) == number + 1 and state.look_at_hold() == number + 1


@pytest.mark.parametrize("suffix", [".log", ".snap", "splinter.db"])
def test_what_is_damaged_is_not_backed_up(world: World, suffix: str) -> None:
    world.put(0)
    world.take_snapshot()
    world.put(100)
    _, held = world.hold()
    (path, *_) = sorted(path for path in world.folder.path.rglob(f"*{suffix}"))
    data = bytearray(path.read_bytes())
    wanted = b'"token": 11' if suffix == "splinter.db" else bytes([100 if suffix == ".log" else 5]) * 3000
    data[data.index(wanted) + 10] ^= 1
    path.write_bytes(data)
    with pytest.raises(ServerError, match=rf"{suffix}.* is damaged"):
        world.back_up(held)
    assert left(world) == []


class NumberedDisk(Disk):
    """Counts operations that change something, and does something before one of them."""

    def __init__(self, act: Callable[[], None], at: int) -> None:
        self.count, self._act, self._at = 0, act, at

    def _step(self) -> None:
        self.count += 1
        if self.count == self._at:
            self._act()

    def open(self, path: Path, *, create: bool = False) -> int:
        self._step()
        return super().open(path, create=create)

    def write(self, descriptor: int, pieces: Sequence[memoryview], place: int) -> None:
        self._step()
        super().write(descriptor, pieces, place)

    def sync(self, descriptor: int) -> None:
        self._step()
        super().sync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        self._step()
        super().sync_folder(folder)

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)


def _fail() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _die() -> None:
    os._exit(9)


def test_a_full_disk_leaves_nothing_whatever_it_fails_at(world: World) -> None:
    world.put(0)
    world.take_snapshot()
    world.put(100)
    _, held = world.hold()
    at, failures = 1, 0
    while True:
        disk = NumberedDisk(_fail, at)
        try:
            world.back_up(held, disk)
        except ServerError as error:
            assert "No space left" in str(error)
            failures += 1
        if disk.count < at:
            break
        assert left(world) == []
        at += 1
    assert failures == at - 1 >= 20 and restored(world.target)


def test_whoever_dies_leaves_nothing_that_looks_whole_and_is_not(world: World) -> None:
    world.put(0)
    world.take_snapshot()
    world.put(100)
    expected = state_of(world.store, TENANT)
    _, held = world.hold()
    at, status = 1, 9
    unfinished = world.target.with_name("copy.new")
    while status == 9:
        child = os.fork()
        if child == 0:
            try:
                world.back_up(held, NumberedDisk(_die, at))
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 9)
        if world.target.exists():
            assert restored(world.target) == expected
            world.target.rename(world.target.with_name(f"whole {at}"))
        elif (unfinished / "splinter.db").exists():  # verified, and about to get its name
            assert restored(unfinished) == expected
            for path in unfinished.rglob("*"):
                if path.is_file():
                    path.unlink()
            (unfinished / "unfinished").touch()
        else:
            with pytest.raises(DataFolderError, match="no data folder"):
                DataFolder(unfinished)
        at += 1
    assert at > 20
    assert [name for name in left(world) if name.startswith("copy")] == []


def test_targets_that_cannot_be_are_refused(world: World, tmp_path: Path) -> None:
    world.put(0, 5)
    _, held = world.hold()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "foreign.new").mkdir()
    (tmp_path / "foreign.new/file").touch()
    for name, reason in {
        "full": "is not empty", "file": "is no folder", "link": "is no folder", "missing/copy": "no folder",
        "data/copy": "in the data folder itself", "foreign": "no unfinished backup",
    }.items():  # fmt: skip
        world.target = tmp_path / name
        with pytest.raises(DataFolderError, match=reason):
            world.back_up(held)
    assert left(world) == left(world) and (tmp_path / "foreign.new/file").exists() and (tmp_path / "full/file").exists()
    world.target = tmp_path / "empty"
    world.target.mkdir()
    world.back_up(held)
    restored(world.target)


def test_two_backups_do_not_share_a_folder(world: World) -> None:
    world.put(0, 5)
    _, held = world.hold()
    unfinished = world.target.with_name("copy.new")
    unfinished.mkdir()
    with (unfinished / "unfinished").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataFolderError, match="another backup"):
            world.back_up(held)
        assert unfinished.exists()
    world.back_up(held)  # that one is dead
    restored(world.target)


def test_what_may_have_gone_meanwhile_gets_no_name(world: World) -> None:
    """All was read and is whole, but the server has not kept the files in their place until then."""
    world.put(0, 5)
    _, held = world.hold()

    def refuse() -> None:
        raise ServerError("not held")

    with pytest.raises(ServerError, match="not held"):
        Backup(held, world.target, Progress(lambda *_: None, refuse)).make()
    assert left(world) == []


def test_the_folder_of_another_server_is_not_copied(world: World) -> None:
    world.put(0, 5)
    _, held = world.hold()
    with pytest.raises(ServerError):
        world.back_up(replace(held, identity=held.identity + 2))
    assert left(world) == []


@pytest.mark.parametrize("again", [False, True], ids=["not kept", "kept again"])
def test_what_is_not_kept_any_more_is_not_lost_in_a_copy_without_a_word(world: World, again: bool) -> None:
    """The catalog is copied as it is now, the log as it was: what was acknowledged would be void."""
    world.put(0)
    world.take_snapshot()
    world.put(40)
    _, held = world.hold()
    catalog, void_until = world.folder.catalog, int(world.store.accounts["number"][TENANT]) + 1
    catalog.put_tenants([replace(ROW, durability=DURABILITY_NONE)])
    if again:
        catalog.put_tenants([replace(ROW, void_until=void_until)])
    with pytest.raises(ServerError, match=f"the durability of tenant {TENANT} was changed meanwhile.*try again"):
        world.back_up(held)
    assert left(world) == []


def test_a_copy_does_not_wait_for_what_changes_later(world: World) -> None:
    """The catalog is copied first: however long the rest takes, it is not ahead of the log by more than a moment."""
    world.put(0)
    expected = state_of(world.store, TENANT)
    _, held = world.hold()
    world.back_up(held, tell=lambda *_: world.folder.catalog.put_tenants([replace(ROW, durability=DURABILITY_NONE)]))
    assert restored(world.target) == expected


@pytest.mark.parametrize("row", [replace(ROW, is_there=False), replace(ROW, generation=GENERATION + 1, void_until=1 << 40)])
def test_a_tenant_that_is_removed_meanwhile_does_not_keep_others_from_being_copied(world: World, row: TenantRow) -> None:
    world.put(0, 5)
    _, held = world.hold()
    world.folder.catalog.put_tenants([row])
    world.back_up(held)
    assert left(world) == ["copy"]
