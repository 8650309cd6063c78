"""The supervisor: makes everything shared, forks workers and control process, replaces what dies, stops cleanly.

It is single-threaded, so that it can fork at any time, and it holds every descriptor, so that a worker's death closes
nothing. After a worker's death: reap it, let the store finish or undo its last operation, take back its chunks, start its
successor, a spare process forked beforehand, on the same memory.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import splinter
from splinter import limits
from splinter.errors import ServerError, Status, TransportUnavailableError
from splinter.ext.code import CodeRegion
from splinter.native.clock import cycles_per_millisecond
from splinter.net.netns import inside
from splinter.net.tenants import RATE, TENANT, rates_bytes, tenants_bytes
from splinter.net.xdp import probe
from splinter.server.config import ServerConfig
from splinter.server.control import prepare, run_control
from splinter.server.instance import InstanceFolder, InstanceInfo
from splinter.server.processes import fork_child, name_process
from splinter.server.shared import Shared
from splinter.server.udp_transport import UdpTransport
from splinter.server.xdp_transport import XdpTransport
from splinter.store.region import Region
from splinter.store.store import Store
from splinter.wire import Opcode
from splinter.worker import stages
from splinter.worker.layout import STATE_SLEEPING
from splinter.worker.memory import WorkerMemory, introduce
from splinter.worker.texts import build_texts

logger = logging.getLogger(__name__)

_STOP_SECONDS_MAX = 2.0
_RESTARTS_PER_SECOND_MAX = 100  # a worker that dies at once, again and again, must not take the machine with it
_FAILURE_SECONDS, _FAILURES_MAX = 1.0, 5
_STATE_NAMES = ("starting", "running", "sleeping", "stopped")


@dataclass
class _Spare:
    """A process that waits to become a worker: it reads its core slot from a pipe, of which this is the other end."""

    pid: int
    pidfd: int
    assign_fd: int


@dataclass
class _Child:
    """A forked process: ``index`` is the worker's core slot, or None for the control process."""

    index: int | None
    pid: int = 0
    pidfd: int = -1
    restarts: int = 0
    failures: int = 0  # consecutive, each within _FAILURE_SECONDS of its start
    started: float = 0.0


def choose_transport(config: ServerConfig) -> tuple[str, str]:
    """``("xdp" | "udp", why)``. Raises :class:`TransportUnavailableError` when XDP is demanded and cannot be had."""
    if config.transport == "udp":
        return "udp", "asked for"
    if config.device is None:
        obstacle: str | None = "no network device was named (--dev)"
    else:
        with inside(config.netns):
            obstacle = probe()
    if obstacle is None:
        return "xdp", "asked for" if config.transport == "xdp" else f"the machine can, and {config.device} was named"
    if config.transport == "xdp":
        raise TransportUnavailableError(f"XDP cannot be used: {obstacle}")
    return "udp", f"XDP cannot be used: {obstacle}"


