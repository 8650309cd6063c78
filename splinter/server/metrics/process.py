"""The metrics process: ``run`` in a fresh interpreter, with two descriptors of the supervisor's and nothing else of its memory.

It has no mapping of the store and no credential. Before it takes the first connection it gives up all capabilities, and as root
becomes nobody; where it cannot, it ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder

from splinter.server import logs
from splinter.server.metrics.endpoint import Endpoint
from splinter.server.metrics.families import ServerCollector
from splinter.server.metrics.nobody import become_nobody
from splinter.server.metrics.source import Source

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_libc = ctypes.CDLL(None, use_errno=True)


def run(name: str, parent: int, listener: int, channel: int, log_format: str, log_level: str) -> None:
    """Serve until killed. ``name``: what ``ps`` shows; ``listener``, ``channel``: descriptors; ``parent``: the supervisor."""
    logs.set_up(log_format, log_level)
    _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    source = Source(socket.socket(fileno=channel))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServerCollector(source.look))
    # What is imported when it is first needed must be there before this process can read no files any more.
    warm = CollectorRegistry(auto_describe=False)
    generate_latest(warm)
    choose_encoder("application/openmetrics-text")[0](warm)
    "".encode("idna")
    become_nobody()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user ends it
    if os.getppid() != parent:
        return
    Endpoint(socket.socket(fileno=listener), registry).run()
