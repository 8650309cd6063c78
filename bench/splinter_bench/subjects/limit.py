"""The machine's limits: echoes that do no work, measured as servers are.

Each is a server on one end of a lab that nobody else uses, and the load generator on the other end. A lab of its own, because
two AF_XDP programs cannot have the same queue.
"""

from __future__ import annotations

import abc
import contextlib

from splinter.limits import PORT_DEFAULT, REQUEST_HEADER_BYTES
from splinter.net.netns import inside
from splinter.net.xdp import EchoProgram
from splinter_bench.generators.afxdp_client import AfxdpClient
from splinter_bench.generators.frames import FRAME_HEADER_BYTES
from splinter_bench.generators.load import WARMUP_SECONDS_DEFAULT
from splinter_bench.generators.path import Path, find
from splinter_bench.owner import Owner
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.workloads.workload import KEY_BYTES_DEFAULT, echo

PACKET_BYTES_DEFAULT = FRAME_HEADER_BYTES + REQUEST_HEADER_BYTES + KEY_BYTES_DEFAULT  # as long as a get


class Limit(Owner, abc.ABC):
    """``server_netns`` and ``client_netns`` are the lab's namespaces, ``address`` is the server end's."""

    def __init__(self, server_netns: str, client_netns: str, address: str, *, client_core: int) -> None:
        self._client_core = client_core
        there = find(address, client_netns)
        with self._opening() as stack:
            self._serve(find(there.source, server_netns), server_netns, stack)
            self._client = stack.enter_context(AfxdpClient(there, netns=client_netns))

    @abc.abstractmethod
    def _serve(self, back: Path, netns: str, stack: contextlib.ExitStack) -> None:
        """Set the server up in ``netns``, on the device of the path ``back``; what is to be closed goes on the stack."""

    def _answering(self) -> contextlib.AbstractContextManager[None]:
        """The block in which it answers."""
        return contextlib.nullcontext()

    def measure(
        self,
        depth: int | None,
        seconds: float,
        *,
        rate: float | None = None,
        packet_bytes: int = PACKET_BYTES_DEFAULT,
        warmup_seconds: float = WARMUP_SECONDS_DEFAULT,
    ) -> Result:
        """Round trips of frames of ``packet_bytes`` for ``seconds``, ``depth`` at a time or ``rate`` a second."""
        workload = echo(packet_bytes - FRAME_HEADER_BYTES)
        with self._answering(), pinned(self._client_core):
            return self._client.run(workload, depth=depth, rate=rate, seconds=seconds, warmup_seconds=warmup_seconds)


class XdpEchoLimit(Limit):
    """The other limit: an echo inside the driver (``bpf/echo.c``), which turns packets around where they arrive (``XDP_TX``).

    Nothing that gives a packet to a process can be faster. The packets come back only because the client's end has an XDP
    program too, and with it NAPI.
    """

    def _serve(self, back: Path, netns: str, stack: contextlib.ExitStack) -> None:
        with inside(netns):
            stack.enter_context(EchoProgram(back.device, PORT_DEFAULT)).attach()
