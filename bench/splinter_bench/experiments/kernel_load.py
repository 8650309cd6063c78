"""How long the kernel takes to verify and load the server's XDP program."""

from __future__ import annotations

import contextlib
import os
import time

from splinter.ext.compile import compile_source
from splinter.limits import PORT_DEFAULT, TENANTS_MAX
from splinter.net import tier
from splinter.net.bpf import MapForm, compile_c, link, load
from splinter.net.lab import Lab
from splinter.net.netns import inside
from splinter.net.xdp import XdpProgram
from splinter.store.account_layout import ACCOUNT
from splinter.store.store import Store
from splinter_bench.experiments.bench import Bench
from splinter_bench.observations import Observations
from splinter_bench.rounds import in_turns

_EXTENSION = """
@extension
def best_price(db: Store, shop: u64, item: u64, currency: bytes) -> u64:
    key = buffer(16)
    key.append_u64(shop)
    key.append_u64(item)
    offers = db.get(1, key)
    if offers is None:
        return 0
    best = offers.u64(0)
    for offer in range(len(offers) // 8):
        price = offers.u64(offer * 8)
        if price != 0 and price < best:
            best = price
    rate = db.get(2, currency)
    if rate is None:
        return best
    if len(rate) < 8:
        return best
    return best * rate.u64(0) // 1000
"""
_ROUNDS = 40
_MEMORY_BYTES = 64 << 20
_MILLISECONDS = 1000


def measure(bench: Bench) -> Observations:
    """A round loads the program with the tier, without, and an extension's, once each. Nothing is attached."""
    buckets, slabs = Store.plan(_MEMORY_BYTES)
    forms = {
        **tier.forms(),
        "accounts": MapForm.shared(ACCOUNT.itemsize, TENANTS_MAX),
        "store_state": MapForm.shared(Store.state_bytes(_MEMORY_BYTES), 1),
    }
    with contextlib.ExitStack() as stack:
        given = {name: form.make(name) for name, form in forms.items()}
        for descriptor in given.values():
            stack.callback(os.close, descriptor)
        lab = stack.enter_context(Lab(f"load-{os.getpid()}"))
        stack.enter_context(inside(lab.server.namespace))
        program = stack.enter_context(
            XdpProgram(
                lab.server.device, port=PORT_DEFAULT, cores=1, queues=1, index_buckets=buckets, slabs=slabs, given=given
            )
        )  # fmt: skip
        descriptors = program.map_fds()

        def seconds(has_tier: bool) -> float:
            defines = {"PORT": PORT_DEFAULT, "CORES": 1, "LOCALITY": 1, "STEER_AWAY": 0, "TIER": int(has_tier)}
            code = link(compile_c("splinter.c", defines), "splinter", descriptors)
            start = time.perf_counter()
            loaded = load(code, "splinter")
            spent = time.perf_counter() - start
            os.close(loaded)
            return spent * _MILLISECONDS

        programs, code = program.extension_programs(), compile_source(_EXTENSION, kernel=True).kernel
        assert programs is not None and code.object_file

        def extension() -> float:
            start = time.perf_counter()
            programs.load(code.object_file, code.identity).close()
            return (time.perf_counter() - start) * _MILLISECONDS

        asked = {"tier": lambda: seconds(True), "plain": lambda: seconds(False), "extension": extension}
        return in_turns(asked, bench.count(_ROUNDS), metric="ms")
