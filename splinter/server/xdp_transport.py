"""XDP transport: the program on the device, one UMEM, one socket for each queue and worker."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from pyroute2 import IPRoute

from splinter import limits
from splinter.errors import ServerError, TransportUnavailableError
from splinter.native.memory import SharedArena
from splinter.net.afxdp import Umem, XskSocket
from splinter.net.depths import DEPTH
from splinter.net.netns import inside
from splinter.net.xdp import XdpProgram
from splinter.server.config import ServerConfig
from splinter.store.region import Region
from splinter.worker.layout import QUEUE_LOCK
from splinter.worker.memory import WorkerMemory

logger = logging.getLogger(__name__)
_AF_INET = 2
_U64 = np.dtype("<u8")


def device_address(device: str) -> str:
    """First IPv4 address of a device in the current namespace. Raises :class:`TransportUnavailableError` if it has none."""
    with IPRoute() as route:
        found = route.link_lookup(ifname=device)
        if not found:
            raise TransportUnavailableError(f"no network device {device!r} here")
        for message in route.get_addr(family=_AF_INET, index=found[0]):
            return str(message.get_attr("IFA_ADDRESS"))
    raise TransportUnavailableError(f"device {device!r} has no IPv4 address: give it one, or use --transport udp")


def device_queues(device: str) -> int:
    """Number of receive queues of a device in the current namespace."""
    with IPRoute() as route:
        (link,) = route.get_links(route.link_lookup(ifname=device)[0])
        return int(link.get_attr("IFLA_NUM_RX_QUEUES"))


class XdpTransport:
    """Everything on the device's side. Made in three steps, as the store's maps come from the XDP program:
    construct (loads the program), :meth:`open_sockets`, :meth:`prepare` for each worker; then :meth:`attach`.
    """

    name = "xdp"
    homes_elsewhere_max: int | None = None  # no limit

    def __init__(self, config: ServerConfig, index_buckets: int, slabs: int) -> None:
        assert config.device is not None
        self.device = config.device
        self.port = config.port
        self.cores = len(config.cores)
        self.netns = config.netns
        self.mode: str | None = None
        self._steer_away = config.steer_away > 0
        with inside(self.netns):
            self.address = config.address or device_address(self.device)
            self.queues = device_queues(self.device)
            if self.queues > limits.QUEUES_MAX:
                raise ServerError(
                    f"{self.device} has {self.queues} receive queues, at most {limits.QUEUES_MAX} are served: "
                    f"ethtool -L {self.device} combined {limits.QUEUES_MAX}"
                )
            self.program = XdpProgram(
                self.device,
                port=self.port,
                cores=self.cores,
                queues=self.queues,
                tenants_max=limits.TENANTS_MAX,
                index_buckets=index_buckets,
                slabs=slabs,
                address=config.address,
                locality=config.locality,
                steer_away=config.steer_away,
            )
        self._sockets: list[list[XskSocket]] = []  # by queue, then core slot

    def open_sockets(self) -> None:
        """One socket for each queue and core slot, all over one UMEM; every chunk goes to its queue's fill ring."""
        chunks = self.queues * limits.CHUNKS_PER_QUEUE
        with inside(self.netns):
            self._umem = Umem(chunks, limits.CHUNK_BYTES)
            for queue in range(self.queues):
                self._sockets.append([])
                for core in range(self.cores):
                    xsk = XskSocket(
                        self._umem,
                        self.device,
                        queue,
                        rx_entries=limits.RING_ENTRIES,
                        tx_entries=limits.RING_ENTRIES,
                        fill_entries=limits.RING_ENTRIES,
                        completion_entries=limits.RING_ENTRIES,
                    )
                    self._sockets[queue].append(xsk)
                    self.program.set_socket(queue, core, xsk.fd)
        from splinter.worker.chunks import KINDS

        locks, states_bytes = self.queues * (1 + self.cores), _U64.itemsize * chunks
        arena = SharedArena(QUEUE_LOCK.itemsize * locks + SharedArena.rounded(states_bytes) + 64)
        self._locks = arena.array(QUEUE_LOCK, self.queues)
        self._rx_locks = arena.array(QUEUE_LOCK, self.queues * self.cores)
        self._states = arena.array(_U64, chunks)
        depths = Region.from_fd(self.program.map_fd("depths"), self.program.map_bytes("depths"))
        self._depths = depths.array(DEPTH, self.cores)
        self._kinds = arena.array(_U64, KINDS)

    def prepare(self, worker: WorkerMemory) -> None:
        """Give a worker its socket of each queue. The first one prepared also fills the fill rings."""
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
        block["umem"] = self._umem.address
        worker.poll_on([self._sockets[queue][worker.index].fd for queue in range(self.queues)])
        if worker.index == 0:
            fill_all(worker.address)

    def steer(self, elsewhere: dict[int, int]) -> None:
        """Nothing to do: the program reads each tenant's home from the tenants' table."""

    def attach(self) -> None:
        """Let packets in."""
        with inside(self.netns):
            self.mode = self.program.attach()

    def entry(self) -> Any:
        """The compiled loop of this transport; importing it compiles it."""
        from splinter.worker.xdp_loop import serve_xdp

        return serve_xdp

    def recover(self, worker: WorkerMemory) -> int:
        """Take back the chunks that a dead worker had; returns how many."""
        from splinter.worker.chunks import recover_chunks

        return int(recover_chunks(worker.address))

    def statistics(self) -> dict[str, Any]:
        """The program's counters, the sockets' statistics summed, and chunks by what is being done with them."""
        from splinter.worker.chunks import KINDS, count_kinds

        count_kinds(self._states.ctypes.data, len(self._states), self._kinds.ctypes.data)
        filled, received, sending, sent, held = (int(self._kinds[kind]) for kind in range(1, KINDS))
        totals: dict[str, int] = {}
        for row in self._sockets:
            for xsk in row:
                for name, value in vars(xsk.statistics()).items():
                    totals[name] = totals.get(name, 0) + int(value)
        locks = int(np.count_nonzero(self._locks["holder"]) + np.count_nonzero(self._rx_locks["holder"]))
        return {
            "xdp": self.program.counters(),
            "sockets": totals,
            "zero_copy": all(xsk.zero_copy for row in self._sockets for xsk in row),
            "chunks": {
                "total": len(self._states),
                "free": filled,
                "received": received + held,
                "sending": sending,
                "sent": sent,
            },
            "ring_locks_held": locks,
        }

    def close(self) -> None:
        """Detach the program and close the sockets."""
        self.program.detach()
        for row in self._sockets:
            for xsk in row:
                xsk.close()
