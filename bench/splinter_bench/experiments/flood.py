"""One tenant sends ten times its packets per second: what the others notice.

The flood comes from the load generator that asks for the others: the same open loop, with the flood's requests between the
others'. So it takes time of the CPU that times the others' replies, and on a veth pair the XDP program runs there as well.
What that does is no business of the limit's: the control is as many packets of nobody, with a wrong token, between the same
requests, which the XDP program drops right before it would look at a limit. On a network card it would run on the server.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from splinter_bench.control import Control
from splinter_bench.experiments.bench import REFUSED, Bench, add_served, served
from splinter_bench.experiments.population import Population, populate, server
from splinter_bench.observations import Observations, Row
from splinter_bench.process import pinned
from splinter_bench.rounds import one_round
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.sources import source
from splinter_bench.workloads.workload import SCHEDULE_ENTRIES, Account, Operation, Workload

CALM, NOBODY, FLOOD, UNLIMITED = "no flood", "as much of nobody", "flood, limited", "flood, no limit"
MODES = (CALM, NOBODY, FLOOD, UNLIMITED)
OTHERS, FLOODING = "others", "flooding"
_TIMEOUT_NS = 20_000_000  # what is dropped is given up after this time
_SATURATION_DEPTH = 64
_SEED = 20181013
_WARMUP_SECONDS = 0.03  # longer than the time-out: as many of the flood are under way at its end as at any time


@dataclass(frozen=True)
class Settings:
    """Rates are requests a second. The flood comes from one more tenant."""

    tenants: int = 63
    objects: int = 64
    value_bytes: int = 100
    others_rate: int = 100_000  # of all of them together, at most
    others_load: float = 0.2  # of what the worker can do, at most
    limit: int = 20_000  # of the flooding tenant
    times: int = 10  # its limit
    seconds: float = 0.06  # of each round: most find the machine undisturbed, and the median of their p99 is what counts
    rounds: int = 51


BOUNDS = Settings(rounds=251)
QUICK = Settings(tenants=3, others_rate=20_000, limit=4_000, seconds=0.3, rounds=1)


def measure(bench: Bench) -> Observations:
    """A row for each slice. Raises :class:`SplinterError` when a reply was wrong."""
    settings = bench.choose(QUICK, BOUNDS, Settings())
    core = max(os.sched_getaffinity(0))
    found, control = Observations(settings=asdict(settings) | {"server_core": core}), Control()
    with server([core]) as session:
        bench.say("making tenants")
        tenants = session.admin.create_tenants(settings.tenants, home=session.home)
        flooder = session.admin.create_tenant(home=session.home, packets_per_second=settings.limit)
        sources = [(source("read_one"), "read_one")]
        population = populate(session, [*tenants, flooder], sources, objects=settings.objects, value_bytes=settings.value_bytes)
        invoke = [population.invoke("read_one", checked=True, label=label) for label in (OTHERS, FLOODING)]
        flood_rate = settings.limit * settings.times
        nobody = replace(population.accounts[-1], token=_wrong(flooder.token))
        saturation = session.slice(_workload(population, invoke), _SATURATION_DEPTH, settings.seconds).per_second
        session.load.flight.timeout_ns = _TIMEOUT_NS
        others_rate = min(settings.others_rate, round(settings.others_load * saturation))
        for number in range(settings.rounds):
            bench.say(f"round {number + 1} of {settings.rounds}")
            slices = {}
            for mode in (NOBODY, FLOOD) if bench.for_bounds else MODES:
                rate = others_rate + (0 if mode == CALM else flood_rate)
                workload = _workload(population, invoke, 1 - others_rate / rate, nobody if mode == NOBODY else None)
                limit = 0 if mode == UNLIMITED else settings.limit
                ask = partial(run, session, workload, rate, settings)
                slices[mode] = partial(_limited, session, flooder.tenant, limit, ask)
            for mode, taken in one_round(slices, number, control):
                add_served(found, mode, taken, number)
    return found


def _limited(session: Session, tenant: int, limit: int, call: Callable[[], Row]) -> Row:
    """A slice, with another limit for the tenant."""
    session.admin.limit_tenant(tenant, packets_per_second=limit)
    return call()


def _wrong(token: int) -> int:
    """Another token than this one; never 0, which is none."""
    return token ^ 1 or 2


def _workload(population: Population, invoke: list[Operation], share: float = 0.0, flooder: Account | None = None) -> Workload:
    """A ``share`` of the requests is the last tenant's flood, in the name of ``flooder`` if there is one."""
    random = np.random.default_rng(_SEED)
    floods = random.random(SCHEDULE_ENTRIES) < share
    last = len(population.accounts) - 1
    return Workload(
        OTHERS,
        tuple(invoke),
        floods.astype(np.uint16),
        random.integers(0, population.objects, SCHEDULE_ENTRIES),
        accounts=(*population.accounts[:-1], flooder or population.accounts[-1]),
        account_choice=np.where(floods, last, random.integers(0, last, SCHEDULE_ENTRIES)).astype(np.uint16),
    )


def run(session: Session, workload: Workload, rate: float, settings: Settings) -> Row:
    """A slice. Raises :class:`SplinterError` when a reply was wrong."""
    with pinned(session.client_core):
        result = session.load.run(workload, rate=rate, seconds=settings.seconds, warmup_seconds=_WARMUP_SECONDS)
    result.refuse_wrong_replies(REFUSED)
    others, flooding = (result.answered(name) for name in (OTHERS, FLOODING))
    return served(result, result.operations[OTHERS], rate) | {
        "others_per_second": round(others / settings.seconds),
        "flooding_per_second": round(flooding / settings.seconds),
        "count": others + flooding,
    }
