"""The log process: brings what the rings hold to disk, says how far it is, and has snapshots taken.

One turn: wait a moment, where many ask again at once; look at all tails; look at them again; write what lies up to the second
look as groups, each durable when it is written; say so. What is said to be durable is what lay below the *first* look: all that
it follows lies below the second (:mod:`splinter.store.changes`).

When the disk refuses, writes of tenants are refused too, at once, while reads go on. It is tried again every second; the rings
still have everything that was not confirmed. The same where it takes the log, and not a snapshot without which nothing can be
called durable; that is tried again every ten.

**A snapshot** is begun between two turns, where it is known which group comes next. A thread of low priority copies the slabs,
and waits until the log is durable to the end of the walk; then the snapshot gets its name, and older groups go. One is taken
when the log has become longer than the last one, and when the log lacks something (``gaps``). In that case nothing more is
called durable until the snapshot is whole.

May be killed at any instruction. Its successor begins a segment of its own with what the rings hold from their heads on; what
was written twice is passed over when it is replayed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from splinter import limits
from splinter.durable.disk_state import DiskState, now_ns
from splinter.durable.files import Disk
from splinter.durable.groups import TENANT_PLACE, DamageError
from splinter.durable.log_reader import next_group
from splinter.durable.segments import CONFIRMED, Confirmed, LogFailedError, LogWriter
from splinter.durable.snapshots import SnapshotWriter, copied, first_group, snapshot_name, snapshots_in
from splinter.store.log import LogRings
from splinter.store.store import Store
from splinter.store.walk import turns_over, walk_begins, walk_ends

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_SNAPSHOT_RETRY_SECONDS = 10.0
_TURNS_POLL_SECONDS = 0.0005
_GATHER_SECONDS, _GATHER_SECONDS_MAX = 0.0001, 0.005  # in which most ask again; a flush may take longer, once
_GATHER_BYTES = 64 << 10  # a disk writes them in about the time that a flush of nothing takes
_NICENESS = 10  # of the thread that takes snapshots


@dataclass
class Paths:
    """Where a log and its snapshots lie, and the identity of their folder."""

    log: Path
    snapshots: Path
    identity: int
    disk: Disk = field(default_factory=Disk)
    segment_bytes: int = limits.LOG_SEGMENT_BYTES


class _Snapshot(threading.Thread):
    """One being taken. ``path`` is set when it is whole, ``error`` when it is not."""

    def __init__(self, store: Store, rings: LogRings, paths: Paths, first: int, gaps: int) -> None:
        super().__init__(name="snapshot", daemon=True)
        self._store, self._rings, self._paths = store, rings, paths
        self.first, self.gaps = first, gaps  # the log's group behind it; what it makes whole
        self.path: Path | None = None
        self.error: BaseException | None = None
        accounts = store.accounts
        ids = np.flatnonzero(accounts["sequence"])
        self._places = np.zeros(len(ids), TENANT_PLACE)
        self._places["tenant"] = ids
        for name, field_name in (("generation", "active"), ("number", "number"), ("sequence", "sequence")):
            self._places[name] = accounts[field_name][ids]

    def note_commits(self, sequences: np.ndarray) -> None:
        """Raise what is on the disk of each tenant's commits to what the snapshot has, once it is whole."""
        ids = self._places["tenant"].astype(np.int64)
        sequences[ids] = np.maximum(sequences[ids], self._places["sequence"])

    def run(self) -> None:
        """Take it."""
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
            self.path = self._take()
        except BaseException as error:
            self.error = error

    def _take(self) -> Path:
        address = self._store.address
        writer = SnapshotWriter(
            self._paths.snapshots, self._paths.identity, self.first, self._places, disk=self._paths.disk,
            clock=lambda: self._store.now_ns,
        )  # fmt: skip
        try:
            epoch = int(walk_begins(address))
            while not turns_over(address, epoch):
                time.sleep(_TURNS_POLL_SECONDS)
            for piece in copied(self._store, limits.SNAPSHOT_GROUP_BYTES):
                writer.objects(piece)
            walk_ends(address)
            until = self._rings.tails()
            while any(head < tail for head, tail in zip(self._rings.heads(), until, strict=True)):
                time.sleep(_TURNS_POLL_SECONDS)
            return writer.finish()
        except BaseException:
            writer.abandon()
            raise
        finally:
            walk_ends(address)


