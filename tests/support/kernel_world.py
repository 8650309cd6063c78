"""The third world: extensions in the kernel, by ``BPF_PROG_TEST_RUN`` of the server's own XDP program over a real store.

A request is a real packet. The program authenticates it, finds the extension's record in the store, and calls its program. That
makes the packet the reply. No device is needed beside the loopback's number, no server and no worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from splinter import limits, wire
from splinter.ext import record
from splinter.ext.compile import CompiledExtension
from splinter.net import tier
from splinter.net.bpf import maps
from splinter.net.place import Place
from splinter.net.tenants import TENANT, TENANT_ACTIVE
from splinter.net.xdp import XdpProgram
from splinter.net.xdp.extensions import ExtensionPrograms
from splinter.server.supervisor import store_maps
from splinter.store.epochs import EPOCH_OFFLINE
from splinter.store.operations import store_find
from splinter.store.region import Region
from splinter.store.store import Store
from tests.support.xdp_runs import Action, run_once

TENANT_ID, TOKEN, SLOT, PORT = 1, 77, 5, 4242
OWN, CLIENT = "10.9.0.1", "10.9.0.2"
_OWN_MAC, _CLIENT_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
_BYTES = limits.STORE_BYTES_MIN
_REGIONS = ("store_index", "store_slabs", "tenants", "accounts", "store_state", "cpu_epochs", "tier")
_PACKET_BYTES_MAX = limits.UDP_PAYLOAD_BYTES_MAX


class KernelWorld:
    """A store in BPF maps with one tenant, the XDP program, and the extension that was installed last."""

    def __init__(self) -> None:
        forms = {**store_maps.forms(_BYTES), **tier.forms()}
        self._fds = {name: form.make(name) for name, form in forms.items()}
        regions = {name: Region.from_fd(self._fds[name], forms[name].mapped_bytes) for name in _REGIONS}
        buckets, slabs = Store.plan(_BYTES)
        self.store = Store.create(
            _BYTES, index_region=regions["store_index"], slabs_region=regions["store_slabs"], tenants_region=regions["tenants"],
            accounts_region=regions["accounts"], state_region=regions["store_state"],
        )  # fmt: skip
        self.epochs = regions["cpu_epochs"].array(tier.CPU, maps.possible_cpus())["epoch"]
        self.epochs[:] = EPOCH_OFFLINE
        known = regions["tier"].array(tier.TIER, 1)[0]
        known["packet_bytes_max"], known["window_units"] = _PACKET_BYTES_MAX, 1 << 30
        tenant = regions["tenants"].array(TENANT, 2)[TENANT_ID]
        tenant["token"], tenant["generation"], tenant["flags"] = TOKEN, 1, TENANT_ACTIVE
        self.store.open_tenant(TENANT_ID)
        self.program = XdpProgram(
            "lo", port=PORT, cores=1, queues=1, index_buckets=buckets, slabs=slabs, given=self._fds
        )  # fmt: skip
        assert not self.program.tier_off, self.program.tier_off
        self.program.serve_at(Place(frozenset({OWN}), frozenset(), frozenset({_OWN_MAC})))
        programs = self.program.extension_programs()
        assert programs is not None
        self.programs: ExtensionPrograms = programs
        self._sequence = 0
        self._places: set[tuple[int, bytes]] = set()

    def close(self) -> None:
        """Close the program and the maps."""
        self.program.close()
        for fd in self._fds.values():
            os.close(fd)

    def put(self, objects: Mapping[tuple[int, bytes], bytes]) -> dict[tuple[int, bytes], int]:
        """Store objects; their versions."""
        self._places |= objects.keys()
        return {(table, key): self.store.put(TENANT_ID, table, key, bytes(value)) for (table, key), value in objects.items()}

    def remove_objects(self) -> None:
        """Delete all that was put."""
        for table, key in self._places:
            self.store.delete(TENANT_ID, table, key)
        self._places.clear()

    @contextlib.contextmanager
    def odd_version(self, table: int, key: bytes) -> Iterator[None]:
        """An object's version as it is before its commit is counted."""
        found = store_find(self.store.address, TENANT_ID, table, _address(key), len(key), 0)
        version = ctypes.c_uint64.from_address(found)
        version.value |= 1
        try:
            yield
        finally:
            version.value &= ~1

    def delete(self, table: int, key: bytes) -> None:
        """Delete an object."""
        assert self.store.delete(TENANT_ID, table, key)

    def install(self, compiled: CompiledExtension) -> str:
        """Have the kernel run an extension; the reason why it does not, empty if it does."""
        if not compiled.kernel.object_file:
            return compiled.kernel.text
        loaded = self.programs.load(compiled.kernel.object_file, compiled.kernel.identity)
        self.programs.place(SLOT, loaded)
        self.publish(compiled, loaded.identity)
        loaded.close()
        return loaded.worker_reason

    def publish(self, compiled: CompiledExtension, identity: int) -> None:
        """Write the record that names an extension's code in the kernel."""
        value = record.build(compiled, limits.UDP_PAYLOAD_BYTES_MAX, 0, 1, SLOT, identity)
        self.store.put(TENANT_ID, limits.TABLE_EXTENSIONS, compiled.name.encode(), value)

    def reply(self, name: str, arguments: bytes, **fields: int) -> tuple[wire.Header, bytes] | None:
        """The kernel's reply to an invoke; None: it leaves the request, which is as it was, to a worker."""
        return self.sent(self.request(name, arguments, **fields))

    def sent(self, request: bytes) -> tuple[wire.Header, bytes] | None:
        """The same for a frame."""
        action, after = run_once(self.program, request)
        assert (self.epochs == EPOCH_OFFLINE).all(), "the CPU did not leave its epoch"
        if action is not Action.TX:
            assert after == request, "the frame of a request that is left is not as it came"
            return None
        return parse_reply(request, after)

    def invoke(self, compiled: CompiledExtension, *args: Any) -> Any:
        """The result of the extension that was installed last, None when a worker has to run it: in a list of one."""
        told = self.reply(compiled.name, compiled.signature.pack(args))
        return None if told is None else [compiled.signature.unpack(told[1])]

    def request(self, name: str, arguments: bytes, **fields: int) -> bytes:
        """The frame of an invoke."""
        self._sequence += 1
        told = {
            "opcode": wire.Opcode.INVOKE, "tenant": TENANT_ID, "token": TOKEN, "client": 9, "sequence": self._sequence,
            "key_length": len(name), "value_length": len(arguments),
        }  # fmt: skip
        return frame(wire.Header(**{**told, **fields}).pack() + name.encode() + arguments)

    def count(self, verdict: str) -> int:
        """Of the program's counters."""
        return self.program.counters()[verdict]


