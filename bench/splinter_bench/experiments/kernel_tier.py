"""What the kernel tier is worth: gets answered in the driver beside the driver's echo, and beside a server without the tier.

Two servers run at once, each in a lab of its own, one with the tier and one without; the echo has a third lab. Rates are
measured with frames that are made in the kernel, on one CPU or on all: a closed loop over a veth pair runs the tier on the
client's CPU, and tells little about rates.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Sequence
from functools import partial

import numpy as np

from splinter.errors import SplinterError
from splinter.limits import PORT_DEFAULT
from splinter.net.lab import Lab
from splinter.net.netns import inside
from splinter.net.xdp import EchoProgram
from splinter_bench.experiments.bench import Bench, kernel_percent, slices
from splinter_bench.experiments.many_tenants import TENANTS, spread
from splinter_bench.experiments.population import KERNEL_TIER, server, tier_and_plain
from splinter_bench.generators.frames import FRAME_HEADER_BYTES
from splinter_bench.generators.live import LiveClient, LiveLoad
from splinter_bench.generators.path import find
from splinter_bench.observations import Observations, Row
from splinter_bench.process import pinned
from splinter_bench.rounds import in_turns
from splinter_bench.seed import SEED
from splinter_bench.subjects import invokes
from splinter_bench.subjects.limit import XdpEchoLimit
from splinter_bench.subjects.session import SLICE_SECONDS, SLICE_WARMUP_SECONDS, Session
from splinter_bench.workloads.distribution import Distribution
from splinter_bench.workloads.workload import Account, Workload, get_operation, put_operation, uniform

HOT_KEYS = 1000
OBJECTS = 1_000_000
_CHAINS = 1000
_LOAD_DEPTH = 64
_ROUNDS, _LIVE_ROUNDS = 300, 40
_LIVE_SECONDS = 0.15
_SCHEDULE_ENTRIES = 1 << 20  # of which Zipf's law leaves some hundred thousand different objects
_PERCENT_MIN = 99.0  # of gets that the kernel must have answered, or the figures are of something else


def measure(bench: Bench) -> Observations:
    """Of depth 1: a round is a slice each of the driver's echo, gets, puts and invokes of two servers over AF_XDP.

    Raises :class:`SplinterError` when the kernel did not answer nearly all gets of the server with the tier.
    """
    with tier_and_plain() as (tier, plain), _echo(tier) as echo:
        asked: dict[str, Callable[[], object]] = {}
        for name, session in (("", tier), ("worker ", plain)):
            account = session.tenant()
            _, scan = invokes.chains(session, _CHAINS)
            _preload(session, put_operation(account), HOT_KEYS)
            workloads = {"get": uniform(get_operation(account), HOT_KEYS), "put": uniform(put_operation(account), HOT_KEYS)}
            named = {f"{name}{what}": workload for what, workload in {**workloads, "scan": scan}.items()}
            asked |= slices(session, named, 1, SLICE_SECONDS)
        frame_bytes = FRAME_HEADER_BYTES + len(get_operation(account).payload)
        asked["echo"] = partial(
            echo.measure, 1, SLICE_SECONDS, packet_bytes=frame_bytes, warmup_seconds=SLICE_WARMUP_SECONDS
        )  # fmt: skip
        return _checked(in_turns(asked, bench.count(_ROUNDS)), "get")  # type: ignore[arg-type]


def measure_plain(bench: Bench) -> Observations:
    """Of a client with a plain UDP socket: a round is a slice of each of two servers. Raises as :func:`measure` does."""
    with tier_and_plain(udp=True) as (tier, plain):
        asked: dict[str, Callable[[], object]] = {}
        for name, session in (("get", tier), ("worker get", plain)):
            account = session.tenant()
            _preload(session, put_operation(account), HOT_KEYS)
            asked |= slices(session, {name: uniform(get_operation(account), HOT_KEYS)}, 1, SLICE_SECONDS)
        return _checked(in_turns(asked, bench.count(_ROUNDS)), "get")  # type: ignore[arg-type]


def measure_live(bench: Bench) -> Observations:
    """Of rates: frames made in the kernel, for one tenant's hot keys, on one CPU and on all, beside the echo of the same."""
    with _whole() as session:
        account = session.tenant()
        _preload(session, put_operation(account), HOT_KEYS)
        return _live(session, uniform(get_operation(account), HOT_KEYS), bench, on_one=True)


