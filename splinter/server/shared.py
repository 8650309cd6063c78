"""What the supervisor makes and the control process works on."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from splinter.durable.disk_state import DiskState
from splinter.durable.folder import DataFolder
from splinter.ext.native.code import CodeRegion
from splinter.net.xdp.extensions import ExtensionPrograms
from splinter.server.config import ServerConfig
from splinter.server.events import EventLog
from splinter.server.kernel_work import KernelWork
from splinter.server.settings import SharedSettings
from splinter.store.store import Store
from splinter.worker.memory import WorkerMemory


class Kept(Protocol):
    """A data folder, as the control process has it."""

    folder: DataFolder
    disk: DiskState

    def say_installed(self) -> None:
        """All extensions that were kept are installed."""

    def statistics(self, active: Sequence[int], most: int) -> dict[str, Any]:
        """How far the disk is."""


@dataclass
class Shared:
    """Made before the first fork, so that all of it means the same in the control process."""

    config: ServerConfig
    store: Store
    tenants: np.ndarray  # splinter.net.tenants.TENANT records, by tenant id
    rates: np.ndarray  # splinter.net.tenants.RATE records, by tenant id
    steer: Callable[[dict[int, int]], None]  # makes the transport follow homes that are not id modulo cores
    homes_elsewhere_max: int | None  # how many of those it can follow; None: all
    code: CodeRegion  # the control process turns its view of it from executable to writable
    kernel: ExtensionPrograms | None  # what puts extensions' programs into the kernel, where the server has a tier there
    credential: bytes  # the administrator's
    listen_socket: socket.socket  # bound and listening; survives the control process
    statistics: Callable[[], dict[str, Any]]  # counters of workers, transport and store
    extension_counters: list[np.ndarray]  # of each worker: EXTENSION_COUNTERS by slot (splinter.worker.tasks.layout)
    tenant_counters: list[np.ndarray]  # of each worker: TENANT_COUNTERS by tenant id
    logs: list[np.ndarray]  # of each worker: its extensions' debug log (splinter.worker.log.LOG)
    workers: list[WorkerMemory]  # what each has under way
    cycles_per_millisecond: int  # what those counters' cycles are
    metrics_channel: socket.socket | None = None  # the metrics process asks through it; None: there is none
    redis_channels: list[socket.socket] = field(default_factory=list)  # of each worker: its connections of Redis ask by it
    data: Kept | None = None  # what a data folder has beside objects; None: there is none
    events: EventLog = field(default_factory=EventLog)  # what happened: the supervisor numbers it, both tell it
    settings: SharedSettings = field(default_factory=SharedSettings)  # what SIGHUP changed
    kernel_work: KernelWork = field(default_factory=KernelWork)  # what the kernel tier has done
