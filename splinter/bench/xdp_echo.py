"""The other limit: an echo inside the driver (``bpf/echo.c``), which turns packets around where they arrive (``XDP_TX``).

Nothing that gives a packet to a process can be faster. Like the AF_XDP echo it has a veth pair of its own. The packets come
back only because the client's end has an XDP program too, and with it NAPI.
"""

from __future__ import annotations

import contextlib

from splinter.bench.afxdp_client import AfxdpClient
from splinter.bench.echo import PACKET_BYTES_DEFAULT
from splinter.bench.frames import FRAME_HEADER_BYTES
from splinter.bench.load import WARMUP_SECONDS_DEFAULT
from splinter.bench.path import find
from splinter.bench.process import namespace, pinned
from splinter.bench.result import Result
from splinter.bench.workload import echo
from splinter.limits import PORT_DEFAULT
from splinter.net.xdp import EchoProgram


class XdpEchoLimit:
    """XDP echo and load generator on the two ends of a lab that nobody else uses; parameters as of ``EchoLimit``."""

    def __init__(self, server_netns: str, client_netns: str, address: str, *, client_core: int) -> None:
        self._client_core = client_core
        there = find(address, client_netns)
        back = find(there.source, server_netns)
        with contextlib.ExitStack() as undo:
            with namespace(server_netns):
                program = undo.enter_context(EchoProgram(back.device, PORT_DEFAULT))
                program.attach()
            self._client = undo.enter_context(AfxdpClient(there, netns=client_netns))
            self._open = undo.pop_all()

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
        with pinned(self._client_core):
            return self._client.run(workload, depth=depth, rate=rate, seconds=seconds, warmup_seconds=warmup_seconds)

    def close(self) -> None:
        """Detach the programs and close all sockets."""
        self._open.close()

    def __enter__(self) -> XdpEchoLimit:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