def measure_tenants(bench: Bench) -> Observations:
    """Of many tenants: objects by Zipf's law, each of the tenant of its number modulo the tenants, on all CPUs."""
    with _whole("1GiB") as session:
        made = session.admin.create_tenants(TENANTS)  # which end with the server: removing each would take a minute
        accounts = tuple(Account(one.tenant, one.token, 1) for one in made)
        load = spread(put_operation(accounts[0]), np.arange(OBJECTS, dtype=np.int64), accounts)
        with pinned(session.client_core):
            session.load.run_to_success(load, f"could not store {OBJECTS:,} objects", depth=_LOAD_DEPTH)
        session.use_stack()
        zipf = Distribution("zipf", 0, OBJECTS - 1).sample(np.random.default_rng(SEED), _SCHEDULE_ENTRIES)
        found = _live(session, spread(get_operation(accounts[0]), zipf, accounts), bench, on_one=False)
        found.settings |= {"tenants": TENANTS, "objects": OBJECTS}
        return found


@contextlib.contextmanager
def _whole(memory: str = "512MiB") -> Generator[Session]:
    """A session with a server with the tier and a worker on each CPU."""
    with server(sorted(os.sched_getaffinity(0)), {KERNEL_TIER: "auto"}, memory) as session:
        yield session


@contextlib.contextmanager
def _echo(session: Session) -> Generator[XdpEchoLimit]:
    with Lab(f"tx-{os.getpid()}", session.info.queues) as lab:
        ends = (lab.server.namespace, lab.client.namespace, lab.server.address)
        with XdpEchoLimit(*ends, client_core=session.client_core) as limit:
            yield limit


def _preload(session: Session, operation: object, count: int) -> None:
    with pinned(session.client_core):
        session.load.preload(operation, count)  # type: ignore[arg-type]
    session.use_stack()


def _live(session: Session, workload: Workload, bench: Bench, *, on_one: bool) -> Observations:
    """Rounds of a slice of gets and one of the echo, on one CPU (``on_one``) and on all."""
    cpus = sorted(os.sched_getaffinity(0))
    crowds = {"all": cpus} | ({"one": [session.client_core]} if on_one else {})
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab(f"tx-{os.getpid()}", session.info.queues))
        with inside(lab.server.namespace):
            program = stack.enter_context(EchoProgram(lab.server.device, PORT_DEFAULT))
            program.attach()
        load = LiveLoad.of_workload(workload, entries=_SCHEDULE_ENTRIES)
        turned = LiveLoad.of_workload(workload, is_echo=True, entries=_SCHEDULE_ENTRIES)
        there, netns = find(session.info.address, session.netns), session.netns
        back, other = find(lab.server.address, lab.client.namespace), lab.client.namespace
        asked: dict[str, Callable[[], Row]] = {}
        for crowd, on in crowds.items():
            ours = stack.enter_context(LiveClient(there, load, session.info.port, netns=netns, beside=on[1:]))
            echo = stack.enter_context(LiveClient(back, turned, netns=other, beside=on[1:]))
            asked[f"get {crowd}"] = partial(_live_slice, ours, on, session)
            asked[f"echo {crowd}"] = partial(_live_slice, echo, on, None)
        found = in_turns(asked, bench.count(_LIVE_ROUNDS))
    return _checked(found, *(f"get {crowd}" for crowd in crowds))


def _live_slice(client: LiveClient, cpus: Sequence[int], session: Session | None) -> Row:
    """One slice; ``session``: with the server that is asked, which tells how many the kernel answered."""
    before = answered_in_kernel(session) if session else 0
    with pinned(cpus[0]):
        result = client.run(_LIVE_SECONDS)
    if result.errors and session:
        raise SplinterError(f"{result.name}: {result.errors} of {result.requests} requests from within the kernel")
    by_kernel = answered_in_kernel(session) - before if session else 0
    return {
        "per_second": result.per_second,
        "offered": result.offered_per_second,
        "kernel_percent": 100 * by_kernel / max(1, result.requests),
    }


def answered_in_kernel(session: Session) -> int:
    """Gets that a server's XDP program has answered so far."""
    counts = session.admin.stats()["xdp"]
    return int(counts.get("kernel_hit", 0)) + int(counts.get("kernel_miss", 0))


def _checked(found: Observations, *subjects: str) -> Observations:
    """The same, if the kernel has answered what these subjects asked."""
    for subject in subjects:
        percent = kernel_percent(row for row in found.rows if row["subject"] == subject)
        if percent < _PERCENT_MIN:
            raise SplinterError(f"the kernel answered {percent:.1f} % of {subject!r}: is the tier off here? (the server's log)")
    return found
