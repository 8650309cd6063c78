"""UDP transport: one ordinary socket per core, packets steered by tenant, no root needed."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import socket
import struct
from typing import Any

from numba import types

from splinter import limits
from splinter.errors import ServerError
from splinter.net.netns import inside
from splinter.server.config import ServerConfig
from splinter.server.supervisor.ports import cannot, port_of, take_port
from splinter.wire import H_TENANT
from splinter.worker.memory import WorkerMemory

_SO_ATTACH_REUSEPORT_CBPF = 51
# linux/in.h; Python's socket module has no names for them, or not before 3.14.
_IP_PKTINFO = 8
_SO_MEMINFO, _RECEIVED, _DROPPED, _MEMINFO_WORDS = 55, 0, 8, 9  # linux/sock_diag.h: SK_MEMINFO_RMEM_ALLOC, …_DROPS
_IP_MULTICAST_ALL = 49
_RECEIVE_BUFFER_BYTES = 4 << 20
# Classic BPF (linux/filter.h): load byte at k, shift A left, move A to X, add X to A, A modulo k, return A.
_LOAD_BYTE, _SHIFT_LEFT, _A_TO_X, _ADD_X, _MODULO, _RETURN_A = 0x30, 0x64, 0x07, 0x0C, 0x94, 0x16
# Load big-endian word at k, skip instructions unless A equals k, return k.
_LOAD_WORD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_RANDOM = 0xFFFFF000 + 56  # what _LOAD_WORD takes for "a random number" (SKF_AD_OFF + SKF_AD_RANDOM)


def steering_program(cores: int, elsewhere: dict[int, int], *, locality: bool = True) -> bytes:
    """Classic BPF over the UDP payload that returns the tenant's home core.

    That is the tenant's id modulo cores, but for those in ``elsewhere`` (home core by tenant). Without ``locality`` it is any
    core, by chance.
    """
    if not locality:
        random = [(_LOAD_WORD, _RANDOM), (_MODULO, cores), (_RETURN_A, 0)]
        return b"".join(struct.pack("<HBBI", code, 0, 0, operand) for code, operand in random)
    exceptions = [struct.pack("<HBBI", _LOAD_WORD, 0, 0, H_TENANT)]
    for tenant, core in elsewhere.items():
        exceptions.append(struct.pack("<HBBI", _IF_EQUAL, 0, 1, int.from_bytes(tenant.to_bytes(4, "little"), "big")))
        exceptions.append(struct.pack("<HBBI", _RETURN, 0, 0, core))
    instructions = [
        (_LOAD_BYTE, H_TENANT + 1),
        (_SHIFT_LEFT, 8),
        (_A_TO_X, 0),
        (_LOAD_BYTE, H_TENANT),
        (_ADD_X, 0),
        (_MODULO, cores),
        (_RETURN_A, 0),
    ]
    return b"".join([*exceptions, *(struct.pack("<HBBI", code, 0, 0, operand) for code, operand in instructions)])


class UdpTransport:
    """Sockets of all workers; socket *i* belongs to core slot *i* and keeps its packets while a worker is replaced."""

    name = "udp"
    mode: str | None = None
    device: str | None = None
    queues = 0
    homes_elsewhere_max: int | None = limits.HOMES_ELSEWHERE_MAX
    extension_programs = None  # nothing of ours runs in the kernel

    def __init__(self, config: ServerConfig) -> None:
        self.address = config.address or "127.0.0.1"
        self.port = config.port
        self.sockets: list[socket.socket] = []
        self._locality = config.locality
        self._is_wildcard = ipaddress.IPv4Address(self.address).is_unspecified
        self.listener = self._take_port(config)
        self.port = config.port = port_of(self.listener)
        self.steer({})

    def _take_port(self, config: ServerConfig) -> socket.socket:
        """All sockets of the workers, and the one of control, on one port."""
        for bound in take_port(config, self.address):
            self.listener, self.port = bound, port_of(bound)
            try:
                with inside(config.netns):
                    for _ in config.cores:
                        self.sockets.append(self._open())
                return bound
            except OSError as error:
                self.close()
                if config.port != 0 or error.errno != errno.EADDRINUSE:
                    raise cannot(f"serve UDP on {self.address}:{self.port}", error) from error
            except BaseException:
                self.close()
                raise
        raise AssertionError  # take_port() raises at its end

    def _open(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        if len(self.sockets) == 0:
            # SO_REUSEPORT would let a second server share the port and take half of its packets: bind once without it.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((self.address, self.port))
                self._refuse_broadcast(probe)
        if self._is_wildcard:
            # A reply must come from the address that was asked; a socket that has none of its own is told which it was, and
            # so the worker knows what was sent to many.
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)  # nor those of groups that others here have joined
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((self.address, self.port))
        sock.setblocking(False)
        return sock

    def _refuse_broadcast(self, probe: socket.socket) -> None:
        """The kernel binds to a network's broadcast address as to any other, but connects to none without SO_BROADCAST."""
        try:
            probe.connect((self.address, self.port))
        except PermissionError:
            raise ServerError(
                f"{self.address} is the broadcast address of a network: give --address one of this host's own"
            ) from None
        except OSError:  # no route to itself: it is served all the same
            pass

    def steer(self, elsewhere: dict[int, int]) -> None:
        """Give the group a program for these homes that are not id modulo cores (home core by tenant); at once and for good.

        Works in every process that inherited the sockets. At most HOMES_ELSEWHERE_MAX: the kernel bounds programs.
        """
        assert len(elsewhere) <= limits.HOMES_ELSEWHERE_MAX
        code = steering_program(len(self.sockets), elsewhere, locality=self._locality)
        buffer = ctypes.create_string_buffer(code)
        program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
        self.sockets[0].setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)

    def open_sockets(self) -> None:
        """Nothing is left to open: the address was taken first, so that who cannot serve it hears so at once."""

    def attach(self) -> None:
        """Nothing has to let packets in."""

    def detach(self, *, stays: bool = False) -> None:
        """Packets come until the sockets are closed."""

    def prepare(self, worker: WorkerMemory) -> None:
        """Give a worker its socket."""
        descriptor = self.sockets[worker.index].fileno()
        worker.block["udp_fd"] = descriptor
        worker.udp_area["is_wildcard"] = self._is_wildcard
        worker.poll_on([descriptor])

    def entry(self) -> Any:
        """The compiled loop of this transport: loaded, or compiled now."""
        from splinter.worker.udp.loop import serve_udp

        serve_udp.compile((types.int64,))
        return serve_udp

    def recover(self, worker: WorkerMemory) -> tuple[int, int]:
        """After a worker's death: nothing is shared, its successor starts with all its buffers free."""
        return 0, 0

    def statistics(self) -> dict[str, Any]:
        """What the kernel dropped because a socket's buffer was full; the rest is counted by the workers."""
        return {"sockets": {"receive_buffer_full": sum(int(_memory_of(sock)[_DROPPED]) for sock in self.sockets)}}

    def queue_depths(self) -> dict[str, list[int]]:
        """By core slot: ``bytes`` of memory that packets take which wait in the socket."""
        return {"bytes": [int(_memory_of(sock)[_RECEIVED]) for sock in self.sockets]}

    def close(self) -> None:
        """Close the sockets."""
        for sock in (self.listener, *self.sockets):
            sock.close()
        self.sockets.clear()


def _memory_of(sock: socket.socket) -> tuple[int, ...]:
    """What the kernel tells of a socket's buffers (``SO_MEMINFO``)."""
    return struct.unpack(f"={_MEMINFO_WORDS}I", sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * _MEMINFO_WORDS))
