"""The supervisor: makes everything shared, starts workers and control process, watches them, stops cleanly.

It is single-threaded, so that it can fork at any time, and it holds every descriptor, so that a worker's death closes
nothing. :mod:`splinter.server.supervisor.seats` replaces workers, :mod:`splinter.server.supervisor.watchdog` tells which,
:mod:`splinter.server.supervisor.spares` has the processes for it.
"""

from __future__ import annotations

import logging
import os
import selectors
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import splinter
from splinter import limits
from splinter.errors import ServerError
from splinter.ext.native.code import CodeRegion
from splinter.native import perf_map
from splinter.native.clock import cycles_per_millisecond
from splinter.net.tenants import RATE, TENANT
from splinter.server.config import ServerConfig
from splinter.server.control.server import run_control, warm_store
from splinter.server.device_state import DeviceCondition
from splinter.server.events import EventLog, event
from splinter.server.instance import InstanceFolder, InstanceInfo
from splinter.server.output import Output
from splinter.server.processes import be_ordinary, come_first, keep_loaded, name_process
from splinter.server.settings import Reload, SharedSettings, Source
from splinter.server.shared import Shared
from splinter.server.supervisor import memory as memory_limits
from splinter.server.supervisor import warm
from splinter.server.supervisor.attended import AttendedProcess
from splinter.server.supervisor.data import Data
from splinter.server.supervisor.events import call_ready
from splinter.server.supervisor.forks import Forks
from splinter.server.supervisor.metrics import Metrics
from splinter.server.supervisor.notify import Manager
from splinter.server.supervisor.ports import listen
from splinter.server.supervisor.redis_port import RedisPort
from splinter.server.supervisor.scan import Scan
from splinter.server.supervisor.seats import Workers
from splinter.server.supervisor.signals import Signals
from splinter.server.supervisor.spares import Spares
from splinter.server.supervisor.store_maps import StoreMaps
from splinter.server.supervisor.transports import Foundation, choose_transport, make_foundation, open_maps
from splinter.server.supervisor.udp import UdpTransport
from splinter.server.supervisor.watchdog import Watchdog
from splinter.server.supervisor.xdp import XdpTransport
from splinter.server.worker_statistics import worker_statistics
from splinter.worker.memory import WorkerMemory, introduce
from splinter.worker.texts import build_texts

if TYPE_CHECKING:
    from splinter.server.supervisor.device_watch import DeviceWatch

logger = logging.getLogger(__name__)

_STOP_SECONDS_MAX = 2.0


