"""The other limit: an echo inside the driver (``bpf/echo.c``), which turns packets around where they arrive (``XDP_TX``).

Nothing that gives a packet to a process can be faster. The packets come back only because the client's end has an XDP program
too, and with it NAPI.
"""

from __future__ import annotations

import contextlib

from splinter.limits import PORT_DEFAULT
from splinter.net.xdp import EchoProgram
from splinter_bench.generators.path import Path
from splinter_bench.process import namespace
from splinter_bench.subjects.limit import Limit


class XdpEchoLimit(Limit):
    """The XDP echo as a :class:`Limit`."""

    def _serve(self, back: Path, netns: str, stack: contextlib.ExitStack) -> None:
        with namespace(netns):
            stack.enter_context(EchoProgram(back.device, PORT_DEFAULT)).attach()
