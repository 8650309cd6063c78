"""Which transport a server has, and the memory that comes with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from splinter import limits
from splinter.errors import ConfigurationError, ServerError
from splinter.net import netns
from splinter.net.bpf.maps import possible_cpus
from splinter.net.tenants import rates_bytes, tenants_bytes
from splinter.net.tier import TENANT_WORK
from splinter.net.xdp import Obstacle, probe
from splinter.server.config import ServerConfig
from splinter.server.kernel_work import KernelWork
from splinter.server.supervisor import memory as memory_limits
from splinter.server.supervisor.store_maps import LOG, CodePages, StoreMaps, look_behind
from splinter.server.supervisor.udp import UdpTransport
from splinter.server.supervisor.xdp import XdpTransport
from splinter.store.log import LogRings
from splinter.store.region import Region
from splinter.store.store import Store

_PROBLEMS_TOLD = 20  # at most, of an audit


@dataclass(frozen=True)
class Foundation:
    """A transport, and what lies in memory that the XDP program reads where there is one."""

    transport: UdpTransport | XdpTransport
    store: Store
    tenants: Region
    rates: Region
    log: Region | None  # of the rings of the change log; None: there is no data folder
    code_copy: CodePages | None  # where machine code is kept for a later server; None: nowhere
    kernel_work: KernelWork


def choose_transport(config: ServerConfig) -> tuple[str, str]:
    """``("xdp" | "udp", why)``. Raises :class:`TransportUnavailableError` when XDP is demanded and cannot be had, and
    :class:`ConfigurationError` where there is no network namespace of the name."""
    if config.netns is not None and not netns.exists(config.netns):
        known = ", ".join(netns.names()) or "none"
        raise ConfigurationError(f"netns {config.netns!r}: there is no network namespace of this name; there are: {known}")
    if config.transport == "udp":
        return "udp", "asked for"
    if config.device is None:
        obstacle: Obstacle | None = Obstacle("no network device was named (--dev)")
    else:
        with netns.inside(config.netns):
            obstacle = probe()
    if obstacle is None:
        return "xdp", "asked for" if config.transport == "xdp" else f"the machine can, and {config.device} was named"
    if config.transport == "xdp":
        raise obstacle.error("XDP cannot be used: ")
    return "udp", f"XDP cannot be used: {obstacle}"


def open_maps(config: ServerConfig, name: str) -> StoreMaps | None:
    """For the transport of this name, the maps that hold the store, new or left by an earlier server; None: it has none.

    Raises as :meth:`StoreMaps.open`, and :class:`ServerError` when there is not enough memory.
    """

    def require() -> None:
        memory_limits.require(config.memory_bytes, len(config.cores))

    if name == "xdp":
        return StoreMaps.open(config, require)
    look_behind(config)
    require()
    return None


def make_foundation(config: ServerConfig, kept: StoreMaps | None) -> Foundation:
    """Make the transport, the store, and the tables of tenants and rates: XDP over these maps, UDP without any."""
    if kept is not None:
        return _in_maps(config, kept)
    index_buckets, slabs = Store.plan(config.memory_bytes)
    transport = UdpTransport(config)
    with _closed_on_failure(transport):
        # What is promised is taken at once: a page that is not there when it is first written to kills who writes.
        index = Region.create("splinter-index", index_buckets * limits.BUCKET_BYTES, is_reserved=True)
        values = Region.create("splinter-slabs", slabs * limits.SLAB_BYTES, is_reserved=True)
        tenants, rates = Region.create("tenants", tenants_bytes()), Region.create("rates", rates_bytes())
        store = Store.create(config.memory_bytes, index_region=index, slabs_region=values, tenants_region=tenants)
        has_log = config.data is not None
        log = Region.create("store_log", LogRings.bytes_for(len(config.cores)), is_reserved=True) if has_log else None
        return Foundation(transport, store, tenants, rates, log, None, KernelWork())


def _in_maps(config: ServerConfig, kept: StoreMaps) -> Foundation:
    xdp = XdpTransport(config, kept)
    with _closed_on_failure(xdp):
        store = kept.store()
        store.watch_cpus(kept.region("cpu_epochs"), possible_cpus())
        if kept.is_attached:
            _look_at_what_was_left(config, store)
        copy = kept.code_pages() if kept.is_fixed else None
        cells = kept.region("tenant_work").array(TENANT_WORK, possible_cpus() * limits.TENANTS_MAX)
        work = KernelWork(cells.reshape(-1, limits.TENANTS_MAX), config.cores)
        log = kept.region(LOG) if config.data is not None else None
        return Foundation(xdp, store, kept.region("tenants"), kept.region("rates"), log, copy, work)


def _look_at_what_was_left(config: ServerConfig, store: Store) -> None:
    """Say that there is a store, and audit it if that is asked for. Raises :class:`ServerError` when it is not sound."""
    if config.audit and (problems := store.problems()):
        told = "\n".join(problems[:_PROBLEMS_TOLD])
        raise ServerError(f"the store that an earlier server left is not sound ({len(problems)} findings):\n{told}")
    tenants = int(np.count_nonzero(store.accounts["active"]))
    print(f"going on with the store that an earlier server left: {store.usage().objects:,} objects of {tenants:,} tenants")


@contextlib.contextmanager
def _closed_on_failure(transport: UdpTransport | XdpTransport) -> Iterator[None]:
    try:
        yield
    except BaseException:
        transport.close()
        raise
