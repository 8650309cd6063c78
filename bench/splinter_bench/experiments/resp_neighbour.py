"""Packets for one worker of two, while 50 connections of the Redis protocol saturate the other one.

Four parties share two CPUs. The packets' client and their worker have one of them: the client waits in ``ppoll``, and comes
before the worker when a reply is there. The other CPU has the saturated worker and the connections' client, which runs only
while that worker waits: the first CPU does nothing for them. So both together saturate the CPU, and the worker has some three
quarters of it. Where the connections' client had the packets' CPU instead, it got too little of it: the worker was busy for a
quarter of the time.

Each CPU sends on a queue of its own, as drivers of network cards have it. A veth pair chooses a queue for each connection, and
whichever CPU is at a queue handles all of its packets: those of the first CPU waited for the second, beside a Redis as well.

The same connections to a Redis on that CPU tell what a saturated CPU costs its neighbour, whoever saturates it. The packets
come in a closed loop: an open one sleeps until the next arrival, and on a virtual machine a timer that ends a sleep takes
several round trips.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from splinter.errors import SplinterError
from splinter.limits import WORKERS_MAX
from splinter.net.lab import CLIENT_DEVICE, SERVER_DEVICE
from splinter.net.netns import inside
from splinter.server.processes import cpu_ns
from splinter_bench.control import Control, Taken
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.population import server
from splinter_bench.experiments.redis_door import connect
from splinter_bench.generators.text_client import Script, TextClient
from splinter_bench.generators.yielding_client import YieldingClient
from splinter_bench.observations import Observations, Row
from splinter_bench.process import pinned, preferred, worker_pid
from splinter_bench.result import percentiles
from splinter_bench.rounds import one_round
from splinter_bench.subjects import redis
from splinter_bench.subjects.rival import CONNECTIONS, Objects
from splinter_bench.subjects.rivals import PIPELINE
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.workload import Workload, get_operation, put_operation, uniform

CALM, REDIS, RESP = "calm", "redis", "resp"
TRANSPORTS = ("xdp", "udp")
BUSY_SHARE_MIN = 0.9  # of a CPU that counts as saturated: what a process and its clients use
_ROUNDS = 120
_SECONDS = 0.06  # of a slice: thousands of replies, and tens of them beyond p99
_OBJECTS = 10_000
_WORD_BITS, _WORD = 32, 0xFFFFFFFF  # in which the kernel writes sets of CPUs
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # system calls, the same number on every architecture
_CLOSE_ON_EXEC, _CREATE = 1, 6  # FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC; FSCONFIG_CMD_CREATE
_libc = ctypes.CDLL(None, use_errno=True)
_TRIES_MAX = 1000  # of a connection that the kernel gives to one of two workers
_ID_BYTES_MAX = 32


@dataclass(frozen=True)
class _Busy:
    """Who saturates a CPU: clients that give way, and the process that they ask."""

    clients: YieldingClient
    pid: int


def measure(bench: Bench) -> Observations:
    """``calm_xdp``, ``redis_xdp``, ``resp_xdp``: percentiles of gets of one worker's tenant over AF_XDP, one under way, while
    the other CPU does nothing, has a saturated Redis, has a saturated worker. ``…_udp``: over a plain socket.

    ``busy_share``: how much of their CPU the saturated process and its clients used; a slice where that was below
    BUSY_SHARE_MIN counts as one without peace. ``process_share``: the process alone. Raises :class:`SplinterError` with one
    CPU, without Redis, and when a reply was wrong.
    """
    cores = os.sched_getaffinity(0)
    quiet, busy = min(cores), max(cores)
    if quiet == busy:
        raise SplinterError("a worker beside a saturated one needs two CPUs")
    found, control = Observations(), Control()
    with contextlib.ExitStack() as stack:
        # Nobody spins for the next packet, since clients need the CPU; and nobody moves a tenant away.
        settings = {"redis_port": 0, "idle_spin_ns": 1, "balance": False}
        saturated = stack.enter_context(server([quiet, busy], settings))
        give_queues(saturated, (quiet, busy))
        rival = stack.enter_context(redis.RedisServer(saturated.info.address, core=busy, netns=saturated.info.netns))
        theirs = stack.enter_context(_clients(partial(rival.connect, saturated.netns), busy))
        ours = stack.enter_context(_clients(to_worker(saturated), busy))
        worker = worker_pid(saturated.info.pid, saturated.home)
        loaded = {REDIS: _Busy(theirs, rival.pid), RESP: _Busy(ours, worker)}
        for transport in TRANSPORTS:
            with Session(saturated.info, server_core=quiet, client_core=quiet, udp=transport == "udp") as session:
                gets = _gets(session)
                slices = {
                    f"{mode}_{transport}": partial(_slice, session, gets, loaded.get(mode)) for mode in (CALM, REDIS, RESP)
                }
                for number in range(bench.count(_ROUNDS)):
                    for name, taken in one_round(slices, number, control):
                        add(found, name, taken, number)
        about = rival.configuration
    found.settings |= {"connections": CONNECTIONS, "rivals": {"redis": f"{about['version']}: {about['command']}"}}
    return found


def add(found: Observations, name: str, taken: Taken[Row], number: int) -> None:
    """Add a slice. One beside a process that, with its clients, did not saturate its CPU counts as one without peace."""
    is_saturated = taken.result.get("busy_share", 1.0) >= BUSY_SHARE_MIN
    found.add(name, taken.result, number, is_still=taken.is_still and is_saturated)


def give_queues(session: Session, cores: Sequence[int]) -> None:
    """Have the n-th of these CPUs send on the n-th queue of each end of the lab's link. Raises :class:`SplinterError`."""
    for namespace, device in ((session.info.netns, SERVER_DEVICE), (session.info.client_netns, CLIENT_DEVICE)):
        with inside(namespace):
            sysfs = _sysfs()
        try:
            for queue, core in enumerate(cores):
                words = [1 << core >> low & _WORD for low in range(0, core + 1, _WORD_BITS)]
                mask = ",".join(f"{word:08x}" for word in reversed(words))
                path = f"class/net/{device}/queues/tx-{queue}/xps_cpus"
                with os.fdopen(os.open(path, os.O_RDWR, dir_fd=sysfs), "r+") as file:
                    file.write(mask)
                    file.flush()
                    file.seek(0)
                    told = file.read()
                if int(told.replace(",", ""), 16) != 1 << core:
                    raise SplinterError(f"{device} gives CPU {core} no queue of its own: {told}")
        except OSError as error:
            raise SplinterError(f"{device} gives no CPU a queue of its own: {error}") from None
        finally:
            os.close(sysfs)


