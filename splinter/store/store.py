"""The store as a Python object: how it is made, and its operations in Python terms for the control process and tests."""

from __future__ import annotations

import contextlib
import ctypes
import secrets
import time
from collections.abc import Iterator

import numpy as np

from splinter import limits
from splinter.errors import Status, error_for
from splinter.layout import offset
from splinter.store.account_layout import ACCOUNT
from splinter.store.audit.walk import check_invariants
from splinter.store.clock import moment_in, set_clock, take_clock
from splinter.store.commit_layout import DELETION_RING_BYTES
from splinter.store.epochs import EPOCH_OFFLINE, OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.journal import participant_at
from splinter.store.layout import (
    BUCKET,
    CLASS_LIST,
    CLASSES,
    CPU_BYTES,
    HASH_WORDS,
    LOG_NONE,
    PARTICIPANT,
    SLAB,
    SLAB_LIST,
    STORE,
    STORE_DESCRIPTOR_BYTES,
)
from splinter.store.objects import (
    is_over,
    object_expires,
    object_key,
    object_key_length,
    object_table,
    object_tenant,
    object_value,
    object_value_length,
    object_version,
)
from splinter.store.operations import store_delete, store_expire, store_find, store_last_version, store_put
from splinter.store.reclaim import reclaim
from splinter.store.recovery import give_up, recover
from splinter.store.region import Region
from splinter.store.stored import STARTS_BITS, Stored, Usage
from splinter.store.tenants import (
    UNCHANGED,
    scan_table,
    tenant_charge_code,
    tenant_close,
    tenant_open,
    tenant_set_modes,
    tenant_sweep,
)

_INDEX_SHARE = 8  # one eighth of the memory is index, and one eighth of the index is the overflow pool
_OVERFLOW_SHARE = 8
_TENANT_RECORD_BYTES = 64  # splinter.net.tenants.TENANT; the store itself does not read it
_SWEEP_BUCKETS = 4096  # about a millisecond
_SCAN_CAPACITY = 1024
_CONTROL = limits.PARTICIPANT_CONTROL
_SLABS_RESERVED = 1  # slab 0
_NOWHERE = offset(STORE, "nowhere")
ACCOUNTS_BYTES = limits.TENANTS_MAX * ACCOUNT.itemsize


def _address(data: bytes) -> int:
    """Where the bytes of a bytes object are, as long as it lives."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _state_places(slabs_total: int) -> tuple[int, int, int, int, int]:
    """Where participants, lists of classes, lists of slabs and records of slabs begin in the state's region, and its end."""
    class_lists = STORE_DESCRIPTOR_BYTES + limits.PARTICIPANTS_MAX * PARTICIPANT.itemsize
    slab_lists = class_lists + CLASSES * CLASS_LIST.itemsize
    slab_records = slab_lists + slabs_total * SLAB_LIST.itemsize
    return STORE_DESCRIPTOR_BYTES, class_lists, slab_lists, slab_records, slab_records + slabs_total * SLAB.itemsize


def _new_deletions() -> Region:
    """The rings of deletions: a memfd also where all else is in BPF maps, which take their memory at once. Nobody but workers
    reads them, and only for snapshots that are older than what was deleted; so they need not outlive the processes."""
    return Region.create("splinter-deletions", limits.TENANTS_MAX * DELETION_RING_BYTES)


