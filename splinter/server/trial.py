"""Whether the kernel of this machine takes an extension's program: tried without a server, a device or a packet."""

from __future__ import annotations

import os
from contextlib import ExitStack

from splinter import limits
from splinter.errors import TransportUnavailableError
from splinter.ext.kernel.code import KernelCode
from splinter.net import tier
from splinter.net.xdp import XdpProgram
from splinter.net.xdp.probe import probe
from splinter.server.supervisor import store_maps
from splinter.store.store import Store

_DEVICE = "lo"  # in every network namespace; nothing is attached to it


def worker_reason(code: KernelCode) -> str:
    """Why the kernel does not take a program that the compiler has made; empty: it does.

    The program is loaded and closed again, over maps of the smallest store, which end with this.

    Raises :class:`~splinter.errors.TransportUnavailableError` where there is no tier, or no privilege to try,
    :class:`~splinter.errors.ServerError` when the kernel refuses maps for want of memory.
    """
    if obstacle := probe():
        raise obstacle.error()
    buckets, slabs = Store.plan(limits.STORE_BYTES_MIN)
    with ExitStack() as opened:
        given = {}
        for name, form in {**store_maps.forms(limits.STORE_BYTES_MIN), **tier.forms()}.items():
            given[name] = form.make(name)
            opened.callback(os.close, given[name])
        program = XdpProgram(
            _DEVICE, port=limits.PORT_DEFAULT, cores=1, queues=1, index_buckets=buckets, slabs=slabs, given=given
        )  # fmt: skip
        opened.callback(program.close)
        programs = program.extension_programs()
        if programs is None:
            raise TransportUnavailableError(program.tier_off)
        loaded = programs.load(code.object_file, code.identity)
        loaded.close()
        return loaded.worker_reason
