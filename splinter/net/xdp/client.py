"""The small programs of clients and benchmarks."""

from __future__ import annotations

from typing import Literal

from splinter.net.bpf import Kind, MapForm
from splinter.net.xdp.program import Program


class RedirectProgram(Program):
    """``bpf/redirect.c``: UDP packets whose source or destination port is ``port`` go to the AF_XDP socket of the queue
    that they came in by; everything else, and what comes in by a queue without a socket, goes to the kernel."""

    def __init__(self, ifname: str, queues: int, port: int, match: Literal["source", "destination"] = "source") -> None:
        self.queues = queues
        maps = {"xsks": MapForm(Kind.XSKMAP, 4, queues)}
        super().__init__(ifname, "redirect.c", "redirect", {"PORT": port, "MATCH": match}, maps)

    def set_socket(self, queue: int, fd: int) -> None:
        """Redirect what comes in by ``queue`` to an AF_XDP socket bound to that queue."""
        self._set_socket(queue, fd)

    def clear_socket(self, queue: int) -> None:
        """Let it pass again. No error when there is no socket."""
        self._clear_socket(queue)


class EchoProgram(Program):
    """``bpf/echo.c``: sends UDP packets for ``port`` back from within the driver (``XDP_TX``): an upper bound.

    On veth they arrive by the queue ``CPU number modulo queues`` of the other end, whatever queue they were sent by.
    """

    def __init__(self, ifname: str, port: int) -> None:
        super().__init__(ifname, "echo.c", "echo", {"PORT": port}, {})
