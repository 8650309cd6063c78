"""A server's data folder, as the supervisor has it: opened first, read before anybody is served, written by the log process.

A fresh store gets its tenants from the catalog and its objects from snapshot and log. A store that is attached has all of that
already; the catalog, whose changes come first, may be one act ahead of it: the control process does that when it starts. What
of the log had not come to the disk is in the rings, which are attached with the store.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from splinter import limits
from splinter.durable import statistics
from splinter.durable.catalog import TenantRow
from splinter.durable.disk_state import DiskState
from splinter.durable.folder import DataFolder
from splinter.durable.logger import Logger, Paths, begin
from splinter.durable.recovery import recover
from splinter.errors import ControlError, ServerError
from splinter.net.tenants import TENANT, TENANT_ACTIVE
from splinter.server.config import DURABILITY_DEFAULT, ServerConfig
from splinter.server.control.homes import homes_at_start
from splinter.server.processes import OomPreference, fork_child, is_readable, sleep_precisely, wait_or_kill
from splinter.server.settings import SharedSettings
from splinter.server.supervisor.attended import AttendedProcess
from splinter.server.supervisor.forks import Forks
from splinter.server.supervisor.timers import make_timer
from splinter.server.supervisor.transports import Foundation
from splinter.store.log import LogRings
from splinter.store.store import Store
from splinter.store.stored import STARTS_BITS
from splinter.store.tenants import first_commit
from splinter.wire import DURABILITIES
from splinter.worker.memory import WorkerMemory

logger = logging.getLogger(__name__)
_OOM_POINTS = 50  # it is replaced, and who waits for the disk waits for it
_FLUSH_SECONDS_MAX = 60.0  # that the disk may take for what is not on it yet
_POLL_SECONDS = 0.05
_LOOK_SECONDS = 0.1  # between two looks at whether the disk stands still
_URGENCY = -5  # niceness, where it may: replies wait for it


class Data:
    """The folder of one server. Raises :class:`ServerError` when it cannot be had."""

    def __init__(self, config: ServerConfig) -> None:
        assert config.data is not None
        self._config = config
        self.folder = DataFolder(Path(config.data))
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.disk = DiskState()
        self.settings = SharedSettings()
        self._store: Store | None = None
        self._rings: LogRings | None = None
        if config.salvage:
            self.folder.catalog.leave_out_damage(_tell)
        self._extensions = len(self.folder.catalog.extensions())
        self._installed = os.eventfd(0, os.EFD_CLOEXEC)  # written to when the control process has installed those
        self._ready = os.eventfd(0, os.EFD_CLOEXEC)  # written to when the log process can write
        self._logger: AttendedProcess | None = None
        self._wake_workers: list[int] = []
        self._timer = -1
        self._stands = False

    def restore(self, store: Store, made: Foundation, *, is_attached: bool) -> None:
        """Make the store what the folder says, and have its changes logged from then on."""
        assert made.log is not None
        tenants = made.tenants.array(TENANT, limits.TENANTS_MAX)
        self._store, self._rings = store, LogRings(store, made.log, len(self._config.cores))
        rows = self.folder.catalog.tenants()
        if is_attached:
            self._go_on_with(store)
            _tell(f"{self._described(rows, store)}; all of it is in the store that was left")
        else:
            self._recover(store, tenants, rows, made.transport.homes_elsewhere_max)
            self.folder.catalog.store = int(store.descriptor["identity"])
        self._rings.connect()
        self._make_exact()

    def say_installed(self) -> None:
        """In the control process: all extensions that were kept are installed."""
        os.eventfd_write(self._installed, 1)

    def statistics(self, active: Sequence[int], most: int) -> dict[str, Any]:
        """How far the disk is: of all, and of the tenants that are furthest ahead of it. Called in the control process."""
        store, folder, rings = self._store, self.folder, self._rings
        assert store is not None and rings is not None
        return {
            "mode": self._config.durability or DURABILITY_DEFAULT,  # of new tenants that say nothing else
            "entries_behind": statistics.entries_behind(store, rings, active),
            **statistics.of_disk(folder.log, folder.snapshots, folder.catalog.identity, rings, self.disk),
            "tenants": statistics.tenants_behind(store, rings, active, DURABILITIES, most),
        }

    def keep_log_of(self, workers: Sequence[WorkerMemory]) -> None:
        """Have workers hold back what is not on the disk."""
        assert self._rings is not None
        self._wake_workers = [worker.wake_fd for worker in workers]
        for number, worker in enumerate(workers):
            worker.keep_log(self._rings.address(number), self.wake_fd)

    def await_ready(self, meanwhile: Callable[[], None]) -> None:
        """Wait until the log process can write, or says that it cannot, and until all extensions are installed; ``meanwhile``
        looks after the processes.

        Its first segment may take a slow disk seconds, and nobody is served without his extensions."""
        while not is_readable(self._ready, _POLL_SECONDS) and self.disk.refused_age_ns is None:
            meanwhile()
        if self._extensions:
            _tell(f"installing {self._extensions:,} extensions")
        while not is_readable(self._installed, _POLL_SECONDS):
            meanwhile()

    def start(self, selector: selectors.BaseSelector, forks: Forks) -> None:
        """Start the log process."""
        self._logger = AttendedProcess("splinter-disk", "log process", selector, forks, run=self._run)
        self._logger.start()
        self._timer = make_timer(_LOOK_SECONDS)
        selector.register(self._timer, selectors.EVENT_READ, self._look_at_disk)

    def _look_at_disk(self) -> None:
        """Have writes wait while a flush does not end, or the log process does not run: no error tells of that."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._timer, 8)
        assert self._rings is not None
        age = self.disk.turn_age_ns or 0
        stands = age > limits.LOG_STANDS_MS * 1e6 and self._rings.behind > 0
        if stands != self._stands:
            self._stands = stands
            self._rings.tell_standing(stands)
            logger.warning("the disk stands still: writes wait" if stands else "the disk goes on, and writes do")

    def stop(self) -> None:
        """Have all on the disk that was done, and let go of the folder.

        The log process may be dead just now, or ended by the signal before it knew what to do with that. Then another one
        finishes its work."""
        if self._logger is not None:
            deadline = time.monotonic() + _FLUSH_SECONDS_MAX
            self._logger.ask_to_end()
            self._logger.reap(deadline)
            if self._lacks():
                with contextlib.suppress(OSError):  # told below
                    wait_or_kill(*fork_child("splinter-disk", self._finish), deadline)
            if self._lacks():
                logger.error("the last changes are not on the disk: it has not taken them")
        self.folder.close()

    def _lacks(self) -> bool:
        """Whether the disk lacks something of what was done."""
        assert self._rings is not None
        return self._rings.heads() != self._rings.tails() or self._rings.gaps != self._rings.gaps_covered

    def _finish(self) -> None:
        try:
            self._make_logger().finish()
        except ServerError as error:
            logger.error("%s", error)

    def _go_on_with(self, store: Store) -> None:
        """Count this start in the identity of a store that was left, in the folder first. So a copy of the folder that was made
        before is not taken for it: its log lacks what comes from now on. Raises :class:`ServerError` for such a one, and for
        the folder of another store."""
        ours, left = self.folder.catalog.store, int(store.descriptor["identity"])
        if not 0 <= ours - left < 1 << STARTS_BITS:  # the folder is ahead by starts that died before they had served
            raise ServerError(
                f"the store that an earlier server of instance {self._config.instance!r} left is not the one whose changes are "
                f"in {self.folder.path}, or has gone on with another copy of that folder: 'splinter serve --fresh' begins with "
                f"what the folder has"
            )
        try:
            self.folder.catalog.store = ours + 1
        except ControlError as error:  # a full disk is no reason not to serve what is in memory
            _tell(f"copies of the data folder cannot be told from it until the next start: {error}")
        else:
            store.descriptor["identity"] = ours + 1

    def _recover(self, store: Store, tenants: np.ndarray, rows: list[TenantRow], elsewhere_max: int | None) -> None:
        for row in rows:
            if row.is_there:
                store.open_tenant(row.id, generation=row.generation)
        found = recover(self.folder, store, rows, tell=_tell, salvages=self._config.salvage)
        homes = homes_at_start(rows, len(self._config.cores), elsewhere_max, _tell)
        accounts, first = store.accounts, first_commit(store.now_ns)
        accounts["sequence"] = np.where(accounts["active"] != 0, np.maximum(accounts["sequence"], first), accounts["sequence"])
        accounts["durable"] = accounts["sequence"]
        for row in rows:
            fill_record(tenants, row, homes.get(row.id, 0))
            if row.is_there:
                store.open_tenant(row.id, row.quota_bytes, generation=row.generation)
                store.set_modes(row.id, row.durability, row.void_until, eviction=row.eviction)
        store.descriptor["log_gaps"] = 0 if found.is_exact else 1
        if found.torn:
            _tell(f"cut off, as it was never acknowledged: {found.torn}")
        _tell(
            f"{self._described(rows, store)}; {found.objects:,} from the snapshot and {found.entries:,} changes of the log in "
            f"{found.seconds:.2f} s"
        )

    def _described(self, rows: list[TenantRow], store: Store) -> str:
        tenants, objects = sum(row.is_there for row in rows), store.usage().objects
        return f"data folder {self.folder.path}: {tenants:,} tenants, {self._extensions:,} extensions, {objects:,} objects"

    def _run(self) -> None:
        """The log process."""
        assert self._store is not None and self._rings is not None
        OomPreference.offer(_OOM_POINTS)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _URGENCY)
        if self._config.log_cores:
            os.sched_setaffinity(0, self._config.log_cores)
        sleep_precisely()
        made = begin(self._store, self._rings, self._paths(), self.disk)
        os.eventfd_write(self._ready, 1)
        made.run(self.wake_fd, self._wake_workers, meanwhile=lambda: self.settings.take(self._config))

    def _make_logger(self) -> Logger:
        """What writes the log, if the disk has room for it now."""
        assert self._store is not None and self._rings is not None
        return Logger(self._store, self._rings, self._paths(), self.disk)

    def _paths(self) -> Paths:
        return Paths(self.folder.log, self.folder.snapshots, self.folder.catalog.identity)

    def _make_exact(self) -> None:
        """After a recovery that left something out: replace log and snapshots by a snapshot of what there is, before anybody is
        served, so that what was left out does not come back among what is written from now on. Raises :class:`ServerError` when
        there is no room for it."""
        assert self._store is not None and self._rings is not None
        if self._rings.gaps == self._rings.gaps_covered:
            return
        self._make_logger().make_whole()


def fill_record(tenants: np.ndarray, row: TenantRow, home: int) -> None:
    """Write a tenant's record as the catalog has it, but for where it lives now; what makes it active last."""
    record = tenants[row.id]
    record["flags"] = 0
    tokens = {"token": row.token, "former_token": row.former_token}
    for name, value in {"generation": row.generation, **tokens, "home": home, **(row.limits or {})}.items():
        record[name] = value
    record["flags"] = TENANT_ACTIVE if row.is_there else 0


def _tell(text: str) -> None:
    print(text, flush=True)
