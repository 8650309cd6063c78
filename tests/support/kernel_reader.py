"""A get by the XDP program over a store in BPF maps, without a server: paused at a place of it, if that is wanted."""

from __future__ import annotations

import threading

import numpy as np

from splinter import limits, wire
from splinter.errors import Status
from splinter.net.bpf import MapForm
from splinter.net.device import need
from splinter.net.lab import SERVER_DEVICE
from splinter.net.tenants import TENANT
from splinter.net.tier import CPU, TIER, WINDOW_UNITS
from splinter.server.supervisor.store_maps import forms
from splinter.store.epochs import EPOCH_OFFLINE
from splinter.store.region import Region
from splinter.store.store import Store
from tests.support.held_cpu import be_held
from tests.support.tenants import write_tenant
from tests.support.tier_program import PORT, TOKEN, PausingProgram, frame, get
from tests.support.xdp_runs import Action, run_once

NOWHERE = 0
_HEADERS_BYTES = 42
_MEMORY = ("store_index", "store_slabs", "tenants", "accounts", "store_state")
_STORE_REGIONS = (*_MEMORY, "cpu_epochs", "tenant_work")
_PAGE = 4096
SECONDS_MAX = 20.0
_LOOK_SECONDS = 5e-5  # between looks for a get that comes to its place: who spins keeps the interpreter from it

Answer = bytes | None
Memory = dict[str, np.ndarray]
"""A copy of a store's memory: bytes by region, of shape (pages, page)."""
Pages = dict[str, tuple[np.ndarray, np.ndarray]]
"""Some pages of it: their numbers, and their bytes, by region."""


class HandedOver(Exception):
    """The program leaves the request to a worker."""


def difference(before: Memory, after: Memory) -> Pages:
    """The pages of ``after`` that are not as before."""
    changed = {name: np.flatnonzero((before[name] != after[name]).any(axis=1)) for name in after}
    return {name: (numbers, after[name][numbers]) for name, numbers in changed.items() if len(numbers)}


class KernelReader:
    """A store of the smallest size in BPF maps, and the program that reads it. In the network namespace of a lab's server."""

    def __init__(self) -> None:
        self._forms = {**forms(limits.STORE_BYTES_MIN), "pauses": MapForm.shared(16, 1)}
        descriptors = {name: form.make(name) for name, form in self._forms.items()}
        buckets, slabs = Store.plan(limits.STORE_BYTES_MIN)
        self.program = PausingProgram(
            SERVER_DEVICE, port=PORT, cores=1, queues=1, index_buckets=buckets, slabs=slabs, given=descriptors
        )
        assert not self.program.tier_off, self.program.tier_off
        self.program.serve_at(need(SERVER_DEVICE).place)
        self._regions = {name: self._region(name) for name in (*_STORE_REGIONS, "tier")}
        tier = self._regions["tier"].array(TIER, 1)[0]
        tier["packet_bytes_max"], tier["window_units"] = limits.UDP_PAYLOAD_BYTES_MAX, WINDOW_UNITS
        self._pauses = self._region("pauses").array(np.dtype("<u8"), 2)
        self._frames: dict[tuple[int, int, bytes], bytes] = {}

    def _region(self, name: str) -> Region:
        return Region.from_fd(self.program.map_fd(name), self._forms[name].mapped_bytes)

    def new_store(self, tenant: int) -> Store:
        """An empty store in place of the last one, with a tenant that may write, and whose gets are authorised."""
        regions = self._regions
        for name in _STORE_REGIONS:
            regions[name].array(np.dtype("u1"))[:] = 0
        store = Store.create(
            limits.STORE_BYTES_MIN, index_region=regions["store_index"], slabs_region=regions["store_slabs"],
            tenants_region=regions["tenants"], accounts_region=regions["accounts"], state_region=regions["store_state"],
            participants=2,
        )  # fmt: skip
        store.watch_cpus(regions["cpu_epochs"], self._forms["cpu_epochs"].entries)
        store.open_tenant(tenant)
        write_tenant(regions["tenants"].array(TENANT), tenant, TOKEN)
        return store

    def memory(self) -> Memory:
        """The whole of the store's memory as it is."""
        return {name: self._pages(name).copy() for name in _MEMORY}

    def restore(self, memory: Memory) -> None:
        """Have the store's memory as it was then."""
        for name, saved in memory.items():
            self._pages(name)[:] = saved

    def write(self, pages: Pages) -> None:
        """Have some pages as they are told."""
        for name, (numbers, content) in pages.items():
            self._pages(name)[numbers] = content

    def _pages(self, name: str) -> np.ndarray:
        return self._regions[name].array(np.dtype("u1")).reshape(-1, _PAGE)

    def hold_epoch(self, epoch: int) -> None:
        """Have a CPU in an epoch, as a get does that waits; ``EPOCH_OFFLINE``: in none."""
        self._regions["cpu_epochs"].array(CPU, 1)["epoch"] = epoch

    def is_offline(self) -> bool:
        """Whether no CPU is in an epoch."""
        cells = self._regions["cpu_epochs"].array(CPU, self._forms["cpu_epochs"].entries)
        return bool((cells["epoch"] == EPOCH_OFFLINE).all())

    def get(self, tenant: int, key: bytes, table: int = 0) -> Answer:
        """The value of a key, or None. Raises :class:`HandedOver`."""
        known = (tenant, table, key)
        if known not in self._frames:
            padding = bytes(limits.PACKET_BODY_BYTES_MAX - len(key))
            self._frames[known] = frame(get(key, padding, tenant=tenant, table=table))
        action, reply = run_once(self.program, self._frames[known])
        if action != Action.TX:
            assert reply == self._frames[known], "a request that is handed over was changed"
            raise HandedOver
        payload = reply[_HEADERS_BYTES:]
        header = wire.Header.unpack(payload)
        assert header.flags == wire.FLAG_REPLY | wire.FLAG_KERNEL
        assert header.value_length == len(payload) - limits.REQUEST_HEADER_BYTES
        if header.status == Status.NOT_FOUND:
            return None
        assert header.status == Status.OK, header
        return payload[limits.REQUEST_HEADER_BYTES :]

    def begin(self, tenant: int, key: bytes, place: int) -> PausedGet:
        """A get that waits at a place, or has ended without coming there."""
        self._pauses[0], self._pauses[1] = place, NOWHERE
        paused = PausedGet(self, tenant, key)
        while self._pauses[1] != place and not paused.ends_within(_LOOK_SECONDS):
            pass
        paused.came_there = self._pauses[1] == place
        return paused

    def let_go(self) -> None:
        """Let a get that waits go on."""
        self._pauses[0] = NOWHERE

    def close(self) -> None:
        """Close program and maps."""
        self.program.close()


class PausedGet:
    """A get under way."""

    def __init__(self, reader: KernelReader, tenant: int, key: bytes) -> None:
        self.came_there = False
        self._reader = reader
        self._result: list[Answer | BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(tenant, key), daemon=True)
        self._thread.start()

    def _run(self, tenant: int, key: bytes) -> None:
        be_held()
        try:
            self._result.append(self._reader.get(tenant, key))
        except BaseException as error:  # raised where its end is waited for
            self._result.append(error)

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end for a while; returns whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def end(self) -> Answer:
        """Let it go on, and return what it finds. Raises :class:`HandedOver`."""
        self._reader.let_go()
        self._thread.join(SECONDS_MAX)
        assert self._result, "the program does not end"
        if isinstance(self._result[0], BaseException):
            raise self._result[0]
        return self._result[0]
