"""A store whose changes are logged to a disk that may be full, and log processes one after the other."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from splinter import limits
from splinter.durable import statistics
from splinter.durable.disk_state import DiskState
from splinter.durable.files import Disk
from splinter.durable.logger import Logger, Paths
from splinter.store.log import LogRings
from splinter.store.store import Store
from tests.support.logs import logged

TENANT, LATE = 1, 2  # that is logged from the beginning; that is not
IDENTITY = 5
MODES = ("none", "interval", "always")


@dataclass
class World:
    """A store whose changes are logged, and what logs them."""

    store: Store
    rings: LogRings
    paths: Paths
    state: DiskState = field(default_factory=DiskState)
    loggers: list[Logger] = field(default_factory=list)

    def logger(self) -> Logger:
        """A log process's, after that of its predecessor."""
        self.loggers.append(Logger(self.store, self.rings, self.paths, self.state))
        return self.loggers[-1]

    def told(self) -> dict[str, Any]:
        """What the statistics tell of the disk."""
        return statistics.of_disk(self.paths.log, self.paths.snapshots, IDENTITY, self.rings, self.state)

    def behind(self) -> list[tuple[int, str, int]]:
        """Tenants behind the disk."""
        found = statistics.tenants_behind(self.store, self.rings, [TENANT, LATE], MODES, 16)
        assert sum(each["entries_behind"] for each in found) == statistics.entries_behind(
            self.store, self.rings, [TENANT, LATE]
        )
        return [(each["tenant"], each["mode"], each["entries_behind"]) for each in found]


class RefusingDisk(Disk):
    """One that may be full."""

    is_full = False

    def write(self, descriptor: int, pieces: Sequence[memoryview], place: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, pieces, place)


@contextlib.contextmanager
def log_world(folder: Path) -> Iterator[World]:
    """One whose log and snapshots lie in a folder, for the block."""
    store = Store.create(limits.STORE_BYTES_MIN, participants=2)
    for tenant in (TENANT, LATE):
        store.open_tenant(tenant)
    for name in ("log", "snapshots"):
        (folder / name).mkdir()
    paths = Paths(folder / "log", folder / "snapshots", IDENTITY, disk=RefusingDisk(), segment_bytes=1 << 20)
    made = World(store, logged(store, TENANT), paths)
    yield made
    for logger in made.loggers:
        logger.close()
