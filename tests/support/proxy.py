"""A network that loses, repeats, delays and so re-orders packets, between UDP clients and a server."""

from __future__ import annotations

import contextlib
import heapq
import random
import selectors
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.client.sockets import connect
from tests.support.servers import RunningServer

PACKET_BYTES_MAX = 65536
_IDLE_SECONDS = 0.05


@dataclass
class Faults:
    """Probabilities for each packet, in both directions; times in seconds."""

    lost: float = 0.1
    repeated: float = 0.15
    delayed: float = 0.2
    delay_max: float = 0.03
    late: float = 0.02  # of a repetition: that it comes much later
    late_max: float = 0.4


class Proxy:
    """Forwards between a port of its own and a server, until closed. ``faults`` may be exchanged at any time."""

    def __init__(self, server: RunningServer, faults: Faults, seed: int) -> None:
        self._server = server
        self.faults = faults
        self._dice = random.Random(seed)
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._front.setblocking(False)
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._front, selectors.EVENT_READ)
        self.port: int = self._front.getsockname()[1]
        self._backs: dict[Any, socket.socket] = {}  # by client: its socket to the server
        self._clients: dict[socket.socket, Any] = {}
        self._waiting: list[tuple[float, int, socket.socket, Any, bytes]] = []  # heap: when, number, where from and to
        self.counts = {"packets": 0, "lost": 0, "repeated": 0, "delayed": 0}
        self._stop = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def client(self, tenant: TenantInfo, **options: Any) -> Client:
        """A client whose requests go through here; its control connection is a direct one."""
        direct = self._server.client(tenant)
        made = Client("127.0.0.1", tenant.tenant, tenant.token, port=self.port, **options)
        made._control.close()
        made._control = direct._control
        return made

    def close(self) -> None:
        """Stop forwarding; what is delayed is lost."""
        self._stop = True
        self._thread.join()
        for used in (self._front, *self._backs.values()):
            used.close()
        self._ready.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stop:
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                _, _, source, target, packet = heapq.heappop(self._waiting)
                self._forward(source, target, packet)
            wait = min(_IDLE_SECONDS, self._waiting[0][0] - now) if self._waiting else _IDLE_SECONDS
            for ready, _ in self._ready.select(wait):
                self._receive(ready.fileobj)

    def _receive(self, source: Any) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                packet, peer = source.recvfrom(PACKET_BYTES_MAX)
                if source is self._front:
                    self._treat(self._back(peer), None, packet)
                else:
                    self._treat(self._front, self._clients[source], packet)

    def _back(self, peer: Any) -> socket.socket:
        found = self._backs.get(peer)
        if found is None:
            info = self._server.info
            found = self._backs[peer] = connect(socket.SOCK_DGRAM, info.address, info.port, info.client_netns, 1.0)
            found.setblocking(False)
            self._ready.register(found, selectors.EVENT_READ)
            self._clients[found] = peer
        return found

    def _treat(self, source: socket.socket, target: Any, packet: bytes) -> None:
        dice, faults = self._dice, self.faults
        self.counts["packets"] += 1
        if dice.random() < faults.lost:
            self.counts["lost"] += 1
        elif dice.random() < faults.delayed:
            self.counts["delayed"] += 1
            self._later(dice.random() * faults.delay_max, source, target, packet)
        else:
            self._forward(source, target, packet)
        while dice.random() < faults.repeated:
            self.counts["repeated"] += 1
            most = faults.late_max if dice.random() < faults.late else faults.delay_max
            self._later(dice.random() * most, source, target, packet)

    def _later(self, seconds: float, source: socket.socket, target: Any, packet: bytes) -> None:
        number = self.counts["delayed"] + self.counts["repeated"]
        heapq.heappush(self._waiting, (time.monotonic() + seconds, number, source, target, packet))

    def _forward(self, source: socket.socket, target: Any, packet: bytes) -> None:
        with contextlib.suppress(OSError):  # what the network refuses is lost
            if target is None:
                source.send(packet)
            else:
                source.sendto(packet, target)
