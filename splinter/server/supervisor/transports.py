"""Which transport a server has, and the memory that comes with it."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass

from splinter import limits
from splinter.errors import TransportUnavailableError
from splinter.native.addresses import Stretch
from splinter.net.netns import inside
from splinter.net.tenants import rates_bytes, tenants_bytes
from splinter.net.xdp import probe, syscall
from splinter.server.config import ServerConfig
from splinter.server.supervisor.udp import UdpTransport
from splinter.server.supervisor.xdp import XdpTransport
from splinter.store.layout import ACCOUNT
from splinter.store.region import Region
from splinter.store.store import Store


@dataclass(frozen=True)
class Foundation:
    """A transport, and what lies in memory that the XDP program reads where there is one."""

    transport: UdpTransport | XdpTransport
    store: Store
    tenants: Region
    rates: Region


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


def make_foundation(config: ServerConfig, name: str) -> Foundation:
    """Make the transport of this name, a store of the configured size, and the tables of tenants and rates."""
    index_buckets, slabs = Store.plan(config.memory_bytes)
    if name == "xdp":
        return _in_maps(config, index_buckets, slabs)
    transport = UdpTransport(config)
    with _closed_on_failure(transport):
        # What is promised is taken at once: a page that is not there when it is first written to kills who writes.
        index = Region.create("splinter-index", index_buckets * limits.BUCKET_BYTES, is_reserved=True)
        values = Region.create("splinter-slabs", slabs * limits.SLAB_BYTES, is_reserved=True)
        tenants, rates = Region.create("tenants", tenants_bytes()), Region.create("rates", rates_bytes())
        store = Store.create(config.memory_bytes, index_region=index, slabs_region=values, tenants_region=tenants)
        return Foundation(transport, store, tenants, rates)


def _in_maps(config: ServerConfig, index_buckets: int, slabs: int) -> Foundation:
    """All of it in BPF maps, those of the XDP program among them."""
    xdp = XdpTransport(config, index_buckets, slabs)
    with _closed_on_failure(xdp):
        index, values, tenants = (
            Region.from_fd(xdp.program.map_fd(name), xdp.program.map_bytes(name), stretch)
            for name, stretch in (("store_index", Stretch.INDEX), ("store_slabs", Stretch.SLABS), ("tenants", Stretch.TENANTS))
        )
        rates = Region.from_fd(xdp.program.map_fd("rates"), xdp.program.map_bytes("rates"))
        store = Store.create(
            config.memory_bytes, index_region=index, slabs_region=values, tenants_region=tenants,
            accounts_region=_new_map(ACCOUNT.itemsize, limits.TENANTS_MAX, Stretch.ACCOUNTS),
            state_region=_new_map(Store.state_bytes(config.memory_bytes), 1, Stretch.STATE),
        )  # fmt: skip
        return Foundation(xdp, store, tenants, rates)


def _new_map(value_bytes: int, entries: int, stretch: Stretch) -> Region:
    descriptor = syscall.create_array(value_bytes, entries, syscall.MAP_FLAG_MMAPABLE)
    try:
        return Region.from_fd(descriptor, -(-value_bytes * entries // mmap.PAGESIZE) * mmap.PAGESIZE, stretch)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _closed_on_failure(transport: UdpTransport | XdpTransport) -> Iterator[None]:
    try:
        yield
    except BaseException:
        transport.close()
        raise