class Supervisor:
    """One server. ``start()`` returns when it answers; ``run()`` watches until a signal; ``stop()`` ends it."""

    def __init__(self, config: ServerConfig, say: Callable[[str], None] = print) -> None:
        self.config = config
        self._say = say
        self._children: list[_Child] = []
        self._spare: _Spare | None = None
        self._selector = selectors.DefaultSelector()
        self._signals: tuple[socket.socket, socket.socket] | None = None
        self._listener: socket.socket | None = None
        self._transport: UdpTransport | XdpTransport | None = None
        self._folder: InstanceFolder | None = None

    # --- start -------------------------------------------------------------------------------------------------------

    def start(self) -> InstanceInfo:
        """Bring everything up. Raises :class:`ServerError` with nothing left behind."""
        config = self.config
        self._folder = InstanceFolder(config.instance)
        self._catch_signals()
        name, reason = choose_transport(config)
        store = self._make_store(name)
        assert self._transport is not None
        transport = self._transport
        tenants = self._tenants_region.array(TENANT, limits.TENANTS_MAX)
        self._texts = build_texts()
        code = CodeRegion.create(limits.CODE_REGION_BYTES)
        self._say(f"transport: {name} ({reason}); compiling the worker (only a first start takes long)")
        self._entry = transport.entry()
        if isinstance(transport, XdpTransport):
            transport.open_sockets()
        ticks = cycles_per_millisecond()
        self._workers = [
            WorkerMemory(
                index,
                store=store.address,
                tenants=self._tenants_region.address,
                rates=self._rates_region.address,
                texts=self._texts.ctypes.data,
                tasks=config.tasks_per_worker,
                tasks_per_tenant=config.tasks_per_tenant,
                task_budget=config.task_budget,
                task_yields_max=config.task_yields_max,
                task_milliseconds_max=config.task_milliseconds_max,
                cycles_per_millisecond=ticks,
                idle_spin_ns=config.idle_spin_ns,
                udp=name == "udp",
            )
            for index in range(len(config.cores))
        ]
        introduce(self._workers, stealing=config.steal)
        for worker in self._workers:
            transport.prepare(worker)
        self._listener = self._listen(transport.address)
        self._shared = Shared(
            config=config,
            store=store,
            tenants=tenants,
            rates=self._rates_region.array(RATE, limits.TENANTS_MAX),
            steer=transport.steer,
            homes_elsewhere_max=transport.homes_elsewhere_max,
            code=code,
            credential=self._folder.credential.encode(),
            listen_socket=self._listener,
            statistics=self.statistics,
            extension_counters=[worker.extension_counters for worker in self._workers],
            tenant_counters=[worker.tenant_counters for worker in self._workers],
            logs=[worker.log for worker in self._workers],
            cycles_per_millisecond=ticks,
        )
        self._store = store
        prepare(store)
        gc.freeze()  # children share these pages: keep the collector from writing into them
        for index in range(len(config.cores)):
            self._start_child(index)
        if isinstance(transport, XdpTransport):
            transport.attach()
        self._start_child(None)  # last: statistics tell the mode that attaching found
        info = InstanceInfo(
            instance=config.instance, pid=os.getpid(), transport=name, transport_reason=reason,
            address=transport.address, port=config.port, netns=config.netns, client_netns=config.client_netns,
            device=transport.device, xdp_mode=transport.mode, queues=transport.queues, cores=config.cores,
            memory_bytes=config.memory_bytes, version=splinter.__version__,
        )  # fmt: skip
        self._folder.publish(info)
        return info

    def _make_store(self, transport: str) -> Store:
        config = self.config
        if transport == "udp":
            self._transport = UdpTransport(config)
            self._tenants_region = Region.create("tenants", tenants_bytes())
            self._rates_region = Region.create("rates", rates_bytes())
            return Store.create(config.memory_bytes, tenants_region=self._tenants_region)
        index_buckets, slabs = Store.plan(config.memory_bytes)
        self._transport = xdp = XdpTransport(config, index_buckets, slabs)
        regions = {
            name: Region.from_fd(xdp.program.map_fd(name), xdp.program.map_bytes(name))
            for name in ("store_index", "store_slabs", "tenants", "rates")
        }
        self._rates_region = regions["rates"]
        self._tenants_region = regions["tenants"]
        return Store.create(
            config.memory_bytes,
            index_region=regions["store_index"],
            slabs_region=regions["store_slabs"],
            tenants_region=regions["tenants"],
        )

    def _listen(self, address: str) -> socket.socket:
        with inside(self.config.netns):
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, self.config.port))
            listener.listen(limits.CONTROL_CONNECTIONS_MAX)
        except OSError as error:
            listener.close()
            raise ServerError(f"cannot listen on TCP {address}:{self.config.port}: {error.strerror}") from error
        return listener

    # --- children ----------------------------------------------------------------------------------------------------

    def _start_child(self, index: int | None) -> None:
        child = _Child(index)
        self._children.append(child)
        self._fork(child)

    def _fork(self, child: _Child) -> None:
        child.started = time.monotonic()
        if child.index is None:
            child.pid, child.pidfd = fork_child("splinter-ctl", lambda: run_control(self._shared))
        else:
            spare = self._spare or self._fork_spare()
            self._spare = None
            os.write(spare.assign_fd, bytes([child.index]))
            os.close(spare.assign_fd)
            child.pid, child.pidfd = spare.pid, spare.pidfd
        self._selector.register(child.pidfd, selectors.EVENT_READ, child)

    def _fork_spare(self) -> _Spare:
        """Fork a process that becomes the worker of whatever core slot it is told.

        Forking copies the page tables of a store in BPF maps, tens of milliseconds for a gigabyte: so it is done before
        a worker dies, not after.
        """
        receive_fd, assign_fd = os.pipe()
        entry, code, workers, cores = self._entry, self._shared.code, self._workers, self.config.cores

        def wait_and_serve() -> None:
            code.become_reader()  # a worker executes code and has no descriptor to write any
            assigned = os.read(receive_fd, 1)
            if assigned:
                slot = assigned[0]
                os.sched_setaffinity(0, {cores[slot]})
                name_process(f"splinter-w{slot}")
                entry(workers[slot].address)

        pid, pidfd = fork_child("splinter-spare", wait_and_serve)
        os.close(receive_fd)
        return _Spare(pid, pidfd, assign_fd)

    def _keep_spare(self) -> None:
        """Have a live spare for the next death; called when nothing is urgent."""
        if self._spare is not None and not _has_ended(self._spare.pidfd):
            return
        if self._spare is not None:
            self._drop_spare()
        self._spare = self._fork_spare()

    def _drop_spare(self) -> None:
        """Kill the spare, which holds nothing, and reap it."""
        spare, self._spare = self._spare, None
        if spare is not None:
            signal.pidfd_send_signal(spare.pidfd, signal.SIGKILL)
            os.waitpid(spare.pid, 0)
            os.close(spare.pidfd)
            os.close(spare.assign_fd)

    def _replace(self, child: _Child) -> None:
        """Reap a child that ended, recover what it had, start its successor."""
        died = time.monotonic()
        self._selector.unregister(child.pidfd)
        os.close(child.pidfd)
        dead_pid, wait_status = os.waitpid(child.pid, 0)
        child.pidfd = -1
        exit_status = os.waitstatus_to_exitcode(wait_status)
        lived = died - child.started
        name = "the control process" if child.index is None else f"worker {child.index}"
        # A child that was killed may well live on as its successor; one that raised an exception at once will again.
        child.failures = child.failures + 1 if exit_status > 0 and lived < _FAILURE_SECONDS else 0
        if child.failures >= _FAILURES_MAX:
            raise ServerError(f"{name} cannot run: it failed {child.failures} times in a row (its error is above)")
        participant = limits.PARTICIPANT_CONTROL if child.index is None else child.index
        self._store.recover(participant)
        chunks = 0
        if child.index is not None:
            assert self._transport is not None
            chunks = self._transport.recover(self._workers[child.index])
        child.restarts += 1
        if lived < 1 / _RESTARTS_PER_SECOND_MAX:
            time.sleep(1 / _RESTARTS_PER_SECOND_MAX - lived)
        self._fork(child)
        logger.warning(
            "%s (pid %d) ended with status %d; replaced in %.1f ms, %d chunks taken back",
            name, dead_pid, exit_status, (time.monotonic() - died) * 1e3, chunks,
        )  # fmt: skip

    # --- run and stop ------------------------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
        self._signals = (reader, writer)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self._selector.register(reader, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Watch the children until SIGTERM, SIGINT or SIGHUP."""
        while True:
            self._keep_spare()
            for key, _ in self._selector.select():
                if key.data is None:
                    assert self._signals is not None
                    received = self._signals[0].recv(64)
                    if any(number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) for number in received):
                        return
                else:
                    self._replace(key.data)

    def stop(self) -> None:
        """Detach, end the children, remove the instance's folder. Safe to call whatever ``start`` reached."""
        transport = self._transport
        if isinstance(transport, XdpTransport):
            transport.program.detach()  # first: no packet is taken that will not be answered
        self._drop_spare()
        for child in self._children:
            if child.pidfd < 0:
                continue
            if child.index is None:
                signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)
            else:
                self._workers[child.index].block["stop"] = 1
                self._workers[child.index].wake()
        deadline = time.monotonic() + _STOP_SECONDS_MAX
        for child in self._children:
            if child.pidfd < 0:
                continue
            with selectors.DefaultSelector() as waiting:
                waiting.register(child.pidfd, selectors.EVENT_READ)
                if not waiting.select(max(0.0, deadline - time.monotonic())):
                    signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            self._selector.unregister(child.pidfd)
            os.close(child.pidfd)
            child.pidfd = -1
        if transport is not None:
            transport.close()
        if self._listener is not None:
            self._listener.close()
        if self._folder is not None:
            self._folder.remove()
        self._selector.close()
        if self._signals is not None:
            signal.set_wakeup_fd(-1)
            for end in self._signals:
                end.close()

    # --- statistics --------------------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, Any]:
        """Counters of all workers and of the transport; called in the control process, over shared memory."""
        workers = []
        for worker in self._workers:
            block = worker.block[0]
            counters = block["counters"]
            opcodes = [*(opcode.name.lower() for opcode in Opcode), "unknown"]
            workers.append(
                {
                    "core": self.config.cores[worker.index],
                    "state": _STATE_NAMES[int(block["state"])],
                    "heartbeat_age_ms": self._heartbeat_age_ms(block),
                    "tasks_live": int(block["tasks_live"]),
                    "busy_ms": int(counters["busy_cycles"]) // int(block["cycles_per_millisecond"]),
                    "requests": dict(zip(opcodes, map(int, counters["opcodes"]), strict=True)),
                    "replies": {
                        status.name.lower(): int(count)
                        for status, count in zip(Status, counters["statuses"], strict=True)
                        if count
                    },
                    **{name: int(counters[name]) for name in counters.dtype.names[2:]},
                    **({"stages": dict(zip(stages.NAMES, map(int, block["stages"]), strict=False))} if stages.ENABLED else {}),
                }
            )
        assert self._transport is not None
        return {
            "transport": self._transport.name,
            "mode": self._transport.mode,
            "workers": workers,
            "store": asdict(self._store.usage()),
            **self._transport.statistics(),
        }

    @staticmethod
    def _heartbeat_age_ms(block: np.void) -> float | None:
        if int(block["state"]) == STATE_SLEEPING:
            return None
        return round((time.monotonic_ns() - int(block["heartbeat"])) / 1e6, 3)


def _has_ended(pidfd: int) -> bool:
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(0))


def serve(config: ServerConfig) -> int:
    """Run a server in the foreground until a signal; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="splinter: %(message)s", stream=sys.stderr)
    supervisor = Supervisor(config, say=lambda text: print(text, flush=True))
    try:
        info = supervisor.start()
        where = f" in namespace {info.netns}" if info.netns else ""
        how = f" on {info.device}, {info.xdp_mode} mode, {info.queues} queues" if info.device else ""
        print(
            f"serving {info.address}:{info.port}{where} by {info.transport}{how}, cores {list(info.cores)}, "
            f"instance {info.instance} (pid {info.pid}); Ctrl-C stops",
            flush=True,
        )
        supervisor.run()
        return 0
    finally:
        supervisor.stop()