class Store:
    """The store in shared memory. Made before the first fork; every forked process may then use it.

    The Python methods serve the control process and tests. Each names the participant that acts, by default the
    control process; a participant is used by one thread of one process at a time. They enter an epoch and leave it
    again: nothing that they return refers to the store's memory.
    """

    def __init__(
        self, state: Region, index: Region, slabs: Region, tenants: Region, accounts: Region, deletions: Region
    ) -> None:  # fmt: skip
        self.state_region, self.index_region, self.slabs_region = state, index, slabs
        self.tenants_region, self.accounts_region, self._deletions = tenants, accounts, deletions
        self.address = state.address  # of the descriptor: the first argument of every compiled function
        self.descriptor = state.array(STORE, 1)[0]
        self.accounts = accounts.array(ACCOUNT)  # one record per tenant id; the counters change while serving
        self.participants = state.array(PARTICIPANT, limits.PARTICIPANTS_MAX, STORE_DESCRIPTOR_BYTES)

    # --- making --------------------------------------------------------------------------------------------------------

    @staticmethod
    def plan(bytes_total: int) -> tuple[int, int]:
        """(buckets of the index, overflow pool included; slabs) of a store of ``bytes_total`` bytes.

        So large the BPF maps ``store_index`` (BUCKET_BYTES an element) and ``store_slabs`` (SLAB_BYTES) must be.
        Raises ValueError for a size outside STORE_BYTES_MIN … STORE_BYTES_MAX.
        """
        if not limits.STORE_BYTES_MIN <= bytes_total <= limits.STORE_BYTES_MAX:
            raise ValueError(
                f"a store has {limits.STORE_BYTES_MIN} to {limits.STORE_BYTES_MAX} bytes of memory, not {bytes_total}"
            )
        index_bytes = bytes_total // _INDEX_SHARE
        return index_bytes // limits.BUCKET_BYTES, (bytes_total - index_bytes) // limits.SLAB_BYTES

    @staticmethod
    def state_bytes(bytes_total: int) -> int:
        """How large the region of the state is, for descriptor, participants and lists. Raises as :meth:`plan`."""
        return _state_places(Store.plan(bytes_total)[1])[-1]

    @classmethod
    def create(
        cls,
        bytes_total: int,
        *,
        index_region: Region | None = None,
        slabs_region: Region | None = None,
        tenants_region: Region | None = None,
        accounts_region: Region | None = None,
        state_region: Region | None = None,
        participants: int = limits.WORKERS_MAX,
    ) -> Store:
        """An empty store of ``bytes_total`` bytes of index and slabs, for the workers 0 … ``participants - 1`` and
        the control process.

        Regions that are given (the memory of BPF maps, all zero) have at least the size that :meth:`plan`, ACCOUNTS_BYTES and
        :meth:`state_bytes` say; others are made of memfds. Accounts, participants and lists come on top: about 2 MiB, and 4 KiB
        for each tenant that deletes.
        """
        if not 0 <= participants <= limits.WORKERS_MAX:
            raise ValueError(f"a store has at most {limits.WORKERS_MAX} workers, not {participants}")
        buckets_total, slabs_total = cls.plan(bytes_total)
        index = index_region or Region.create("splinter-index", buckets_total * limits.BUCKET_BYTES)
        slabs = slabs_region or Region.create("splinter-slabs", slabs_total * limits.SLAB_BYTES)
        tenants = tenants_region or Region.create("splinter-tenants", limits.TENANTS_MAX * _TENANT_RECORD_BYTES)
        accounts = accounts_region or Region.create("splinter-accounts", ACCOUNTS_BYTES)
        state = state_region or Region.create("splinter-state", cls.state_bytes(bytes_total))
        if index.bytes < buckets_total * BUCKET.itemsize or slabs.bytes < slabs_total * limits.SLAB_BYTES:
            raise ValueError("a region is smaller than Store.plan() says")
        if accounts.bytes < ACCOUNTS_BYTES or state.bytes < cls.state_bytes(bytes_total):
            raise ValueError("the accounts' region or the state's is too small")
        store = cls(state, index, slabs, tenants, accounts, _new_deletions())
        participants_at, class_lists_at, slab_lists_at, slab_records_at, _ = _state_places(slabs_total)
        record = store.descriptor
        record["index"] = index.address
        record["buckets"] = buckets_total - buckets_total // _OVERFLOW_SHARE
        record["buckets_total"] = buckets_total
        record["buckets_used"] = record["buckets"]
        record["slabs"] = slabs.address
        record["slabs_total"] = slabs_total
        record["slabs_used"] = _SLABS_RESERVED
        record["slab_records"] = state.address + slab_records_at
        record["tenants"] = tenants.address
        record["accounts"] = accounts.address
        record["participants"] = state.address + participants_at
        record["deletions"] = store._deletions.address
        set_clock(record, time.time_ns())
        record["class_lists"] = state.address + class_lists_at
        record["slab_lists"] = state.address + slab_lists_at
        record["seed"] = secrets.randbits(64) | 1
        record["multiplier"] = secrets.randbits(64) | 1
        record["hash_words"] = [secrets.randbits(64) for _ in range(HASH_WORDS)]
        record["workers"] = participants
        record["identity"] = secrets.randbits(62 - STARTS_BITS) + 1 << STARTS_BITS
        record["epoch"] = 1
        store.participants["holder"] = np.arange(1, limits.PARTICIPANTS_MAX + 1)
        store.participants["epoch"] = EPOCH_OFFLINE
        # A restored result may name a participant of another store: it is not alive.
        store.participants["incarnation"] = secrets.randbits(36)  # a turn has 24 bits behind it: splinter.store.turns
        return store

    @classmethod
    def attach(
        cls, *, index: Region, slabs: Region, tenants: Region, accounts: Region, state: Region, log: Region | None = None
    ) -> Store:  # fmt: skip
        """A store that outlived all its processes, in the same regions at the same addresses, with what they left put right.

        ``log``: that of the rings, if changes were logged. Without it what is not on disk yet of the log is lost. All
        participants are certainly dead, and nobody takes over a task. May be cut short and run again. Raises
        :class:`ValueError` when a region is not where it was.
        """
        store = cls(state, index, slabs, tenants, accounts, _new_deletions())
        record = store.descriptor
        for name, region in (("index", index), ("slabs", slabs), ("tenants", tenants), ("accounts", accounts)):
            if record[name] != region.address:
                raise ValueError(f"the region {name} was at {int(record[name]):#x}, not at {region.address:#x}")
        if record["participants"] != state.address + STORE_DESCRIPTOR_BYTES:
            raise ValueError("the region of the state is not where it was")
        # Who had an older snapshot than there is now is dead: nobody asks for what was deleted before.
        record["deletions"], record["kill_at"], record["kill_skip"] = store._deletions.address, 0, 0
        take_clock(record)
        if log is not None and record["log_state"] != LOG_NONE and store.participants["log"][_CONTROL] < log.address:
            raise ValueError(f"the region of the log was not at {log.address:#x}")
        store._forget_foreign_words(log)
        for participant in range(limits.PARTICIPANTS_MAX):
            store.recover(participant)
        return store

    def watch_cpus(self, cells: Region, cpus: int) -> None:
        """Let whoever frees memory wait for the CPUs whose XDP program reads the store. ``cells``: CPU_BYTES each, which begin
        with its epoch; those that are new are offline. Called while nobody writes."""
        epochs = cells.array(np.dtype("<u8"), cpus * CPU_BYTES // 8)[:: CPU_BYTES // 8]
        epochs[epochs == 0] = EPOCH_OFFLINE
        self._cells = cells
        self.descriptor["cpu_epochs"], self.descriptor["cpus"] = cells.address, cpus

    def _forget_foreign_words(self, log: Region | None) -> None:
        """Lead journalled words elsewhere that are not of the store, but of the memory of a task: it went with its process."""
        words = self.participants["intent"]["words"]
        is_ours = np.zeros(words.shape, bool)
        regions = [self.state_region, self.index_region, self.slabs_region, self.accounts_region, *([log] if log else [])]
        for region in regions:
            is_ours |= (words["address"] >= region.address) & (words["address"] < region.address + region.bytes)
        words["address"][~is_ours] = self.address + _NOWHERE

    # --- objects -------------------------------------------------------------------------------------------------------

    def get(self, tenant: int, table: int, key: bytes, *, participant: int = _CONTROL) -> bytes | None:
        """The value of a key, or None."""
        stored = self.lookup(tenant, table, key, participant=participant)
        return None if stored is None else stored.value

    def lookup(self, tenant: int, table: int, key: bytes, *, participant: int = _CONTROL) -> Stored | None:
        """The object of a key, with its version, or None."""
        if not 1 <= len(key) <= limits.KEY_BYTES_MAX:
            raise error_for(Status.BAD_KEY)
        with self.epoch(participant):
            found = store_find(self.address, tenant, table, _address(key), len(key), 0)
            return self._copy(found) if found != 0 and not is_over(found, self.now_ns) else None

    def put(
        self,
        tenant: int,
        table: int,
        key: bytes,
        value: bytes,
        *,
        expected_version: int = 0,
        ttl: int = 0,
        participant: int = _CONTROL,
    ) -> int:
        """Store a value that lives for ``ttl`` ns, or (0) for ever; returns the new object's version. Raises the error of any
        status other than OK."""
        with self.epoch(participant):
            status = store_put(
                self.address, participant, tenant, table, _address(key), len(key), _address(value), len(value),
                expected_version, 0, 0, moment_in(self.address, participant_at(self.address, participant), ttl) if ttl else 0,
            )  # fmt: skip
            reclaim(self.address, participant, limits.RECLAIM_SLOTS_MAX)
        _require(status)
        return int(store_last_version(self.address, participant))

    def expire(
        self, tenant: int, table: int, key: bytes, ttl: int, *, expected_version: int = 0, participant: int = _CONTROL
    ) -> int:
        """Have an object live for ``ttl`` ns from now, or (0) for ever; returns its new version. Raises as :meth:`put`."""
        with self.epoch(participant):
            status = store_expire(
                self.address, participant, tenant, table, _address(key), len(key), ttl, expected_version, 0, 0
            )  # fmt: skip
            reclaim(self.address, participant, limits.RECLAIM_SLOTS_MAX)
        _require(status)
        return int(store_last_version(self.address, participant))

    @property
    def now_ns(self) -> int:
        """The store's clock."""
        return int(self.descriptor["clock_base"]) + time.monotonic_ns()

    def delete(self, tenant: int, table: int, key: bytes, *, expected_version: int = 0, participant: int = _CONTROL) -> bool:
        """Remove the object of a key; False when there is none. Raises the error of any other status."""
        with self.epoch(participant):
            status = store_delete(
                self.address, participant, tenant, table, _address(key), len(key), expected_version, 0, 0
            )  # fmt: skip
            reclaim(self.address, participant, limits.RECLAIM_SLOTS_MAX)
        if status not in (Status.OK, Status.NOT_FOUND):
            raise error_for(status)
        return bool(status == Status.OK)

    def scan(self, table: int, *, tenant: int = 0, participant: int = _CONTROL) -> Iterator[Stored]:
        """All objects of a table, of one tenant or (0) of all, in no order; what is written meanwhile may be missed."""
        addresses = np.empty(_SCAN_CAPACITY, dtype=np.int64)
        cursor = 0
        while cursor != -1:
            with self.epoch(participant):
                count, cursor = scan_table(
                    self.address, tenant, table, cursor, addresses.ctypes.data, _SCAN_CAPACITY
                )  # fmt: skip
                now = self.now_ns
                piece = [self._copy(found) for found in addresses[:count].tolist() if not is_over(found, now)]
            yield from piece

    @contextlib.contextmanager
    def epoch(self, participant: int = _CONTROL) -> Iterator[None]:
        """An epoch of a participant's, at the store's present clock, for a block that is short and waits for nothing."""
        epoch_enter(self.address, participant, OLDEST_NONE)
        self.participants["now"][participant] = self.now_ns
        try:
            yield
        finally:
            epoch_leave(self.address, participant)

    def _copy(self, found: int) -> Stored:
        key = ctypes.string_at(object_key(found), object_key_length(found))
        value = ctypes.string_at(object_value(found), object_value_length(found))
        return Stored(object_tenant(found), object_table(found), key, value, object_version(found), object_expires(found))

    # --- tenants -------------------------------------------------------------------------------------------------------

    def open_tenant(
        self, tenant: int, quota_bytes: int = limits.TENANT_QUOTA_BYTES_DEFAULT, *, generation: int = 1, first: int = 0
    ) -> None:
        """Let a tenant write, or change its quota. Raises BusyError while a closed tenant's objects are still there."""
        _require(tenant_open(self.address, tenant, quota_bytes, generation, first))

    def charge_code(self, tenant: int, code_bytes: int, *, forced: bool = False, participant: int = _CONTROL) -> None:
        """Charge a tenant for so much machine code. Raises QuotaExceededError when it is more than before and too much, unless
        it is ``forced``; BusyError."""
        _require(tenant_charge_code(self.address, participant, tenant, code_bytes, forced))

    def set_modes(
        self, tenant: int, durability: int = UNCHANGED, void_until: int = 0, *, eviction: int = UNCHANGED
    ) -> None:  # fmt: skip
        """As ``tenant_set_modes``. Raises BusyError, and changes nothing."""
        _require(tenant_set_modes(self.address, _CONTROL, tenant, durability, void_until, eviction))

    def close_tenant(self, tenant: int, *, participant: int = _CONTROL) -> None:
        """End a tenant's writes; :meth:`sweep_tenant` then removes its objects. Raises BusyError, and changes nothing."""
        _require(tenant_close(self.address, participant, tenant))

    def sweep_tenant(self, tenant: int, *, participant: int = _CONTROL) -> Iterator[None]:
        """Remove a closed tenant's objects; yields between the pieces of the walk over the index, a millisecond each or so."""
        cursor = 0
        while cursor != -1:
            with self.epoch(participant):
                following = tenant_sweep(self.address, participant, tenant, cursor, _SWEEP_BUCKETS)
                reclaim(self.address, participant, limits.RECLAIM_SLOTS_MAX)
            if following < -1:
                raise error_for(Status.BUSY)
            cursor = following
            yield

    # --- state ---------------------------------------------------------------------------------------------------------

    def recover(self, participant: int, *, tasks_go_on: bool = False) -> None:
        """Put right what a dead participant left; call it when the process certainly executes nothing any more.

        With ``tasks_go_on`` a successor will take over its tasks: what they refer to and have claimed is kept for it.
        """
        recover(self.address, participant)
        if not tasks_go_on:
            give_up(self.address, participant)

    def problems(self) -> list[str]:
        """What :func:`splinter.store.audit.walk.check_invariants` finds; all participants must be at rest."""
        return check_invariants(self.address)

    def usage(self) -> Usage:
        """How full the store is, roughly, while others write."""
        record = self.descriptor
        total, used = int(record["slabs_total"]), int(record["slabs_used"] - record["slabs_pooled"])
        return Usage(
            slabs_total=total - _SLABS_RESERVED,
            slabs_used=used - _SLABS_RESERVED,
            slabs_free=total - used,
            slab_bytes=limits.SLAB_BYTES,
            buckets_total=int(record["buckets_total"]),
            overflow_used=int(record["buckets_used"] - record["buckets"] - record["buckets_pooled"]),
            objects=int(self.accounts["objects"].sum()),
            bytes_used=int(self.accounts["bytes_used"].sum()),
        )


def _require(status: int) -> None:
    """Raise the error of a status other than OK."""
    if status != Status.OK:
        raise error_for(status)