class Supervisor:
    """One server. ``start()`` returns when it answers; ``run()`` watches until a signal; ``stop()`` ends it."""

    def __init__(self, config: ServerConfig, output: Output, source: Source | None = None) -> None:
        """``source``: where the settings come from, for SIGHUP; None: they are read once."""
        self.config = config
        self._settings = SharedSettings()
        self._reload = Reload(config, source or Source(None, lambda: config), self._settings)
        self._output = output
        self._workers: Workers | None = None
        self._spares: Spares | None = None
        self._selector = selectors.EpollSelector()
        self._signals = Signals(self._selector)
        self.manager = Manager(self._selector)
        self._forks = Forks()
        self._events = EventLog()
        self._events.listen()
        self._selector.register(self._events, selectors.EVENT_READ, self._events.receive)
        self._control = AttendedProcess(
            "splinter-ctl", "control process", self._selector, self._forks,
            run=lambda: run_control(self._shared), recover=lambda: self._store.recover(limits.PARTICIPANT_CONTROL),
        )  # fmt: skip
        self._selector.register(output.pidfd, selectors.EVENT_READ, self._replace_writer)
        self._transport: UdpTransport | XdpTransport | None = None
        self._kept: StoreMaps | None = None
        self._data: Data | None = None
        self._metrics: Metrics | None = None
        self._redis_port: RedisPort | None = None
        self._ended_well = False  # a signal asked for the end of a server that served
        self._watch: DeviceWatch | None = None
        self._folder: InstanceFolder | None = None
        self._forks.note(self._start_writer)  # who has the output started it
        self._is_unheard = False  # what there is to tell cannot be written into the run folder

    # --- start -------------------------------------------------------------------------------------------------------

    def start(self) -> InstanceInfo:
        """Bring everything up. Raises :class:`ServerError`, or at a signal ``StoppedError``; call :meth:`stop` then."""
        self._signals.catch()
        self._folder = InstanceFolder(self.config.instance)
        try:
            with self._signals.interruptible():
                name, reason = self._make_all()
            self._start_forker()
            if self._data is not None:
                self._data.start(self._selector, self._forks)
                self._control.start()
                with self._signals.interruptible():
                    self._data.await_ready(self._attend)
            with self._signals.interruptible():
                self._seat_all()
            assert self._transport is not None
            self._transport.attach()
            if isinstance(self._transport, XdpTransport):
                from splinter.server.supervisor.device_watch import DeviceWatch  # pyroute2, which UDP does without

                self._watch = DeviceWatch(self._transport, self, self._selector, self.config.device_wait)
            if self._data is None:
                self._control.start()
            if self._metrics is not None:
                self._metrics.start(self._selector, self._forks)
        except MemoryError as error:
            raise ServerError(memory_limits.too_little(self.config.memory_bytes)) from error
        except OSError as error:
            if error.errno in memory_limits.ERRORS:
                raise ServerError(memory_limits.too_little(self.config.memory_bytes, error)) from error
            where = f": {error.filename}" if error.filename else ""
            raise ServerError(f"the server cannot start: {error.strerror or error}{where}") from error
        self._info = self._describe(name, reason)
        self._folder.publish(self._info)
        tier = "off" if self._shared.kernel is None else "on"
        logger.info(
            "the server has started, transport %s", name, extra=event("server.started", transport=name, pid=os.getpid())
        )
        logger.info("the kernel tier is %s", tier, extra=event(f"tier.{tier}"))
        return self._info

    def _attend(self) -> None:
        """Look after the processes that are not workers."""
        call_ready(self._selector, 0)
        self._forks.attempt_again()

    def _seat_all(self) -> None:
        assert self._workers is not None
        self._workers.seat_all()

    def _make_all(self) -> tuple[str, str]:
        """Make everything that is shared, and compile; no process yet. Returns the transport's name and why it was chosen."""
        config = self.config
        assert self._folder is not None
        self._metrics = Metrics(config) if config.metrics is not None else None
        self._data = Data(config) if config.data is not None else None
        name, reason = choose_transport(config)
        self._kept = open_maps(config, name)
        made = make_foundation(config, self._kept)
        transport, store = self._transport, self._store = made.transport, made.store
        self._texts = build_texts()
        code = CodeRegion.create(limits.CODE_REGION_BYTES, made.code_copy)
        print(f"transport: {name} ({reason})")
        warm.at_start([name] if config.redis_port is None else [name, "redis"])
        self._entry = transport.entry()
        if path := os.environ.get("SPLINTER_PERF_MAP"):  # names of compiled functions, for scripts/profile
            perf_map.write(Path(path))
        transport.open_sockets()
        ticks = cycles_per_millisecond()
        self._memories = self._make_memories(made, ticks, is_udp=name == "udp")
        introduce(self._memories, stealing=config.steal)
        for memory in self._memories:
            memory.record_latencies(config.metrics is not None)
        self._redis_port = RedisPort.for_workers(config, transport.address, self._memories)
        for memory in self._memories:
            transport.prepare(memory)
        self._watchdog = Watchdog(self._memories, store.address, config.watchdog_ms, ticks)
        listen(transport.listener, limits.CONTROL_BACKLOG)
        if self._data is not None:
            self._data.restore(store, made, is_attached=self._kept is not None and self._kept.is_attached)
            self._data.keep_log_of(self._memories)
            self._data.settings = self._settings
        self._shared = Shared(
            data=self._data,
            config=config,
            store=store,
            tenants=made.tenants.array(TENANT, limits.TENANTS_MAX),
            rates=made.rates.array(RATE, limits.TENANTS_MAX),
            steer=transport.steer,
            homes_elsewhere_max=transport.homes_elsewhere_max,
            code=code,
            kernel=transport.extension_programs,
            credential=self._folder.credential.encode(),
            listen_socket=transport.listener,
            statistics=self.statistics,
            extension_counters=[memory.extension_counters for memory in self._memories],
            tenant_counters=[memory.tenant_counters for memory in self._memories],
            logs=[memory.log for memory in self._memories],
            workers=self._memories,
            cycles_per_millisecond=ticks,
            kernel_work=made.kernel_work,
            settings=self._settings,
            events=self._events,
            metrics_channel=self._metrics.channel if self._metrics is not None else None,
            redis_channels=self._redis_port.channels if self._redis_port is not None else [],
        )
        warm_store(store)
        keep_loaded()
        self._spares = Spares(self._become_worker, min(limits.SPARES_PER_WORKER * len(config.cores), limits.SPARES_MAX))
        scan = Scan(self._memories, self._selector.fileno(), config.watchdog_ms, ticks)
        self._workers = Workers(self._memories, store, transport.recover, self._spares, self._watchdog, self._selector, scan)
        return name, reason

    def _make_memories(self, made: Foundation, ticks: int, *, is_udp: bool) -> list[WorkerMemory]:
        """The memory of all workers; ``ticks``: of the time-stamp counter in a millisecond."""
        config = self.config
        return [
            WorkerMemory(
                index,
                store=made.store.address,
                tenants=made.tenants.address,
                rates=made.rates.address,
                texts=self._texts.ctypes.data,
                tasks=config.tasks_per_worker,
                tasks_per_tenant=config.tasks_per_tenant,
                task_budget=config.task_budget,
                task_yields_max=config.task_yields_max,
                task_milliseconds_max=config.task_milliseconds_max,
                task_wall_milliseconds_max=config.task_wall_milliseconds_max,
                cycles_per_millisecond=ticks,
                quarantine_after=config.quarantine_after,
                idle_spin_ns=config.idle_spin_ns,
                udp=is_udp,
            )
            for index in range(len(config.cores))
        ]

    def _describe(self, name: str, reason: str) -> InstanceInfo:
        config, transport = self.config, self._transport
        assert transport is not None
        return InstanceInfo(
            instance=config.instance, pid=os.getpid(), transport=name, transport_reason=reason,
            address=transport.address, port=config.port, netns=config.netns, client_netns=config.client_netns,
            device=transport.device, xdp_mode=transport.mode, queues=transport.queues, cores=config.cores,
            memory_bytes=config.memory_bytes, version=splinter.__version__,
            metrics=self._metrics.url if self._metrics is not None else None,
            redis_port=self._redis_port.port if self._redis_port is not None else None,
        )  # fmt: skip

    # --- children ----------------------------------------------------------------------------------------------------

    def _become_worker(self, slot: int) -> None:
        """In a spare: serve a core slot until the block says stop."""
        os.sched_setaffinity(0, {self.config.cores[slot]})
        name_process(f"splinter-w{slot}")
        be_ordinary()
        self._entry(self._memories[slot].address)

    def _replace_writer(self) -> None:
        self._selector.unregister(self._output.pidfd)
        self._output.reap_writer()
        self._forks.replace(self._start_writer)

    def _start_writer(self) -> None:
        self._forks.note(self._start_writer)
        self._output.start_writer()
        self._selector.register(self._output.pidfd, selectors.EVENT_READ, self._replace_writer)

    def _start_forker(self) -> None:
        assert self._spares is not None
        self._forks.note(self._start_forker)
        self._spares.start(self._shared.code.become_reader)  # a worker executes code, and has no descriptor to write any
        self._selector.register(self._spares.socket, selectors.EVENT_READ, self._hear_forker)

    def _hear_forker(self) -> None:
        assert self._spares is not None
        forker = self._spares.socket
        if not self._spares.receive():
            # Before it is closed: others have copies, with which the kernel would go on to report it by this number.
            self._selector.unregister(forker)
            forker.close()
            self._forks.replace(self._start_forker)

    def pause(self) -> None:
        """Stop the workers, close the device's sockets in every process. Nothing to do when that is done."""
        assert self._workers is not None and self._spares is not None and isinstance(self._transport, XdpTransport)
        if self._transport.queues == 0:
            return
        self._workers.pause(self._transport.break_locks)
        self._forks.call_off(self._start_forker)
        if self._spares.has_forker:
            self._selector.unregister(self._spares.socket)
        self._spares.close()
        self._control.end()
        self._transport.close_sockets()
        self._forks.attempt(self._control.start)

    def resume(self) -> None:
        """Have workers on the transport's new sockets, and a control process that knows them."""
        assert self._workers is not None and self._transport is not None
        for memory in self._memories:
            self._transport.prepare(memory)
        self._control.end()
        self._forks.attempt(self._start_forker)
        self._forks.attempt(self._control.start)
        self._workers.resume()

    def tell(self) -> None:
        """Have commands on this host know how the device does: where it is lost, they may not reach the control process.

        A run folder that is full, or gone, is no reason to end the server.
        """
        transport, folder = self._transport, self._folder
        assert isinstance(transport, XdpTransport) and folder is not None
        info = replace(
            self._info, device=transport.device, xdp_mode=transport.mode, queues=transport.queues,
            trouble=None if transport.state.condition == DeviceCondition.SERVED else transport.state.reason or None,
        )  # fmt: skip
        if info == self._info:
            return
        try:
            folder.publish(info)
            self._info, self._is_unheard = info, False
        except ServerError as error:
            if not self._is_unheard:
                logger.warning("commands on this host do not learn of the device's state: %s; tried again", error)
            self._is_unheard = True

    # --- run and stop ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Watch the workers, and replace what dies, until SIGTERM, SIGINT or SIGQUIT."""
        assert self._workers is not None
        come_first()
        while not self._signals.stopping:
            seconds = self._workers.rest(is_short=self._forks.are_postponed)
            call_ready(self._selector, seconds)
            self._workers.watch()
            self._forks.attempt_again()
            if self._signals.hung_up:
                self._signals.hung_up = False
                self._reload.run(self._memories)
        logger.info("the server stops", extra=event("server.stopping"))
        self._ended_well = True

    def stop(self) -> None:
        """Detach, end the children, remove the instance's folder. Safe to call whatever ``start`` reached.

        Where the store is to stay the program does, too: it answers what it can, or drops it, until the next start.
        """
        self.manager.tell_stopping()
        transport, control, kept = self._transport, self._control, self._kept
        stays = kept is not None and kept.stays(ended_well=self._ended_well)
        if self._watch is not None:
            self._watch.close()
        if self._metrics is not None:
            self._metrics.close()
        if self._redis_port is not None:
            self._redis_port.close()
        if transport is not None:
            transport.detach(stays=stays)  # first: no packet is taken that will not be answered
        if self._spares is not None:
            self._spares.close()
        if self._workers is not None:
            self._workers.stop()
        control.ask_to_end()
        deadline = time.monotonic() + _STOP_SECONDS_MAX
        if self._workers is not None:
            self._workers.wait(deadline)
        control.reap(deadline)
        if self._data is not None:  # last: what the others have done is to be on the disk
            self._data.stop()
        if transport is not None:
            transport.close()
        if kept is not None:
            kept.close(forget=not stays)
        if self._folder is not None:
            self._folder.remove()
        self._selector.close()
        self._events.close()
        self._signals.close()

    # --- statistics --------------------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, Any]:
        """Counters of all workers and of the transport; called in the control process, over shared memory."""
        assert self._transport is not None
        return {
            "transport": self._transport.name,
            "mode": self._transport.mode,
            "workers": [
                worker_statistics(memory, core, self._shared.cycles_per_millisecond)
                for memory, core in zip(self._memories, self.config.cores, strict=True)
            ],
            "watchdog": self._watchdog.statistics(),
            "receive_queues": self._transport.queue_depths(),
            "store": asdict(self._store.usage()),
            **self._transport.statistics(),
        }
