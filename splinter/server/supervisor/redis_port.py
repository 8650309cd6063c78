"""The TCP port of the Redis protocol: a listening socket and an epoll set for each worker."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Sequence

from splinter import limits
from splinter.net.netns import inside
from splinter.server.config import ServerConfig
from splinter.server.supervisor.ports import cannot, listen, port_of
from splinter.worker.memory import WorkerMemory

_PROBES = 3  # without an answer, then the other end is gone


class RedisPort:
    """The sockets of all workers on one port, among which the kernel divides connections. They outlive a worker: who connects
    while it is replaced waits for its successor."""

    @classmethod
    def for_workers(cls, config: ServerConfig, address: str, workers: Sequence[WorkerMemory]) -> RedisPort | None:
        """Open it, and give each worker its door; None: nobody asked for it. Raises :class:`splinter.errors.ServerError`."""
        if config.redis_port is None:
            return None
        port = cls(config, address)
        with contextlib.ExitStack() as undo:
            undo.callback(port.close)
            port._open(workers)
            undo.pop_all()
        return port

    def __init__(self, config: ServerConfig, address: str) -> None:
        assert config.redis_port is not None
        self.port = config.redis_port
        self._sockets: list[socket.socket] = []
        self._sets: list[select.epoll] = []
        self._asking: list[socket.socket] = []  # the workers' ends
        self.channels: list[socket.socket] = []  # what the control process is asked by, of each worker
        self._is_durable = config.data is not None
        with contextlib.ExitStack() as undo, inside(config.netns):
            undo.callback(self.close)
            try:
                if self.port != 0:
                    self._probe(address)
                for _ in config.cores:
                    self._sockets.append(self._bind(address))
                    self.port = port_of(self._sockets[0])
                    self._sets.append(select.epoll(flags=select.EPOLL_CLOEXEC))
                    self._make_channel()
            except OSError as error:
                raise cannot(f"listen for the Redis protocol on TCP {address}:{self.port}", error) from error
            undo.pop_all()

    def _probe(self, address: str) -> None:
        """SO_REUSEPORT would let a second server share the port and take half of its connections: bind once without it."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, self.port))

    def _bind(self, address: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with contextlib.ExitStack() as undo:
            undo.callback(sock.close)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # What a connection inherits: replies go out at once, and a peer that is gone is noticed.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, limits.RESP_KEEPALIVE_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, limits.RESP_KEEPALIVE_SECONDS // _PROBES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
            sock.setblocking(False)
            sock.bind((address, self.port))
            undo.pop_all()
        return sock

    def _make_channel(self) -> None:
        """A message is whole or not there, whoever dies while it is sent."""
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each, held in zip(ends, (self._asking, self.channels), strict=True):
            each.setblocking(False)
            held.append(each)

    def _open(self, workers: Sequence[WorkerMemory]) -> None:
        from splinter.worker.resp.facts import settings  # compiled code, which servers without the protocol do without
        from splinter.worker.resp.memory import Door

        told = settings(self._is_durable, len(workers), self.port)
        for worker, sock, events, asking in zip(workers, self._sockets, self._sets, self._asking, strict=True):
            worker.open_door(Door(events.fileno(), sock.fileno(), asking.fileno(), told, self.port))
            listen(sock, limits.RESP_BACKLOG)

    def close(self) -> None:
        """Let no more connections in, in whatever process; those that there are end with their workers."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):  # it does not listen yet
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for events in self._sets:
            events.close()
        for channel in (*self._asking, *self.channels):
            channel.close()
        self._asking.clear()
        self.channels.clear()
        self._sockets.clear()
        self._sets.clear()
