"""What many tenants cost: gets of 1,024 tenants by turns beside gets of one, of equally many objects."""

from __future__ import annotations

import numpy as np

from splinter_bench.experiments.bench import Bench, slices
from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.rounds import in_turns
from splinter_bench.subjects.session import SLICE_SECONDS
from splinter_bench.workloads.workload import KEYS_DEFAULT, Account, Operation, Workload, get_operation, put_operation, uniform

TENANTS = 1024
DEPTH = 64


_ROUNDS = 300


def measure(bench: Bench) -> Observations:
    """Of ``tenants-throughput``: a round is a slice of each of two workloads beside each other.

    Raises :class:`SplinterError` when objects cannot be stored.
    """
    session = bench.session
    accounts = tuple(session.tenant() for _ in range(TENANTS))
    alone = session.tenant()
    one = uniform(get_operation(alone), KEYS_DEFAULT)
    many = spread(get_operation(alone), one.keys, accounts)
    with pinned(session.client_core):
        session.load.preload(put_operation(alone), KEYS_DEFAULT)
        load = spread(put_operation(alone), np.arange(KEYS_DEFAULT, dtype=np.int64), accounts)
        session.load.run_to_success(load, f"could not store the {KEYS_DEFAULT} objects of {TENANTS} tenants")
    found = in_turns(slices(session, {"one": one, "many": many}, DEPTH, SLICE_SECONDS), bench.count(_ROUNDS))
    found.settings["tenants"] = TENANTS
    return found


def spread(operation: Operation, keys: np.ndarray, accounts: tuple[Account, ...]) -> Workload:
    """The operation on keys, each of which belongs to the tenant of its number modulo the tenants."""
    who = (keys % len(accounts)).astype(np.uint16)
    return Workload(f"{operation.name} by tenants", (operation,), np.zeros(len(keys), np.uint16), keys, accounts, who)