def _sysfs() -> int:
    """The root of a sysfs that tells of the calling thread's namespace, mounted nowhere: it ends with this descriptor."""
    made = _call(_FSOPEN, b"sysfs", _CLOSE_ON_EXEC)
    try:
        _call(_FSCONFIG, made, _CREATE, None, None, 0)
        return _call(_FSMOUNT, made, _CLOSE_ON_EXEC, 0)
    finally:
        os.close(made)


def _call(number: int, *arguments: int | bytes | None) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise SplinterError(f"no sysfs of a namespace: {os.strerror(ctypes.get_errno())}")
    return result


def to_worker(session: Session) -> Callable[[], socket.socket]:
    """Connections of a new tenant to the worker that is measured, which the number of a connection names."""
    account = session.tenant()

    def made() -> socket.socket:
        for _ in range(_TRIES_MAX):
            connection = connect(session, account)
            connection.sendall(redis.command(b"CLIENT", b"ID"))
            if int(connection.recv(_ID_BYTES_MAX).removeprefix(b":")) % WORKERS_MAX == session.home:
                return connection
            connection.close()
        raise SplinterError(f"of {_TRIES_MAX} connections the kernel gave none to worker {session.home}")

    return made


def _clients(asked: Callable[[], socket.socket], core: int) -> YieldingClient:
    """Store objects, and prepare clients of CPU ``core`` that ask for them."""
    objects = Objects(_OBJECTS)
    fill = [redis.command(b"SET", objects.key(number), objects.value) for number in range(_OBJECTS)]
    with TextClient(asked) as client:
        if client.run_once(Script("load", fill, [b"+OK\r\n"] * len(fill))).recorded != len(fill):
            raise SplinterError("not all objects of the Redis protocol were stored")
    gets = replace(redis.reads(objects, "pipelined gets", b"GET"), pipeline=PIPELINE)
    return YieldingClient(asked, CONNECTIONS, gets, core=core)


def _gets(session: Session) -> Workload:
    """Gets of a new tenant of the session's worker, which has the objects."""
    account = session.tenant()
    with pinned(session.client_core):
        session.load.preload(put_operation(account), _OBJECTS)
    return uniform(get_operation(account), _OBJECTS)


def _slice(session: Session, gets: Workload, busy: _Busy | None) -> Row:
    """What packets found, while a process is kept busy or none is."""
    with preferred():
        if busy is None:
            return percentiles(session.slice(gets, 1, _SECONDS, spin=False).histogram)
        with busy.clients.running() as load:
            pids = busy.pid, busy.clients.pid
            before, begun = [cpu_ns(pid) for pid in pids], time.monotonic_ns()
            result = session.slice(gets, 1, _SECONDS, spin=False)
            spent = [cpu_ns(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
            elapsed = time.monotonic_ns() - begun
    return percentiles(result.histogram) | {
        "per_second": result.per_second,
        "busy_share": sum(spent) / elapsed,
        "process_share": spent[0] / elapsed,
        "requests_per_second": load.per_second,
    }
