"""XDP transport: the program on the device, one UMEM, one socket for each queue and worker."""

from __future__ import annotations

import ipaddress
import logging
import mmap
from typing import Any

import numpy as np
from numba import types

from splinter import limits
from splinter.errors import ServerError, TransportUnavailableError
from splinter.native.memory import SharedArena
from splinter.net.afxdp import Umem, XskSocket
from splinter.net.bpf import syscall
from splinter.net.depths import DEPTH
from splinter.net.device import Device, find, need
from splinter.net.netns import inside
from splinter.net.tier import TIER, WINDOW_UNITS
from splinter.net.xdp import XdpProgram
from splinter.net.xdp.attach import AttachMode
from splinter.net.xdp.extensions import ExtensionPrograms
from splinter.server.config import ServerConfig
from splinter.server.device_state import DeviceCondition, DeviceState
from splinter.server.pinned import detach_and_close
from splinter.server.supervisor.ports import port_of, take_unused
from splinter.server.supervisor.store_maps import StoreMaps
from splinter.store.region import Region
from splinter.store.store import Store
from splinter.worker.layout import QUEUE_LOCK
from splinter.worker.memory import WorkerMemory

logger = logging.getLogger(__name__)
_U64 = np.dtype("<u8")
_HEADERS_BYTES = 28  # IPv4 and UDP
_ADDRESSES_TOLD = 8  # at most, in a message
_UMEM_BYTES_MAX = limits.QUEUES_MAX * limits.CHUNKS_PER_QUEUE * limits.CHUNK_BYTES


