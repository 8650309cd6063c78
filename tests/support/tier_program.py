"""The XDP program with its tier over a store in maps, and a worker in this process over the same store, to compare them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import numpy as np
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits, wire
from splinter.ext import record
from splinter.ext.abi import CONTEXT
from splinter.ext.compile import CompiledExtension
from splinter.net.bpf import MapForm
from splinter.net.bpf.maps import MMAPABLE
from splinter.net.device import need
from splinter.net.lab import CLIENT_ADDRESS, CLIENT_MAC, SERVER_ADDRESS, SERVER_DEVICE, SERVER_MAC
from splinter.net.tenants import TENANT
from splinter.net.tier import CPU, TENANT_WORK, TIER, WINDOW_UNITS, forms
from splinter.net.xdp import Verdict, XdpProgram
from splinter.net.xdp.extensions import ExtensionPrograms
from splinter.store.account_layout import ACCOUNT
from splinter.store.epochs import EPOCH_OFFLINE
from splinter.store.hashing import identity_of, store_hash
from splinter.store.index import bucket_number
from splinter.store.layout import ENTRY_TAG_SHIFT
from splinter.store.region import Region
from splinter.store.store import Store
from splinter.worker.reply import PENDING
from splinter.worker.requests import handle
from splinter.worker.turn import begin_turn
from splinter.worker.xdp.frame import is_intact, payload_length, payload_offset, turn_around
from tests.support.tenants import write_tenant
from tests.support.xdp_runs import Action, run_once

PORT, TENANT_ID, TOKEN = 7171, 7, 0xFEDC_BA98_7654_3210
LEFT = {Verdict.NO_SOCKET}  # what becomes of a request that is left to the worker: here is none
HEADER_BYTES = wire.HEADER.itemsize
_IP_AT = 14  # in a frame without a tag
FLAGS_AT = wire.HEADER.offset("flags")


@dataclass(frozen=True)
class Ran:
    """What became of a packet: action, the packet as it left the program, and which counters moved."""

    action: Action
    packet: bytes
    verdicts: set[Verdict]


class PausingProgram(XdpProgram):
    """As the server's, and it waits where the map ``pauses`` says: see ``bpf/pause.h``."""

    def _load(self, source: str, function: str, defines: Mapping[str, object]) -> int:
        return super()._load(source, function, {**defines, "PAUSES": 1})


