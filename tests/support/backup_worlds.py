"""A data folder that is written, and a copy of it that is made meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splinter import limits
from splinter.durable.backup import Backup, Held, Progress, kept_tenants
from splinter.durable.catalog import TenantRow
from splinter.durable.disk_state import DiskState
from splinter.durable.files import Disk
from splinter.durable.folder import DataFolder
from splinter.durable.logger import Logger, Paths
from splinter.durable.recovery import recover
from splinter.store.layout import DURABILITY_ALWAYS
from splinter.store.log import LogRings
from splinter.store.store import Store
from tests.support.logs import logged, state_of

TENANT, GENERATION = 1, 3
SEGMENT_BYTES = 1 << 18
SECONDS = 60.0
ROW = TenantRow(TENANT, GENERATION, True, token=11, durability=DURABILITY_ALWAYS)


@dataclass
class World:
    """A folder, the store that it keeps, and what writes the log."""

    folder: DataFolder
    store: Store
    rings: LogRings
    state: DiskState
    logger: Logger
    target: Path

    def put(self, first: int, count: int = 40) -> None:
        """Write some objects, and bring them to the disk a few at a time."""
        for number in range(first, first + count):
            self.store.put(TENANT, 0, b"key %d" % number, bytes([number % 256]) * 3000)
            if number % 5 == 0:
                self.logger.turn()

    def take_snapshot(self) -> None:
        """Have one taken, to its end."""
        self.logger.begin_snapshot()
        while self.logger.is_taking_snapshot:
            self.logger.turn()

    def hold(self) -> tuple[int, Held]:
        """As control process and log process do."""
        kept, number = kept_tenants(self.folder.path), self.state.begin_hold(SECONDS)
        assert number is not None and self.state.answer(number) is None
        self.logger.turn()
        answer = self.state.answer(number)
        assert answer is not None
        return number, Held(self.folder.path, self.folder.catalog.identity, *answer, kept)

    def back_up(self, held: Held, disk: Disk | None = None, tell: Callable[[int, int], None] = lambda *_: None) -> int:
        """Make the copy."""
        return Backup(held, self.target, Progress(tell, lambda: None), disk or Disk()).make()

    def names(self) -> set[str]:
        """Files of log and snapshots."""
        return {path.name for folder in (self.folder.log, self.folder.snapshots) for path in folder.iterdir()}


@contextlib.contextmanager
def backup_world(folder_of_all: Path) -> Iterator[World]:
    """One for the block, in a folder."""
    store = Store.create(limits.STORE_BYTES_MIN, participants=2)
    store.open_tenant(TENANT, generation=GENERATION)
    rings = logged(store, TENANT)
    folder = DataFolder(folder_of_all / "data")
    folder.catalog.put_tenants([ROW])
    folder.catalog.store = 77
    state = DiskState()
    paths = Paths(folder.log, folder.snapshots, folder.catalog.identity, segment_bytes=SEGMENT_BYTES)
    made = World(folder, store, rings, state, Logger(store, rings, paths, state), folder_of_all / "copy")
    yield made
    made.logger.close()
    folder.close()


def restored(path: Path) -> dict[str, Any]:
    """What a server makes of a copy."""
    folder = DataFolder(path)
    try:
        store = Store.create(limits.STORE_BYTES_MIN, participants=2)
        store.open_tenant(TENANT, generation=GENERATION)
        found = recover(folder, store, folder.catalog.tenants(), tell=lambda _: None)
        assert found.is_exact and folder.catalog.tenants() == [ROW]
        assert folder.catalog.store == 0  # a store in the kernel is not taken for this folder's
        return state_of(store, TENANT)
    finally:
        folder.close()


def left(world: World) -> list[str]:
    """What there is beside the data folder."""
    return sorted(path.name for path in world.target.parent.iterdir() if path.name != "data")