class XdpTransport:
    """Everything on the device's side. Made in three steps, as the store's maps come from the XDP program:
    construct (loads the program), :meth:`open_sockets`, :meth:`prepare` for each worker; then :meth:`attach`.

    A device that went away, or has other queues, is served anew by :meth:`close_sockets`, :meth:`open_sockets`,
    :meth:`prepare` and :meth:`attach`, while no worker runs. Memory that workers know addresses of stays where it is: it is
    for as many queues as there may be.
    """

    name = "xdp"
    homes_elsewhere_max: int | None = None  # no limit

    def __init__(self, config: ServerConfig, kept: StoreMaps) -> None:
        assert config.device is not None
        self.cores = len(config.cores)
        self.netns = config.netns
        self.state = DeviceState()
        self._config = config
        self._kept = kept
        index_buckets, slabs = Store.plan(config.memory_bytes)
        self._steer_away = config.steer_away > 0
        self._memories: list[WorkerMemory] = []
        named = config.address is not None and not ipaddress.IPv4Address(config.address).is_unspecified
        self._only = config.address if named else None  # of the device's addresses; None: all
        with inside(self.netns):
            self._found = need(config.device)
            check_device(self._found)
            if self._only is None and self._found.address is None:
                raise TransportUnavailableError(
                    f"device {config.device!r} has no IPv4 address: give it one, or use --transport udp"
                )
            if obstacle := self._lacks_address(self._found):
                raise ServerError(f"{obstacle}: give --address one of these, or the device that address")
            self.address = self._only or str(self._found.address)
            self.listener = take_unused(config, self.address)
            self.port = config.port = port_of(self.listener)
            self.program = XdpProgram(
                self._found.name,
                port=self.port,
                cores=self.cores,
                queues=limits.QUEUES_MAX,
                tenants_max=limits.TENANTS_MAX,
                index_buckets=index_buckets,
                slabs=slabs,
                locality=config.locality,
                steer_away=config.steer_away,
                given=kept.descriptors,
                tier_off="kernel_tier is off" if config.kernel_tier == "off" else "",
                durable=config.data is not None,
            )
            self.extension_programs = self._programs()
        print(f"gets are answered by {self.gets_answered_by}")
        self._tier = kept.region("tier").array(TIER, 1)[0]
        self._tier["window_units"] = WINDOW_UNITS
        self._sockets: list[list[XskSocket]] = []  # by queue, then core slot
        chunks = limits.QUEUES_MAX * limits.CHUNKS_PER_QUEUE
        rings = limits.QUEUES_MAX * (1 + self.cores)
        arena = SharedArena(QUEUE_LOCK.itemsize * rings + SharedArena.rounded(_U64.itemsize * chunks) + 128)
        self._locks = arena.array(QUEUE_LOCK, limits.QUEUES_MAX)
        self._rx_locks = arena.array(QUEUE_LOCK, limits.QUEUES_MAX * self.cores)
        self._states = arena.array(_U64, chunks)
        self._umem_memory = mmap.mmap(-1, _UMEM_BYTES_MAX)  # only what is used takes memory
        depths = Region.from_fd(self.program.map_fd("depths"), self.program.map_bytes("depths"))
        self._depths = depths.array(DEPTH, self.cores)

    def _programs(self) -> ExtensionPrograms | None:
        """What puts extensions into the kernel; None, and a line that says why, where only gets are answered there."""
        try:
            return self.program.extension_programs()
        except ServerError as error:
            print(f"extensions run in workers alone: {error}")
            return None

    @property
    def gets_answered_by(self) -> str:
        """Whether the kernel answers gets, and if not, why: words for people."""
        off = self.program.tier_off
        return f"workers alone: {off}" if off else "the kernel where it can, else by workers"

    @property
    def device(self) -> str:
        """The device's name, which may change."""
        return self._found.name

    @property
    def found(self) -> Device:
        """The device as it is served."""
        return self._found

    @property
    def queues(self) -> int:
        """Receive queues that have sockets."""
        return len(self._sockets)

    @property
    def mode(self) -> str:
        """How the program is attached."""
        return self.state.mode

    @property
    def chunks_in_use(self) -> int:
        """Of the UMEM."""
        return self.queues * limits.CHUNKS_PER_QUEUE

    # --- sockets -----------------------------------------------------------------------------------------------------------

    def open_sockets(self, device: Device | None = None) -> None:
        """One socket for each queue and core slot of the device, all over one UMEM. Raises as :class:`XskSocket` does."""
        device = device or self._found
        check_device(device)
        with inside(self.netns):
            umem = Umem(device.queues * limits.CHUNKS_PER_QUEUE, limits.CHUNK_BYTES, buffer=self._umem_memory)
            try:
                for queue in range(device.queues):
                    self._sockets.append([])
                    for core in range(self.cores):
                        self._sockets[queue].append(self._open(umem, device.name, queue))
                        self.program.set_socket(queue, core, self._sockets[queue][core].fd)
            except BaseException:
                self.close_sockets()
                raise
        self._found = device
        self.program.move(device.name, device.ifindex)
        self.state.set(queues=self.queues, ifindex=device.ifindex)

    def _open(self, umem: Umem, device: str, queue: int) -> XskSocket:
        entries = limits.RING_ENTRIES
        return XskSocket(
            umem, device, queue, rx_entries=entries, tx_entries=entries, fill_entries=entries, completion_entries=entries
        )

    def close_sockets(self) -> None:
        """Close all sockets; the queues are free when no process has them any longer."""
        for queue, row in enumerate(self._sockets):
            for core, xsk in enumerate(row):
                self.program.clear_socket(queue, core)
                xsk.close()
        self._sockets.clear()
        self.state.set(queues=0)

    def break_locks(self) -> None:
        """Free the locks of all rings. Nobody may run who could hold one."""
        self._locks["holder"] = 0
        self._rx_locks["holder"] = 0

    def prepare(self, worker: WorkerMemory) -> None:
        """Give a worker its socket of each queue. The last one prepared also fills the fill rings."""
        from splinter.worker.chunks import fill_all

        block = worker.block
        block["queues"] = self.queues
        for queue in range(self.queues):
            block["sockets"][0, queue] = self._sockets[queue][worker.index].record
        block["queue_locks"] = self._locks.ctypes.data
        block["rx_locks"] = self._rx_locks.ctypes.data
        block["chunks"] = self._states.ctypes.data
        if self._steer_away:
            block["depth"] = self._depths[worker.index : worker.index + 1].ctypes.data
        block["umem"] = np.frombuffer(self._umem_memory, np.uint8, 1).ctypes.data
        worker.poll_on([self._sockets[queue][worker.index].fd for queue in range(self.queues)])
        if worker not in self._memories:
            self._memories.append(worker)
        if worker.index == self.cores - 1:
            fill_all(worker.address)
        self._tell(worker)

    def steer(self, elsewhere: dict[int, int]) -> None:
        """Nothing to do: the program reads each tenant's home from the tenants' table."""

    # --- the device ----------------------------------------------------------------------------------------------------------

    def look(self) -> Device | None:
        """The device as it is now: the one that is served, under whatever name, else the one that has its name."""
        assert self._config.device is not None
        with inside(self.netns):
            return find(self._found.ifindex) or find(self._config.device)

    def follow(self, device: Device) -> None:
        """Take over what has changed of the served device: name, MTU, addresses. Raises as :meth:`XdpProgram.serve_at`."""
        assert device.ifindex == self._found.ifindex
        if device.name != self._found.name:
            logger.warning("%s is called %s now", self._found.name, device.name)
        if device.mtu != self._found.mtu:
            logger.warning("%s: the MTU is %d now, it was %d", device.name, device.mtu, self._found.mtu)
        self._found = device
        self.program.move(device.name, device.ifindex)
        self._tell_tier()
        for worker in self._memories:
            self._tell(worker)
        self.state.set(mtu=device.mtu)
        self.program.serve_at(self._place(device))

    def _place(self, device: Device) -> Any:
        return device.place.only(self._only) if self._only else device.place

    def _lacks_address(self, device: Device) -> str:
        """What is wrong with a device that has no address to serve; empty when it has one."""
        own = sorted(device.place.addresses, key=ipaddress.IPv4Address)
        if not own:
            return f"{device.name} has no IPv4 address"
        if self._only is None or self._only in own:
            return ""
        more = f" and {len(own) - _ADDRESSES_TOLD} more" if len(own) > _ADDRESSES_TOLD else ""
        return f"{device.name} does not have the address {self._only}, but {', '.join(own[:_ADDRESSES_TOLD])}{more}"

    def judge(self, device: Device) -> tuple[DeviceCondition, str]:
        """How the device does while our program is on it, and what is not as it should be (empty: nothing).

        What a start is refused for is told here: addresses and MTU may change at any time, and the server goes on with less.
        """
        if obstacle := self._lacks_address(device):
            return DeviceCondition.DOWN, obstacle
        if not device.is_up:
            return DeviceCondition.DOWN, ""
        try:
            check_device(device)
        except ServerError as error:
            return DeviceCondition.SERVED, str(error)
        return DeviceCondition.SERVED, ""

    def _tell(self, worker: WorkerMemory) -> None:
        """Write into a worker's block what it must know of the device."""
        worker.block["packet_bytes_max"] = self._packet_bytes_max()
        worker.block["takes_partial"] = self._takes_partial()

    def _tell_tier(self) -> None:
        """The same to the program."""
        self._tier["packet_bytes_max"] = self._packet_bytes_max()
        self._tier["takes_partial"] = self._takes_partial()

    def _packet_bytes_max(self) -> int:
        most = self._found.mtu - _HEADERS_BYTES
        return max(min(most, limits.UDP_PAYLOAD_BYTES_MAX), limits.UDP_PAYLOAD_BYTES_MIN)

    def _takes_partial(self) -> bool:
        partial = self._config.partial_checksums
        return self._found.has_partial_checksums if partial == "auto" else partial == "accept"

    def attach(self) -> None:
        """Let packets in. Raises as the program's ``attach`` does."""
        with inside(self.netns):
            device = find(self._found.ifindex)
            if device is None:
                raise ServerError(f"the network device {self._found.name} is gone")
            self.follow(device)
            self._kept.pin()
            mode = self._put_on(device)
        self._kept.has_served = True
        self.state.set(generic=mode == "generic")
        self.state.become(*self.judge(device))

    def _put_on(self, device: Device) -> AttachMode:
        """Put the program on the device, where an earlier server has left one in its place without a gap. Returns the mode."""
        if self.program.link_fd is None and (left := self._kept.link_left()) is not None:
            # A link whose program is the device's is the device's, too: other devices may have its number elsewhere.
            if device.program and syscall.program_number(left) == device.program:
                mode: AttachMode = "generic" if device.has_generic_program else "native"
                try:
                    self.program.take_over(left, mode)
                    return mode
                except OSError as error:
                    logger.warning("%s: the program of the server before is taken off first (%s)", device.name, error.strerror)
            detach_and_close(left)
        self.program.detach()
        mode = self.program.attach()
        self._kept.pin_link(self.program.link_fd)
        return mode

    def detach(self, *, stays: bool = False) -> None:
        """Let no more packets in; where the program ``stays``, it is left to the next server."""
        if stays:
            self.program.leave()
        else:
            self.program.detach()

    def is_attached_to(self, device: Device) -> bool:
        """Whether our program, and no other, is on the device."""
        return device.ifindex == self._found.ifindex and device.program == self.program.number

    # --- what the supervisor asks of every transport -----------------------------------------------------------------------

    def entry(self) -> Any:
        """The compiled loop of this transport: loaded, or compiled now."""
        from splinter.worker.xdp.loop import serve_xdp

        serve_xdp.compile((types.int64,))
        return serve_xdp

    def recover(self, worker: WorkerMemory) -> tuple[int, int]:
        """Take back the chunks that a dead worker had; returns how many, and how many queues are left to be done later."""
        from splinter.worker.chunks import recover_chunks

        reclaimed, left = recover_chunks(worker.address)
        return int(reclaimed), int(left)

    def statistics(self) -> dict[str, Any]:
        """The program's counters, the sockets' statistics summed, and chunks by what is being done with them."""
        from splinter.worker.chunks import KINDS, count_kinds

        kinds = np.zeros(KINDS, _U64)
        count_kinds(self._states.ctypes.data, self.chunks_in_use, kinds.ctypes.data)
        filled, received, sending, sent, held = (int(kinds[kind]) for kind in range(1, KINDS))
        totals: dict[str, int] = {}
        for row in self._sockets:
            for xsk in row:
                for name, value in vars(xsk.statistics()).items():
                    totals[name] = totals.get(name, 0) + int(value)
        locks = int(np.count_nonzero(self._locks["holder"]) + np.count_nonzero(self._rx_locks["holder"]))
        return {
            "xdp": self.program.counters(),
            "gets_answered_by": self.gets_answered_by,
            "sockets": totals,
            "zero_copy": all(xsk.zero_copy for row in self._sockets for xsk in row),
            "chunks": {
                "total": self.chunks_in_use,
                "free": filled,
                "received": received + held,
                "sending": sending,
                "sent": sent,
            },
            "ring_locks_held": locks,
            "device": self.state.statistics(),
        }

    def queue_depths(self) -> dict[str, list[int]]:
        """By core slot: ``packets`` that wait in its RX rings."""
        return {"packets": [sum(xsk.rx.filled for xsk in column) for column in zip(*self._sockets, strict=True)]}

    def close(self) -> None:
        """Detach the program and close the sockets."""
        self.program.detach()
        self.close_sockets()
        self.listener.close()


def check_device(device: Device) -> None:
    """Raise :class:`ServerError` for a device that cannot be served as it is."""
    if not device.is_ethernet:
        what = "is a loopback device" if device.is_loopback else "has no Ethernet packets"
        raise TransportUnavailableError(f"{device.name} {what}, XDP would serve nobody there: use --transport udp")
    if device.queues > limits.QUEUES_MAX:
        raise ServerError(
            f"{device.name} has {device.queues} receive queues in use, at most {limits.QUEUES_MAX} are served: "
            f"ethtool -L {device.name} combined {limits.QUEUES_MAX}"
        )
    if device.mtu < limits.MTU_MIN:
        raise ServerError(
            f"{device.name} has an MTU of {device.mtu}, at least {limits.MTU_MIN} is needed: "
            f"ip link set dev {device.name} mtu {limits.MTU}"
        )