def _address(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def frame(payload: bytes) -> bytes:
    """A whole frame of UDP over IPv4 from the client to the server."""
    addresses = bytes(map(int, CLIENT.split("."))) + bytes(map(int, OWN.split(".")))
    length = struct.pack(">H", 8 + len(payload))
    ip = b"\x45\0" + struct.pack(">H", 28 + len(payload)) + bytes(4) + b"\x40\x11"
    ip += _checksum(ip + bytes(2) + addresses) + addresses
    udp = struct.pack(">HH", 5000, PORT) + length
    pseudo = addresses + b"\0\x11" + length
    checksum = _checksum(pseudo + udp + bytes(2) + payload)
    macs = bytes.fromhex((_OWN_MAC + _CLIENT_MAC).replace(":", ""))
    return macs + b"\x08\0" + ip + udp + (checksum if checksum != bytes(2) else b"\xff\xff") + payload


def parse_reply(request: bytes, reply: bytes) -> tuple[wire.Header, bytes]:
    """Header and value of a reply, after its frame has been checked: addressed back, with right checksums and lengths."""
    assert reply[:12] == request[6:12] + request[:6] and reply[12:14] == request[12:14]
    ip, udp, payload = reply[14:34], reply[34:42], reply[42:]
    assert ip[12:20] == request[30:34] + request[26:30] and udp[:4] == request[36:38] + request[34:36]
    assert _checksum(ip) == bytes(2)
    assert struct.unpack(">H", ip[2:4])[0] == 28 + len(payload) and struct.unpack(">H", udp[4:6])[0] == 8 + len(payload)
    assert _checksum(ip[12:20] + b"\0\x11" + udp[4:6] + udp + payload) == bytes(2)
    header = wire.Header(**dict(zip(wire.FIELDS, wire.HEADER.struct.unpack_from(payload), strict=True)))
    value = payload[wire.HEADER.itemsize :]
    assert header.flags == wire.FLAG_REPLY | wire.FLAG_KERNEL and header.value_length == len(value)
    return header, value


def _checksum(content: bytes) -> bytes:
    words = np.frombuffer(content + bytes(len(content) % 2), ">u2")
    total = int(words.sum(dtype=np.uint64))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF).to_bytes(2, "big")
