"""How long a tenant's requests go unanswered when its worker is killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import socket
import time

from splinter.errors import SplinterError
from splinter.net.netns import inside
from splinter.wire import H_CLIENT, Header, Opcode
from splinter_bench.experiments.bench import Bench
from splinter_bench.observations import Observations
from splinter_bench.process import worker_pid
from splinter_bench.rounds import in_turns
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.workload import Account

_ROUNDS = 15
_ASK_SECONDS = 0.001  # between requests
_BACK_SECONDS_MAX = 10.0
_PACKET_BYTES_MAX = 2048
_ID_BYTES = 8


def measure(bench: Bench) -> Observations:
    """Of ``restart``: from a worker's SIGKILL until its successor answers."""
    session = bench.session
    account = session.tenant()
    session.use_stack()
    with inside(session.netns):
        connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.closing(connection):
        connection.connect((session.info.address, session.info.port))
        connection.settimeout(_ASK_SECONDS)
        wait_for_reply(connection, account, 0, _BACK_SECONDS_MAX)
        numbers = itertools.count(1)
        kill = {"kill": lambda: _kill_and_wait(session, connection, account, next(numbers))}
        return in_turns(kill, bench.count(_ROUNDS), metric="ms")


def _kill_and_wait(session: Session, connection: socket.socket, account: Account, number: int) -> float:
    pid = worker_pid(session.info.pid, session.home)
    descriptor = os.pidfd_open(pid)
    try:
        start = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        dead = select.poll()
        dead.register(descriptor, select.POLLIN)
        dead.poll(_BACK_SECONDS_MAX * 1000)  # a reply to what is asked now is the successor's
    finally:
        os.close(descriptor)
    wait_for_reply(connection, account, number, _BACK_SECONDS_MAX)
    return (time.monotonic() - start) * 1000


def wait_for_reply(connection: socket.socket, account: Account, number: int, seconds_max: float) -> None:
    """Ask until a worker answers a request of this round. Raises :class:`SplinterError` when none does for so long."""
    deadline = time.monotonic() + seconds_max
    client = number + 1
    request = Header(opcode=Opcode.PING, tenant=account.tenant, token=account.token, client=client, sequence=1).pack()
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError):  # of the packet before
            connection.send(request)
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            while _client(connection.recv(_PACKET_BYTES_MAX)) != client:
                pass  # late, from before
            return
    raise SplinterError(f"no worker answers {seconds_max:g} s after one was killed")


def _client(packet: bytes) -> int:
    return int.from_bytes(packet[H_CLIENT : H_CLIENT + _ID_BYTES], "little")
