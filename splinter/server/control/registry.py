"""Installed extensions: what is in the store under ``TABLE_EXTENSIONS``, mirrored here, and the code they point to.

The records in the store are the truth, and what workers look up; each is an object of its tenant, so replacing one is
one atomic store. The mirror answers lists and signatures without a scan of the index, and is rebuilt from the records
when the control process starts. Code that no record names any more may still be running: its memory is free only when
every worker has left the epoch in which it was replaced. What waits for that is known to this process alone; so a new
one writes no code at all until every worker has left the epoch in which it started.

The same source needs its code only once, whoever installs it: a block of code counts the records that name it, of several
tenants or of several extensions that were compiled together. Each tenant that has it installed is charged for it, as for an
object, and for what its extensions take in the kernel. What a tenant holds of the region, code that it replaced and that may
still run included, is at most what the operator set, and at most as much as is free, beyond one extension's. So no tenant, and
no number of them, takes it all. Each extension has a slot of counters in every worker's memory, kept when it is replaced and
given to another only when nobody can run it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from splinter import limits
from splinter.errors import BusyError, ControlError, QuotaExceededError, ServerError, Status, error_for
from splinter.ext import record
from splinter.ext.front.names import is_name
from splinter.net.xdp.extensions import NOT_LOADED, ExtensionPrograms, Loaded
from splinter.server.control.in_kernel import InKernel, bytes_of, quota_reason
from splinter.server.control.installed import Block, Entry, Waiting, machine_code_bytes
from splinter.store.epochs import OLDEST_NONE, epoch_advance, epoch_enter, epoch_leave, epoch_now, epoch_oldest
from splinter.store.reclaim import reclaim
from splinter.store.slabs import retreat

if TYPE_CHECKING:
    from splinter.ext.compile import CompiledExtension
    from splinter.ext.native.code import CodeRegion
    from splinter.store.store import Store

_log = logging.getLogger(__name__)
_READY_SECONDS_MAX = 10.0
_READY_POLL_SECONDS = 0.005
_CHARGE_TRIES_MAX = 10  # each waits for the lock, about 60 ms
_NOBODY = 0  # no tenant has this id
_REPLACED_MAX = 4 * limits.EXTENSIONS_PER_TENANT_MAX  # of a tenant, while they may still be running: each may keep a slot
_COUNTS = ("invocations", "errors", "yields", "cycles")  # of EXTENSION_COUNTERS: what workers add up
_RECLAIM_SLOTS_MAX = 4096  # at a time: under a millisecond


class Registry:
    """The extensions of all tenants. Used from the event loop only."""

    def __init__(
        self,
        store: Store,
        code: CodeRegion,
        counters: Sequence[np.ndarray],
        code_bytes_per_tenant: int = limits.CODE_BYTES_PER_TENANT_MAX,
        kernel: ExtensionPrograms | None = None,
    ) -> None:
        """``counters``: of each worker, its EXTENSION_COUNTERS by slot. ``kernel``: where programs go, if there are any."""
        self.in_kernel = InKernel(store, kernel, self._recharge)
        self.code_bytes_per_tenant = code_bytes_per_tenant
        self._store, self._code, self._counters = store, code, counters
        self._entries: dict[int, dict[str, Entry]] = {}
        self._blocks: dict[bytes, Block] = {}  # by digest of the source
        self._slots_used = 0  # slots below this were given out; those given back since are in _slots_free
        self._slots_free: list[int] = []
        self._waiting: deque[Waiting] = deque()  # by stamp
        # The same by tenant: how many there are of each block, by its place.
        self._waits_of: defaultdict[int, Counter[tuple[int, int]]] = defaultdict(Counter)
        self._started_at = _date_now(store)
        self.work_waits = asyncio.Event()  # something for upkeep() to do

    @property
    def count(self) -> int:
        """Extensions installed, of all tenants."""
        return sum(len(entries) for entries in self._entries.values())

    @property
    def bytes_used(self) -> int:
        """Bytes of the code region that are taken."""
        return self._code.used_bytes

    @property
    def bytes_waiting(self) -> int:
        """Bytes of code that nothing names, but that may still be running."""
        waiting = {item.block.offset: item.block for item in self._waiting}
        users_waiting = Counter(item.block.offset for item in self._waiting)
        return sum(block.size for offset, block in waiting.items() if block.users == users_waiting[offset])

    def find(self, tenant: int, name: str) -> Entry | None:
        """A tenant's extension of this name."""
        return self._entries.get(tenant, {}).get(name)

    def entries(self, tenant: int) -> list[Entry]:
        """A tenant's extensions by name."""
        return sorted(self._entries.get(tenant, {}).values(), key=lambda entry: entry.name)

    def tenants(self) -> list[int]:
        """Those that have any."""
        return [tenant for tenant, entries in self._entries.items() if entries]

    def rebuild(self) -> None:
        """Read all records from the store, and take the code they name out of what may be written."""
        self.work_waits.set()  # what an earlier control process retired waits in the store
        self._entries.clear()
        blocks: dict[int, Block] = {}  # by offset
        slots: set[int] = set()
        for stored in self._store.scan(limits.TABLE_EXTENSIONS):
            found, name = record.parse(stored.value), stored.key.decode()
            block = blocks.get(found.code_offset)
            if block is None:
                self._code.reserve(found.code_offset, found.code_bytes)
                block = Block(found.source_digest, self._code.address + found.code_offset, found.code_offset, found.code_bytes)
                blocks[block.offset] = self._blocks[block.digest] = block
            block.users += 1
            slots.add(found.statistics)
            self.in_kernel.note_earlier(found.statistics, stored.tenant, name, found)
            self._entries.setdefault(stored.tenant, {})[name] = Entry(
                name,
                found.signature,
                found.version,
                block,
                found.frame_bytes,
                found.statistics,
                found.worker_reason,
                found.library,
            )
        for tenant in {*self._entries, *np.flatnonzero(self._store.accounts["code_bytes"]).tolist()}:
            self._recharge(tenant)
        self._slots_used = max(slots, default=-1) + 1
        self._slots_free = sorted(set(range(self._slots_used)) - slots, reverse=True)

    def counts(self, entry: Entry) -> dict[str, int]:
        """What was done for an extension so far: invocations, ``in_kernel`` of them, errors, yields, workers' cycles."""
        counts = {name: sum(int(row[name][entry.slot]) for row in self._counters) for name in _COUNTS}
        in_kernel = self.in_kernel.invocations(entry.slot)
        return {**counts, "invocations": counts["invocations"] + in_kernel, "in_kernel": in_kernel}

    def kills(self, slot: int) -> int:
        """Workers that had to be killed, or died, because of a slot's extension since it was installed or released last."""
        row = self._counters[0]
        return int(row["kills"][slot]) - int(row["released"][slot])

    async def release(self, entry: Entry) -> None:
        """End an extension's quarantine: what it did so far does not count any more."""
        self._forgive(entry.slot)
        await self.in_kernel.release(entry.slot)

    def _forgive(self, slot: int) -> None:
        for row in self._counters:
            row["released"][slot] = row["kills"][slot]

    def withdraw_quarantined(self, quarantine_after: int) -> None:
        """Have what workers refuse to run for the deaths it caused not run in the kernel either."""
        for slot in self.in_kernel.used_slots:
            if self.kills(slot) >= quarantine_after:
                self.in_kernel.withdraw(slot)

    @property
    def slots_used(self) -> int:
        """Slots of the workers' counters that have been any extension's, from 0 on."""
        return self._slots_used

    def hottest(self, most: int) -> list[tuple[int, Entry]]:
        """The extensions that used most CPU time of workers, most first, then those that only the kernel ran; each with its
        tenant, at most so many."""
        cycles = np.sum([row["cycles"][: self._slots_used].astype(np.int64) for row in self._counters], axis=0)
        entries = {entry.slot: (tenant, entry) for tenant, own in self._entries.items() for entry in own.values()}
        order = np.argsort(-cycles, kind="stable") if entries else ()
        ran = [int(slot) for slot in order if cycles[slot] > 0 and int(slot) in entries]
        kernel = (slot for slot in self.in_kernel.used_slots if slot in entries and self.in_kernel.invocations(slot))
        ran += [slot for slot in kernel if cycles[slot] == 0]
        return [entries[slot] for slot in itertools.islice(ran, most)]

    def killers(self, least: int) -> set[tuple[int, str]]:
        """Extensions that had so many workers killed, by tenant and name."""
        row = self._counters[0][: self._slots_used]
        slots = set(np.flatnonzero(row["kills"].astype(np.int64) - row["released"] >= least).tolist())
        if not slots:
            return set()
        return {(tenant, entry.name) for tenant, own in self._entries.items() for entry in own.values() if entry.slot in slots}

    async def ready_to_write(self) -> None:
        """Wait until no worker can run code that an earlier control process has replaced. Raises :class:`BusyError`."""
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while not _is_unreachable(self._store, self._started_at):
            if time.monotonic() >= deadline:
                raise BusyError("a worker has not left the epoch in which the control process started: try again later")
            await asyncio.sleep(_READY_POLL_SECONDS)

    def install(
        self, tenant: int, compiled: CompiledExtension, program: Loaded = NOT_LOADED, version: int | None = None
    ) -> Entry:
        """Publish a compiled extension under its name, in place of the one there was; :meth:`ready_to_write` first. ``program``
        is what the kernel has of it; where the quota does not allow that, and the author does not insist on it, there is none.
        ``version``: that it had in an earlier server.

        Raises :class:`splinter.errors.RequestError` when the store has no room, the tenant's quota is used up, the tenant is
        gone, or too much of what it replaced may still be running; :class:`ControlError` when the code region has no room (for
        this tenant) or it has too many extensions.
        """
        if not is_name(compiled.name):
            raise ControlError(f"{compiled.name!a} is no name of an extension", "bad_request")
        entries = self._entries.setdefault(tenant, {})
        old = entries.get(compiled.name)
        if old is None and len(entries) >= limits.EXTENSIONS_PER_TENANT_MAX:
            raise ControlError(f"a tenant has at most {limits.EXTENSIONS_PER_TENANT_MAX} extensions", "too_many_extensions")
        if self._waits_of[tenant].total() >= _REPLACED_MAX:
            raise BusyError(
                f"{_REPLACED_MAX:,} extensions that this tenant replaced or removed may still be running: try again later"
            )
        block = self._take_block(compiled)
        slot, following = (old.slot, old.version + 1) if old else (None, 1)
        version = following if version is None else version
        try:
            slot = self._take_slot() if slot is None else slot
            try:
                self._publish(tenant, compiled, block, version, slot, program)
            except QuotaExceededError:
                if not program.identity or compiled.kernel.is_required:
                    raise
                quota_bytes = int(self._store.accounts["quota_bytes"][tenant])
                program = Loaded(worker_reason=quota_reason(bytes_of(program), quota_bytes))
                self._publish(tenant, compiled, block, version, slot, program)
        except BaseException:
            self._give_back(block)  # this record was never published, so nobody runs it
            if old is None and slot is not None:
                self._slots_free.append(slot)
            self._recharge(tenant)
            raise
        signature, frame_bytes = compiled.signature, compiled.frame_bytes
        entry = Entry(compiled.name, signature, version, block, frame_bytes, slot, program.worker_reason, compiled.library)
        entries[entry.name] = entry
        self.in_kernel.put(slot, tenant, entry.name, program)
        self._recharge(tenant)
        self.work_waits.set()
        if old:
            self._retire(tenant, old, None)
            self._forgive(slot)
        return entry

    def _publish(
        self, tenant: int, compiled: CompiledExtension, block: Block, version: int, slot: int, program: Loaded
    ) -> None:
        """Charge a tenant for an extension, and store its record. Raises as :meth:`install`, and has stored nothing then."""
        self._charge(tenant, compiled.name, block, bytes_of(program))
        value = record.build(
            compiled, block.address, block.offset, version, slot, program.identity, program.worker_reason, program.program_bytes
        )
        if len(value) > limits.EXTENSION_METADATA_BYTES_MAX:
            raise ControlError("the signature is too long", "bad_request")
        self._store.put(tenant, limits.TABLE_EXTENSIONS, compiled.name.encode(), value)

    def _taken_bytes(self, entries: Iterable[Entry], *more: Block) -> int:
        """What some extensions of one tenant, and ``more`` blocks, are charged."""
        entries = list(entries)
        return machine_code_bytes(entries, *more) + sum(self.in_kernel.taken_bytes(entry.slot) for entry in entries)

    def _recharge(self, tenant: int, *, forced: bool = True) -> None:
        """Charge a tenant for what it has installed; if ``forced`` whatever its quota says, since it has it. A worker that died
        with the tenant's lock is recovered from meanwhile."""
        for _ in range(_CHARGE_TRIES_MAX):
            with contextlib.suppress(BusyError):
                self._store.charge_code(tenant, self._taken_bytes(self._entries.get(tenant, {}).values()), forced=forced)
                return
        _log.error("what tenant %d is charged for machine code is not known until it installs something", tenant)

    def _charge(self, tenant: int, name: str, block: Block, kernel_bytes: int) -> None:
        """Charge a tenant for a block that it will use, and ``kernel_bytes`` in the kernel, in place of what it has under the
        name. Raises as :meth:`install`."""
        before = self._taken_bytes(self._entries[tenant].values())
        others = [entry for entry in self._entries[tenant].values() if entry.name != name]
        after = self._taken_bytes(others, block) + kernel_bytes
        wanted = machine_code_bytes(others, block)
        installed = {entry.block.place for entry in self._entries[tenant].values()}
        held = sum(size for _, size in {*self._waits_of[tenant], *installed, block.place})
        most = min(self.code_bytes_per_tenant, max(limits.CODE_BYTES_MAX, self._code.size - self._code.used_bytes))
        if held > most:
            raise ControlError(
                f"the tenant would hold {held:,} bytes of machine code, {held - wanted:,} of them replaced or removed "
                f"and perhaps still running; it may hold {most:,} now: uninstall something, or try again later",
                "code_memory_full",
            )
        try:
            self._store.charge_code(tenant, max(before, after))
        except QuotaExceededError:
            account = self._store.accounts[tenant]
            told = f" ({kernel_bytes:,} are taken in the kernel)" if kernel_bytes else ""
            raise QuotaExceededError(
                f"{after - before:,} bytes more of machine code{told} do not fit into the tenant's quota of "
                f"{int(account['quota_bytes']):,} bytes, of which {int(account['bytes_used']):,} are used "
                f"({before:,} by machine code)"
            ) from None

    def _take_slot(self) -> int:
        """A slot of counters that no worker writes, set to zero."""
        if self._slots_free:
            slot = self._slots_free.pop()
        elif self._slots_used < limits.EXTENSIONS_MAX:
            slot = self._slots_used
            self._slots_used += 1
        else:
            raise ControlError(f"a server has at most {limits.EXTENSIONS_MAX} extensions", "too_many_extensions")
        for row in self._counters:
            row[slot] = 0
        self.in_kernel.clear(slot)
        return slot

    def _take_block(self, compiled: CompiledExtension) -> Block:
        """The code of a compiled extension in the region: the one that is there of the same source, or a new one."""
        block = self._blocks.get(compiled.source_digest)
        if block is None:
            try:
                address, offset = self._code.write(compiled.code)
            except ServerError as error:
                raise ControlError(str(error), "code_memory_full") from None
            block = Block(compiled.source_digest, address, offset, len(compiled.code))
            self._blocks[block.digest] = block
        block.users += 1
        return block

    def _give_back(self, block: Block) -> None:
        """One user less; code without users is freed."""
        block.users -= 1
        if block.users == 0:
            del self._blocks[block.digest]
            self._code.free(block.offset)

    def uninstall(self, tenant: int, name: str) -> None:
        """Remove an extension; tasks that run it end as if it were there. Raises NoSuchExtensionError."""
        old = self.find(tenant, name)
        if old is None:
            raise error_for(Status.NO_EXTENSION, f"tenant {tenant} has no extension {name!r}")
        self._store.delete(tenant, limits.TABLE_EXTENSIONS, name.encode())
        del self._entries[tenant][name]
        self.in_kernel.remove(old.slot)
        self._recharge(tenant)
        self._retire(tenant, old, old.slot)

    def forget_tenant(self, tenant: int) -> None:
        """Release the code of a tenant whose records are gone already."""
        for entry in self._entries.pop(tenant, {}).values():
            self.in_kernel.remove(entry.slot)
            self._retire(_NOBODY, entry, entry.slot)
        # What it replaced is nobody's now: least of all of who gets its id next.
        self._waits_of[_NOBODY] += self._waits_of.pop(tenant, Counter())
        self._waiting = deque(replace(item, tenant=_NOBODY) if item.tenant == tenant else item for item in self._waiting)
        self._recharge(tenant)

    def upkeep(self) -> None:
        """Free the code, and the store's objects, that no worker can refer to any more."""
        while self._waiting and _is_unreachable(self._store, self._waiting[0].stamp):
            ended = self._waiting.popleft()
            waits, place = self._waits_of[ended.tenant], ended.block.place
            waits[place] -= 1
            if not waits[place]:
                del waits[place]
            self._give_back(ended.block)
            if ended.slot is not None:
                self._slots_free.append(ended.slot)
        if not self._reclaim_objects() and not self._waiting:
            self.work_waits.clear()

    def _reclaim_objects(self) -> bool:
        """Free objects that this process retired, and keep no free memory from the workers; returns whether more wait."""
        address = self._store.address
        epoch_enter(address, limits.PARTICIPANT_CONTROL, OLDEST_NONE)
        reclaim(address, limits.PARTICIPANT_CONTROL, _RECLAIM_SLOTS_MAX)
        retreat(address, limits.PARTICIPANT_CONTROL)
        epoch_leave(address, limits.PARTICIPANT_CONTROL)
        return bool(self._store.participants["limbo_head"][limits.PARTICIPANT_CONTROL])

    def _retire(self, tenant: int, entry: Entry, slot: int | None) -> None:
        self._waiting.append(Waiting(_date_now(self._store), tenant, entry.block, slot))
        self._waits_of[tenant][entry.block.place] += 1
        self.work_waits.set()


def _date_now(store: Store) -> int:
    """A date for what has just been made unreachable."""
    return int(epoch_now(store.address))


def _is_unreachable(store: Store, date: int) -> bool:
    """Whether nobody holds a reference from that date or before. Asking moves the epochs on."""
    if epoch_now(store.address) <= date:
        epoch_advance(store.address)
    return int(epoch_oldest(store.address)) > date
