"""The simulation over a range of loads: one row for each, as documents keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from splinter.native.clock import SECOND_NS
from splinter_bench.experiments.simulation import Policy, Requests, simulate
from splinter_bench.experiments.traffic import choose, homes, zipf_shares
from splinter_bench.observations import Row

_SEED = 20181010


@dataclass(frozen=True)
class Kind:
    """One kind of request: its share of all, and its work in ns."""

    name: str
    share: float
    work_ns: float


@dataclass(frozen=True)
class Traffic:
    """Who asks for what. ``skew`` is Zipf's exponent; 0: all tenants ask as often."""

    kinds: tuple[Kind, ...]
    tenants: int = 1024
    skew: float = 0.0
    placed: bool = True  # a tenant's requests go to its home core; False: to any
    homes: np.ndarray | None = None  # home core by rank; None: by chance, as many tenants on each core

    @property
    def work_ns(self) -> float:
        """Of a request on average, those that never end left out."""
        finite = [kind for kind in self.kinds if np.isfinite(kind.work_ns)]
        return sum(kind.share * kind.work_ns for kind in finite) / sum(kind.share for kind in finite)


def requests_for(traffic: Traffic, cores: int, load: float, count: int, seed: int = _SEED) -> tuple[Requests, np.ndarray]:
    """``count`` requests that keep ``cores`` busy for the share ``load`` of their time, and each one's kind by number."""
    random = np.random.default_rng(seed)
    # Another seed than the rest: the same one would give the same draws, and gaps that tell of the kinds. The clock is the
    # simulation's: nobody has to send at this rate, so it has no limit, however fast the machine that was measured.
    gap_ns = traffic.work_ns / (load * cores)
    arrival = np.cumsum(np.random.default_rng(seed + 1).exponential(gap_ns, count))
    kind = choose(random, count, [kind.share for kind in traffic.kinds])
    tenant = choose(random, count, zipf_shares(traffic.tenants, traffic.skew))
    core = random.integers(0, cores, count).astype(np.int32)
    if traffic.placed:
        placed = homes(random, traffic.tenants, cores) if traffic.homes is None else traffic.homes
        core = placed[tenant].astype(np.int32)
    work = np.array([kind.work_ns for kind in traffic.kinds])[kind]
    return Requests(arrival, core, work), kind


def sweep(
    policies: Mapping[str, tuple[Policy, Traffic]],
    loads: Sequence[float],
    requests: int,
) -> list[Row]:
    """A row for each policy, load and kind: ``cores``, ``load``, ``offered``, ``kind``, ``p50``, ``p90``, ``p99`` (ns)."""
    found = []
    for subject, (policy, traffic) in policies.items():
        for load in loads:
            asked, kinds = requests_for(traffic, policy.cores, load, requests)
            outcome = simulate(policy, asked)
            for number, kind in enumerate(traffic.kinds):
                latency = outcome.percentiles(kinds == number)
                found.append(
                    {
                        "cores": policy.cores,
                        "subject": subject,
                        "load": load,
                        "offered": round(load * policy.cores * SECOND_NS / traffic.work_ns),
                        "kind": kind.name,
                        **{p: round(latency[p], 1) if np.isfinite(latency[p]) else None for p in ("p50", "p90", "p99")},
                    }
                )
    return found
