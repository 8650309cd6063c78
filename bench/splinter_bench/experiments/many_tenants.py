"""What many tenants cost: gets of 1,024 tenants by turns beside gets of one, of equally many objects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.rounds import in_turns
from splinter_bench.subjects.session import SLICE_SECONDS, Session
from splinter_bench.workloads.workload import KEYS_DEFAULT, Account, Operation, Workload, get_operation, put_operation, uniform

TENANTS = 1024
DEPTH = 64


@dataclass(frozen=True)
class Rounds:
    """A round is a slice of each of the two workloads, beside each other."""

    count: int = 300
    seconds: float = SLICE_SECONDS
    tenants: int = TENANTS
    keys: int = KEYS_DEFAULT


_DEFAULTS = Rounds()


def measure(session: Session, rounds: Rounds = _DEFAULTS) -> Observations:
    """Of ``tenants-throughput``. Raises :class:`SplinterError` when objects cannot be stored."""
    accounts = tuple(session.tenant() for _ in range(rounds.tenants))
    alone = session.tenant()
    order = uniform(get_operation(alone), rounds.keys).keys
    one = uniform(get_operation(alone), rounds.keys)
    many = spread(get_operation(alone), order, accounts)
    with pinned(session.client_core):
        session.load.preload(put_operation(alone), rounds.keys)
        load = spread(put_operation(alone), np.arange(rounds.keys, dtype=np.int64), accounts)
        session.load.run_to_success(load, f"could not store the {rounds.keys} objects of {len(accounts)} tenants")
    asked = {"one": one, "many": many}
    slices = {name: partial(session.slice, workload, DEPTH, rounds.seconds) for name, workload in asked.items()}
    found = in_turns(slices, rounds.count)
    found.settings["tenants"] = rounds.tenants
    return found


def spread(operation: Operation, keys: np.ndarray, accounts: tuple[Account, ...]) -> Workload:
    """The operation on keys, each of which belongs to the tenant of its number modulo the tenants."""
    who = (keys % len(accounts)).astype(np.uint16)
    return Workload(f"{operation.name} by tenants", (operation,), np.zeros(len(keys), np.uint16), keys, accounts, who)