class TierProgram:
    """In a lab's server namespace. ``pauses``: it can be made to wait."""

    def __init__(self, *, pauses: bool = False) -> None:
        self._open = ExitStack()
        buckets, slabs = Store.plan(limits.STORE_BYTES_MIN)
        maps = {
            "store_index": MapForm.shared(limits.BUCKET_BYTES, buckets),
            "store_slabs": MapForm.shared(limits.SLAB_BYTES, slabs),
            "tenants": MapForm.shared(TENANT.itemsize, limits.TENANTS_MAX),
            "accounts": MapForm.shared(ACCOUNT.itemsize, limits.TENANTS_MAX),
            "store_state": MapForm.shared(Store.state_bytes(limits.STORE_BYTES_MIN), 1),
            **forms(),
        }
        if pauses:
            maps["pauses"] = MapForm.shared(16, 1)
        fds = {name: form.make(name) for name, form in maps.items()}
        regions = {name: Region.from_fd(fds[name], form.mapped_bytes) for name, form in maps.items() if form.flags & MMAPABLE}
        self.program = (PausingProgram if pauses else XdpProgram)(
            SERVER_DEVICE, port=PORT, cores=1, queues=1, index_buckets=buckets, slabs=slabs, given=fds
        )
        self._open.callback(self.program.close)
        for fd in fds.values():
            os.close(fd)
        self.program.serve_at(need(SERVER_DEVICE).place)
        self.tenants = regions["tenants"].array(TENANT)
        self.store = Store.create(
            limits.STORE_BYTES_MIN, index_region=regions["store_index"], slabs_region=regions["store_slabs"],
            tenants_region=regions["tenants"], accounts_region=regions["accounts"], state_region=regions["store_state"],
            participants=1,
        )  # fmt: skip
        self.store.watch_cpus(regions["cpu_epochs"], maps["cpu_epochs"].entries)
        self.cpus = regions["cpu_epochs"].array(CPU, maps["cpu_epochs"].entries)
        self.work = regions["tenant_work"].array(TENANT_WORK).reshape(len(self.cpus), -1)
        self.tier = regions["tier"].array(TIER, 1)[0]
        self.tier["packet_bytes_max"] = limits.UDP_PAYLOAD_BYTES_MAX
        self.tier["window_units"] = WINDOW_UNITS
        if pauses:
            self.pauses = regions["pauses"].array(np.dtype("<u8"), 2)  # where to wait, where it waits
        write_tenant(self.tenants, TENANT_ID, TOKEN)
        self.store.open_tenant(TENANT_ID)
        self.worker = self._open.enter_context(WorkerInProcess(limits.STORE_BYTES_MIN))
        self.worker.new_block()
        block = self.worker._memory.block
        block["store"], block["tenants"] = self.store.address, regions["tenants"].address
        context = (ctypes.c_char * CONTEXT.itemsize).from_address(int(block["context"][0]))
        np.frombuffer(context, CONTEXT)["store"] = self.store.address  # what its extensions read
        block["packet_bytes_max"] = limits.UDP_PAYLOAD_BYTES_MAX
        self._block = block
        self._programs: ExtensionPrograms | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def set_packet_bytes(self, most: int) -> None:
        """How large a reply fits the device: for both."""
        self.tier["packet_bytes_max"] = self._block["packet_bytes_max"] = most

    def install(self, compiled: CompiledExtension, slot: int, name: str | None = None) -> None:
        """Install an extension in both, as ``name``. ``slot``: of its counters and its program."""
        if self._programs is None:
            self._programs = self.program.extension_programs()
        assert self._programs is not None
        loaded = self._programs.load(compiled.kernel.object_file, compiled.kernel.identity)
        assert not loaded.worker_reason, loaded.worker_reason
        assert self._programs.place(slot, loaded)
        loaded.close()
        address, at = self.worker._code.write(compiled.code)
        value = record.build(compiled, address, at, 1, slot, loaded.identity, "", loaded.program_bytes)
        self.store.put(TENANT_ID, limits.TABLE_EXTENSIONS, (name or compiled.name).encode(), value)

    def place_of(self, tenant: int, table: int, key: bytes) -> tuple[int, int]:
        """Bucket and tag of a key."""
        memory, store = ctypes.create_string_buffer(key, len(key)), self.store.address
        hashed = store_hash(store, identity_of(tenant, table, len(key)), ctypes.addressof(memory), len(key))
        return int(bucket_number(store, hashed)), (hashed & (1 << 64) - 1) >> ENTRY_TAG_SHIFT

    def run(self, packet: bytes) -> Ran:
        """Have the program judge a packet; whatever it does, the CPU holds nothing of the store afterwards."""
        before = self.program.counters()
        action, after_packet = run_once(self.program, packet)
        after = self.program.counters()
        assert (self.cpus["epoch"] == EPOCH_OFFLINE).all()
        return Ran(action, after_packet, {Verdict[name.upper()] for name in after if after[name] != before[name]})

    def refuses_each_flipped_bit(self, packet: bytes) -> None:
        """No bit behind the Ethernet header can be flipped so that the program or the worker answers the packet."""
        for bit in range(8 * _IP_AT, 8 * len(packet)):
            damaged = bytearray(packet)
            damaged[bit // 8] ^= 1 << bit % 8
            ran = self.run(bytes(damaged))
            assert ran.action != Action.TX, bit
            assert ran.packet == damaged
            assert self.ask_worker(bytes(damaged)) is None

    def ask_worker(self, packet: bytes) -> bytes | None:
        """The frame that the worker sends back; None: none."""
        memory = np.zeros(limits.CHUNK_BYTES, np.uint8)
        memory[: len(packet)] = np.frombuffer(packet, np.uint8)
        frame = memory.ctypes.data
        length = payload_length(frame, len(packet))
        if length < HEADER_BYTES or not is_intact(frame, length, bool(self.tier["takes_partial"])):
            return None
        begin_turn(self.worker.address)
        reply = handle(self.worker.address, frame + payload_offset(frame), length, 0, 0, 0)
        assert reply != PENDING, "a task that waits has no answer yet"
        return memory[: turn_around(frame, reply)].tobytes() if reply > 0 else None


def is_as_the_worker_s(tier: TierProgram, packet: bytes, verdict: Verdict) -> bytes:
    """The program answers a packet, byte for byte as the worker; returns the value of the answer."""
    ran = tier.run(packet)
    assert (ran.action, ran.verdicts) == (Action.TX, {verdict})
    told = without_flag(ran.packet)
    assert told == tier.ask_worker(packet)
    return bytes(Ether(told)[UDP].payload)[HEADER_BYTES:]


def is_left(tier: TierProgram, packet: bytes, *reasons: Verdict) -> bytes | None:
    """The packet goes on as it came; returns what the worker answers."""
    ran = tier.run(packet)
    assert (ran.action, ran.verdicts, ran.packet) == (Action.DROP, LEFT | set(reasons), packet)
    return tier.ask_worker(packet)


def get(key: bytes, padding: bytes = b"", **fields: int) -> bytes:
    """A request's payload."""
    wanted = {
        "tenant": TENANT_ID, "token": TOKEN, "opcode": wire.Opcode.GET, "client": 0x1234_5678_9ABC_DEF0, "sequence": 77,
        "key_length": len(key), "value_length": len(padding), "acknowledged": 5,
    }  # fmt: skip
    return wire.Header(**(wanted | fields)).pack() + key + padding


def frame(payload: bytes, *, tag: int | None = None, trailer: bytes = b"", **ip: object) -> bytes:
    """The payload in a frame of a client of the lab."""
    ethernet = Ether(src=CLIENT_MAC, dst=SERVER_MAC)
    if tag is not None:
        ethernet = ethernet / Dot1Q(vlan=tag)
    return bytes(ethernet / IP(src=CLIENT_ADDRESS, dst=SERVER_ADDRESS, **ip) / UDP(sport=40000, dport=PORT) / payload) + trailer


def without_flag(packet: bytes) -> bytes:
    """The program's reply as the worker would have sent it: without the flag, its checksum mended."""
    seen = Ether(packet)
    assert seen[UDP].chksum == Ether(bytes(_blank(seen)))[UDP].chksum, "the checksum is wrong"
    payload = bytearray(bytes(seen[UDP].payload))
    assert payload[FLAGS_AT] == wire.FLAG_REPLY | wire.FLAG_KERNEL
    payload[FLAGS_AT] = wire.FLAG_REPLY
    seen[UDP].remove_payload()
    return bytes(_blank(seen / bytes(payload)))


def _blank(packet: Ether) -> Ether:
    """To be summed up anew."""
    copy = packet.copy()
    del copy[UDP].chksum
    return copy
