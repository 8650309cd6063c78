"""What a server makes of its data folder at its start: the newest snapshot, then the log behind it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splinter import limits
from splinter.durable.catalog import TenantRow
from splinter.durable.files import mapped
from splinter.durable.folder import CATALOG, DataFolder
from splinter.durable.groups import GROUP_BYTES, DamageError, Group, Kind, folder_at
from splinter.durable.log_reader import LogReader
from splinter.durable.replay import DamagedEntryError, Replay
from splinter.durable.segments import CONFIRMED, Confirmed, segments_in
from splinter.durable.snapshots import SnapshotReader, first_group, places_in, snapshots_in
from splinter.errors import DataFolderError
from splinter.store.clock import set_clock
from splinter.store.layout import DURABILITY_NONE
from splinter.store.store import Store

_PROGRESS_SECONDS = 2.0


@dataclass
class Recovered:
    """What came back. ``is_exact``: the log ends where its last writer ended, and nothing of it was left out."""

    objects: int
    entries: int
    seconds: float
    torn: str
    is_exact: bool


class _Progress:
    """Says how far a long recovery is."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._next = tell, time.monotonic() + _PROGRESS_SECONDS

    def at(self, what: Callable[[], str]) -> None:
        if time.monotonic() >= self._next:
            self._tell(what())
            self._next = time.monotonic() + _PROGRESS_SECONDS


def recover(
    folder: DataFolder, store: Store, rows: list[TenantRow], *, tell: Callable[[str], None], salvages: bool = False
) -> Recovered:
    """Put into an empty store what the folder has of the tenants in ``rows``, which are open in it and have no quota.

    ``salvages``: leave out what is damaged, and say so; else the first damage ends the recovery. Raises
    :class:`splinter.errors.ServerError`.
    """
    began, damages, progress = time.monotonic(), [0], _Progress(tell)
    latest = 0  # of the store's clock, that the disk has
    generations, numbers = np.zeros(limits.TENANTS_MAX, np.int64), np.zeros(limits.TENANTS_MAX, np.int64)
    for row in rows:
        numbers[row.id] = row.void_until
        if row.is_there and row.durability != DURABILITY_NONE:
            generations[row.id] = row.generation
    replay = Replay(store, generations, numbers)

    def salvage(damage: DamageError) -> None:
        damages[0] += 1
        replay.skips_gaps = True
        tell(f"left out: {damage}")

    identity, first = folder.catalog.identity, 1
    _refuse_others_files(folder)
    given = salvage if salvages else None
    if snapshots := snapshots_in(folder.snapshots):
        newest = snapshots[-1]
        first = first_group(newest)
        reader = SnapshotReader(newest, identity, salvage=given)
        if salvages:
            _begin_first(replay, newest, identity)
        for group in reader:
            latest = max(latest, int(group.header["unix_ns"]))
            _take(replay, group, lambda place: DamageError(newest, place, "no copy of an object"), given)
            progress.at(lambda: f"reading the snapshot: {100 * reader.place // reader.bytes} %, {replay.objects:,} objects")
        if not replay.has_begun:
            tell(f"left out: all objects in {newest}: whose they are is nowhere whole")
    confirmed = Confirmed(folder.log)
    if confirmed.is_damaged:
        tell(f"{folder.log / CONFIRMED} is damaged: the log's end is where its last whole group ends")
    log = LogReader(folder.log, identity, first, salvage=given)
    for group in log:
        latest = max(latest, int(group.header["unix_ns"]))
        _take(replay, group, lambda place: DamageError(folder.log, place, f"no entry in group {log.number - 1}"), given)
        progress.at(lambda: f"replaying the log: group {log.number:,} of {log.last:,}, {replay.entries:,} changes")
    if cut := replay.end():
        tell(f"left out: large values that lack a part: {cut}")
    if waiting := replay.waiting:
        told = ", ".join(f"{count:,} of tenant {tenant}" for tenant, count in waiting.items())
        tell(f"left out, as the log lacks what they follow: changes, {told}")
    set_clock(store.descriptor, max(latest, time.time_ns()))
    confirmed.number = log.number - 1
    is_exact = not damages[0] and not waiting and not log.torn
    return Recovered(replay.objects, replay.entries, time.monotonic() - began, log.torn, is_exact)


def _refuse_others_files(folder: DataFolder) -> None:
    """Raise :class:`splinter.errors.DataFolderError` when log and snapshots are whole, and another folder's than the catalog:
    that is no damage, and nothing to be left out."""
    for path in (*snapshots_in(folder.snapshots), *segments_in(folder.log)):
        if (other := folder_at(mapped(path)[:GROUP_BYTES])) not in (None, folder.catalog.identity):
            raise DataFolderError(f"{path} is of another data folder ({other:x}) than {CATALOG} ({folder.catalog.identity:x})")


def _begin_first(replay: Replay, snapshot: Path, identity: int) -> None:
    """Learn from a snapshot that may be damaged whose objects it has, before any of them comes: it says so twice."""
    for group in SnapshotReader(snapshot, identity, salvage=lambda damage: None):
        if group.kind == Kind.TENANTS:
            with contextlib.suppress(DamagedEntryError):  # told when it comes
                replay.begin(places_in(group))
                return


def _take(
    replay: Replay, group: Group, damage: Callable[[int], DamageError], salvage: Callable[[DamageError], None] | None
) -> None:
    try:
        if group.kind == Kind.TENANTS:
            replay.begin(places_in(group))
        elif group.kind == Kind.OBJECTS:
            replay.copies(group.payload)
        else:
            replay.group(group.payload)
    except DamagedEntryError as error:
        if salvage is None:
            raise damage(error.place) from None
        salvage(damage(error.place))