class Logger:
    """What the log process does."""

    def __init__(self, store: Store, rings: LogRings, paths: Paths, state: DiskState | None = None) -> None:
        """Raises :class:`LogFailedError` when nothing can be written, and :class:`DamageError` when the end of the log that is
        there cannot be found. ``state``: where to tell how the disk does."""
        self._store, self._rings, self._paths = store, rings, paths
        self._state = state or DiskState()
        walk_ends(store.address)  # an earlier log process may have been in the middle of one
        for unfinished in paths.snapshots.glob("*.new"):
            with contextlib.suppress(OSError):  # a disk that takes nothing at present; who writes one removes it first
                paths.disk.remove(unfinished)
        whole = snapshots_in(paths.snapshots)
        kept_from = first_group(whole[-1]) if whole else 1
        if Confirmed(paths.log).is_damaged:
            _log.error("%s is damaged: the log's end is found by reading all of it", paths.log / CONFIRMED)
        number = next_group(paths.log, paths.identity, kept_from, paths.disk)
        self._hold = self._state.look_at_hold()  # of a backup, as this turn has found it: no file is removed or used again
        if not self._hold:  # what a predecessor left that was not to be removed yet, or that it did not come to
            self._forget_snapshots(whole)
        self._writer = LogWriter(
            paths.log, paths.identity, number, disk=paths.disk, segment_bytes=paths.segment_bytes,
            kept_from=0 if self._hold else kept_from, clock=lambda: store.now_ns,
        )  # fmt: skip
        self._snapshot: _Snapshot | None = None
        self._snapshot_at = 0.0  # not before this time, monotonic seconds
        self._has_failed = False  # the log cannot be written
        self._obstacle: BaseException | None = None  # to a snapshot without which nothing can be called durable
        self._last_bytes = whole[-1].stat().st_size if whole else 0
        # Since the last snapshot began. Who is started again and again leaves each time a segment, however little is in it.
        self._logged_bytes = self._writer.kept_bytes
        self._is_whole = rings.gaps == rings.gaps_covered
        # While the log lacks something: what of each tenant's commits is on the disk, and up to where the rings tell of it.
        self._on_disk = np.zeros(limits.TENANTS_MAX, np.int64)
        self._seen = rings.heads()
        self._flush_seconds = 0.0  # that the last one took
        self._under_way = 0  # bytes that it wrote, and that came meanwhile
        # A snapshot that is whole, and the log's first group behind it, while what is older was not let go of
        self._forgettable = (whole[-1], kept_from) if whole and self._hold else None

    # --- turns -------------------------------------------------------------------------------------------------------

    def turn(self) -> bool:
        """One turn. Returns whether there was something to write. Raises :class:`LogFailedError`."""
        began_ns = now_ns()
        self._hold = self._state.look_at_hold()
        self._look_at_snapshot()
        self._gather()
        first, second, heads = self._rings.tails(), self._rings.tails(), self._rings.heads()
        if self._is_whole and self._rings.gaps != self._rings.gaps_covered:
            # Asked after the tails: who began to log what is below them has said so before.
            self._is_whole, self._seen = False, self._rings.durables()
            self._snapshot_at = 0.0  # everybody waits for one: whether there is room is to be known at once
            self._on_disk[:] = 0
        is_busy = second != heads
        reached = list(heads)
        while reached != second:
            pieces: list[memoryview] = []
            for number, (at, end) in enumerate(zip(reached, second, strict=True)):
                if at < end:
                    reached[number] = self._rings.boundary(number, at, end, limits.LOG_GROUP_BYTES_MAX)
                    pieces += self._rings.pieces(number, at, reached[number])
            began = time.monotonic()
            self._writer.append(pieces)
            self._flush_seconds = time.monotonic() - began
            self._state.note_sync()
            self._logged_bytes += sum(len(piece) for piece in pieces)
        if is_busy:
            self._under_way = sum(self._rings.tails()) - sum(heads)
        if self._is_whole:
            for number, (durable, head) in enumerate(zip(first, second, strict=True)):
                self._rings.settle(number, durable, head)
        else:
            for number, (at, end) in enumerate(zip(self._seen, first, strict=True)):
                self._rings.note_commits(number, at, end, self._on_disk)
            self._seen = first
            self._rings.free(first, second)
            if self._snapshot is not None and self._snapshot.path is not None:
                self._become_whole(self._snapshot, self._snapshot.path, first)
        if self._hold and self._is_whole and self._state.answer(self._hold) is None:
            whole = snapshots_in(self._paths.snapshots)
            self._state.answer_hold(self._hold, self._writer.confirmed, first_group(whole[-1]) if whole else None)
        self._state.note_turn(began_ns)
        return is_busy

    def _gather(self) -> None:
        """Give those a moment whose replies the last turn has let go. Most ask again at once, and a flush for all of them costs
        hardly more than one for some.

        It ends when as much is there as was under way at the end of the last flush, or so much that a flush for more does take
        longer; when nothing more comes; and at the latest after as long as that flush took.
        """
        if not self._rings.is_urgent:
            return
        until, there = time.monotonic() + min(self._flush_seconds, _GATHER_SECONDS_MAX), self._rings.behind
        enough = min(self._under_way, _GATHER_BYTES)
        while there < enough and time.monotonic() < until:
            time.sleep(_GATHER_SECONDS)
            before, there = there, self._rings.behind
            if there == before:
                break

    def _become_whole(self, taken: _Snapshot, path: Path, first: list[int]) -> None:
        """A snapshot is whole that makes good what the log lacked when it began. If that is all, say what is on the disk."""
        self._rings.gaps_covered = taken.gaps
        if self._rings.gaps == taken.gaps:
            taken.note_commits(self._on_disk)
            self._rings.call_durable(first, self._on_disk)
            self._is_whole = True
            if self._obstacle is not None:
                self._obstacle = None
                self._tell_refusal()
                _log.warning("a snapshot is whole; writes are taken again")
        else:
            self._end_snapshot(taken, path)

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def _look_at_snapshot(self) -> None:
        self._forget()
        taken = self._snapshot
        if taken is not None and taken.path is not None and self._is_whole:
            self._end_snapshot(taken, taken.path)
        elif taken is not None and taken.error is not None:
            refused = "" if self._is_whole else "; until one is whole writes are refused, reads are served"
            _log.error("a snapshot failed, and is tried again: %s%s", taken.error, refused)
            self._snapshot, self._snapshot_at = None, time.monotonic() + _SNAPSHOT_RETRY_SECONDS
            if not self._is_whole:
                self._obstacle = taken.error
                self._tell_refusal()
        elif taken is None and self._is_due() and time.monotonic() >= self._snapshot_at:
            self.begin_snapshot()

    def _is_due(self) -> bool:
        return not self._is_whole or self._logged_bytes > max(limits.LOG_BYTES_MIN, 2 * self._last_bytes)

    def begin_snapshot(self) -> None:
        """Have one taken, of what is there now. Raises :class:`LogFailedError`."""
        if (self._paths.snapshots / snapshot_name(self._writer.number)).exists():  # a backup may be about to read that
            self._writer.append([])
        self._snapshot = _Snapshot(self._store, self._rings, self._paths, self._writer.number, self._rings.gaps)
        self._logged_bytes = 0
        self._snapshot.start()

    @property
    def is_taking_snapshot(self) -> bool:
        """Whether one is under way, or not yet noted."""
        return self._snapshot is not None

    def _end_snapshot(self, taken: _Snapshot, path: Path) -> None:
        self._last_bytes = path.stat().st_size
        self._snapshot, self._forgettable = None, (path, taken.first)
        self._forget()

    def _forget(self) -> None:
        """Let go of what a whole snapshot stands for, unless a backup reads it."""
        if self._forgettable is None or self._hold:
            return
        path, first = self._forgettable
        self._forget_snapshots([*(older for older in snapshots_in(self._paths.snapshots) if older < path), path])
        self._writer.forget_before(first)
        self._forgettable = None

    def _forget_snapshots(self, whole: list[Path]) -> None:
        """Remove all but the last, which are older."""
        try:
            if len(whole) > 1:
                self._paths.disk.sync_folder(self._paths.snapshots)  # who gave the last one its name may have died before that
            for older in whole[:-1]:
                self._paths.disk.remove(older)
        except OSError as error:  # the next snapshot has it done
            _log.warning("an old snapshot in %s cannot be removed: %s", self._paths.snapshots, error.strerror)

    def try_again(self) -> None:
        """After a failure: let go of what nobody needs any more, as that may be the room that was lacking, and go on. Raises
        :class:`LogFailedError` and :class:`DamageError`."""
        self._hold = self._state.look_at_hold()
        if self._snapshot is not None and self._snapshot.path is not None:  # no turn has come to its end since
            self._forgettable = self._snapshot.path, self._snapshot.first
        self._forget()
        self._writer.recover()

    def close(self) -> None:
        """End, when nothing is under way."""
        self._writer.close()

    # --- the process -------------------------------------------------------------------------------------------------

    def run(self, wake: int, workers: Sequence[int] = (), meanwhile: Callable[[], object] = lambda: None) -> None:
        """Work until SIGTERM, and then as :meth:`finish`. ``wake``: an eventfd that is written to when somebody waits, or much
        has come; ``workers``: those that end the workers' sleep, by ring; ``meanwhile`` is called before each sleep."""
        ending: list[int] = []
        signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
        waiting = select.poll()
        waiting.register(wake, select.POLLIN)
        self._tell_refusal()  # a predecessor may have died while the disk refused
        while True:
            ends = bool(ending)  # asked before the turn looks at what there is
            try:
                if self._has_failed:
                    self.try_again()
                    self._has_failed = False
                    self._tell_refusal()
                    _log.warning("the disk takes writes again")
                is_busy = self.turn()
                if is_busy:
                    for number, descriptor in enumerate(workers):
                        if self._rings.awaits(number):
                            os.eventfd_write(descriptor, 1)
            except (LogFailedError, DamageError) as error:
                if not self._has_failed:
                    self._has_failed = True
                    self._tell_refusal()
                    _log.error("%s; writes are refused, reads are served; tried again", error)
                if ends:
                    return
                time.sleep(_RETRY_SECONDS)
                continue
            if ends and not is_busy and (self._is_whole or self._obstacle is not None):
                self.close()
                return
            meanwhile()
            self._rest(waiting, wake)

    def finish(self) -> None:
        """Have all on the disk that is in the rings, and what the log lacks in a snapshot, and end. Nobody writes any more.
        Raises :class:`LogFailedError`."""
        while self.turn() or not self._is_whole:
            self._await_snapshot()
        self.close()

    def make_whole(self) -> None:
        """As :meth:`finish`, and have nothing left that is older than what the log lacked."""
        try:
            while self.turn() or not self._is_whole or self.is_taking_snapshot:
                self._await_snapshot()
        finally:
            self.close()

    def _await_snapshot(self) -> None:
        """Wait for a moment. Raises :class:`LogFailedError` when there is no room for the snapshot that is waited for."""
        if self._obstacle is not None:
            raise LogFailedError(f"no snapshot can be written to {self._paths.snapshots}: {self._obstacle}") from self._obstacle
        time.sleep(_TURNS_POLL_SECONDS)

    def _tell_refusal(self) -> None:
        is_refused = self._has_failed or self._obstacle is not None
        self._rings.tell_failed(is_failed=is_refused)
        self._state.note_refusal(is_refused=is_refused)

    def _rest(self, waiting: select.poll, wake: int) -> None:
        """Sleep for a moment, or until somebody waits for the disk, or much has come. Who waits for what has come since has not
        woken it."""
        self._rings.set_sleeps(True)
        if not self._rings.is_urgent and waiting.poll(limits.LOG_REST_MS):
            os.read(wake, 8)
        self._rings.set_sleeps(False)


def begin(store: Store, rings: LogRings, paths: Paths, state: DiskState) -> Logger:
    """What writes the log, as soon as the disk has room for it, and the end of the log that there is can be found; until then
    writes are refused, and reads go on."""
    while True:
        try:
            return Logger(store, rings, paths, state)
        except (LogFailedError, DamageError) as error:
            if state.refused_age_ns is None:
                _log.error("%s; writes are refused, reads are served; tried again", error)
            rings.tell_failed(is_failed=True)
            state.note_refusal(is_refused=True)
            time.sleep(_RETRY_SECONDS)
