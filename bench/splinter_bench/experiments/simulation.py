"""A discrete-event simulation of Splinter's scheduling on any number of cores.

What is simulated is the worker's loop (docs/internals/worker.md): a turn takes a batch of requests from the core's
queue, serves each until it ends or its first slice does, sends the replies of the batch together, and resumes some of the
waiting tasks for a slice each. Around it are the policies that the experiments compare: to which core a request goes,
whether idle cores steal, how long a slice is, what becomes of a task that never ends. Times are ns in float64; the work that
each request brings comes from measurements.

Not simulated: caches, the kernel, the client. So a simulated latency begins in the core's queue and ends when the reply is
sent, and what a request costs does not depend on who is served beside it.

The engine is a plain event loop compiled by Numba, 0.1 to 0.3 µs an event: simpy needs some 10 µs. Requests are in linked
lists (``_NEXT``), and the next event is found by looking at all cores: for 64 of them a heap is not faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

NEVER = np.inf
_NONE = -1
_IDLE, _IN_BATCH, _IN_TASKS = 0, 1, 2
# Lists of each core: received, of the batch under way, answered in it, waiting tasks.
_RX, _BATCH, _ANSWERED, _TASKS, _LISTS = 0, 1, 2, 3, 4


class Policy(NamedTuple):
    """How the cores work. Times in ns."""

    cores: int
    batch: int = 1  # requests that a turn takes at most
    slice_ns: float = NEVER  # what a task runs until it yields
    slices_per_turn: int = 1  # tasks resumed between two looks at the queue
    resume_ns: float = 0.0  # cost of each resume of a task that has yielded
    turn_ns: float = 0.0  # cost of each batch, whatever it holds
    shared_queue: bool = False  # all cores take from one queue: the ideal that stealing strives for
    stealing: bool = False  # an idle core takes half of the longest queue, at most a batch
    steal_ns: float = 0.0  # cost of each theft
    steer_away: int = 0  # where more wait or are served, the next one goes to the core with the fewest; 0: never
    task_limit_ns: float = NEVER  # CPU time after which a task is ended
    stuck_ns: float = 10e6  # a core that runs a task that neither ends nor yields is found after this time at the earliest …
    stuck_scan_ns: float = 2e6  # … and this much later at the latest,
    replace_ns: float = 5e6  # and its successor serves after this much more


@dataclass(frozen=True)
class Requests:
    """What arrives: equally long arrays. ``work_ns`` NEVER: a task that does not end."""

    arrival_ns: np.ndarray
    core: np.ndarray  # int32, where it is steered to
    work_ns: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What became of each request."""

    latency_ns: np.ndarray  # from arrival to reply; NaN: ended as too long or stuck
    busy: np.ndarray  # share of the time in which each core worked
    thefts: int

    def percentiles(self, chosen: np.ndarray | slice = slice(None), warmup: float = 0.1) -> dict[str, float]:
        """Mean, median, p90, p99 of the chosen requests' latencies, without the first tenth: queues begin empty."""
        kept = self.latency_ns.copy()
        kept[: int(len(kept) * warmup)] = np.nan
        kept = kept[chosen]
        kept = kept[~np.isnan(kept)]
        if not len(kept):
            return dict.fromkeys(("mean", "p50", "p90", "p99"), NEVER)
        p50, p90, p99 = map(float, np.percentile(kept, (50, 90, 99)))
        return {"mean": float(kept.mean()), "p50": p50, "p90": p90, "p99": p99}


def simulate(policy: Policy, requests: Requests, seed: int = 1) -> Outcome:
    """Serve all the requests; the same seed gives the same outcome. ``ValueError`` when a core does not exist."""
    if len(requests.core) and not 0 <= requests.core.min() <= requests.core.max() < policy.cores:
        raise ValueError(f"requests go to cores 0 to {policy.cores - 1}")
    count = len(requests.arrival_ns)
    late = np.random.default_rng(seed).random(count)  # where in the watchdog's scan a stuck task is found
    core = np.zeros(count, np.int32) if policy.shared_queue else requests.core
    latency = np.full(count, np.nan)
    busy = np.zeros(policy.cores)
    thefts, end = _run(policy, requests.arrival_ns, core, requests.work_ns.copy(), late, latency, busy)
    return Outcome(latency, busy / max(end, 1.0), int(thefts))


@njit(cache=True)
def _push(
    heads: np.ndarray, tails: np.ndarray, counts: np.ndarray, following: np.ndarray, core: int, which: int, request: int
) -> None:
    following[request] = _NONE
    if counts[core, which] == 0:
        heads[core, which] = request
    else:
        following[tails[core, which]] = request
    tails[core, which] = request
    counts[core, which] += 1


@njit(cache=True)
def _pop(heads: np.ndarray, counts: np.ndarray, following: np.ndarray, core: int, which: int) -> int:
    request: int = heads[core, which]
    heads[core, which] = following[request]
    counts[core, which] -= 1
    return request


@njit(cache=True)
def _longest(counts: np.ndarray, cores: int) -> int:
    victim, most = _NONE, 0
    for core in range(cores):
        if counts[core, _RX] > most:
            victim, most = core, counts[core, _RX]
    return victim


@njit(cache=True)
def _at(counts: np.ndarray, phase: np.ndarray, core: int) -> int:
    """Requests that a core has not answered: what the worker and the XDP program count as its depth."""
    depth: int = counts[core, _RX] + counts[core, _BATCH] + counts[core, _ANSWERED] + (phase[core] == _IN_BATCH)
    return depth


@njit(cache=True)
def _steer(policy: Policy, counts: np.ndarray, phase: np.ndarray, home: int) -> int:
    if policy.steer_away == 0 or _at(counts, phase, home) <= policy.steer_away:
        return home
    best = home
    for core in range(policy.cores):
        if _at(counts, phase, core) < _at(counts, phase, best):
            best = core
    return best


@njit(cache=True)
def _run(
    policy: Policy,
    arrival: np.ndarray,
    steered: np.ndarray,
    left: np.ndarray,
    late: np.ndarray,
    latency: np.ndarray,
    busy: np.ndarray,
) -> tuple[int, float]:
    """Serve everything; fills ``latency`` and ``busy`` (ns) and returns thefts and the time of the end."""
    cores, count = policy.cores, len(arrival)
    heads = np.full((cores, _LISTS), _NONE)
    tails = np.full((cores, _LISTS), _NONE)
    counts = np.zeros((cores, _LISTS), np.int64)
    following = np.full(count, _NONE)
    used = np.zeros(count)
    until = np.full(cores, NEVER)  # when a core ends what it does
    current = np.full(cores, _NONE)
    phase = np.zeros(cores, np.int64)
    slices_left = np.zeros(cores, np.int64)
    thefts, arrived, now, idle_from = 0, 0, 0.0, 0
    while True:
        core = 0
        for other in range(1, cores):
            if until[other] < until[core]:
                core = other
        if arrived < count and arrival[arrived] <= until[core]:
            now = arrival[arrived]
            home = _steer(policy, counts, phase, steered[arrived])
            _push(heads, tails, counts, following, home, _RX, arrived)
            arrived += 1
            if phase[home] == _IDLE:
                core = home
            elif policy.stealing or policy.shared_queue:
                core = _NONE
                for step in range(cores):  # each idle core in turn
                    other = (idle_from + step) % cores
                    if phase[other] == _IDLE:
                        core, idle_from = other, other + 1
                        break
                if core == _NONE:
                    continue
            else:
                continue
        elif until[core] == NEVER:
            return thefts, now
        else:
            now = until[core]
            request = current[core]
            if left[request] == 0.0:
                if phase[core] == _IN_BATCH:
                    _push(heads, tails, counts, following, core, _ANSWERED, request)
                else:
                    latency[request] = now - arrival[request]
            elif left[request] > 0.0:  # less: it was ended, and is nobody's any more
                _push(heads, tails, counts, following, core, _TASKS, request)

        # What the core does next, from ``now`` on.
        cost = 0.0
        if phase[core] == _IN_BATCH and counts[core, _BATCH] == 0:  # all of it is served: the replies go out
            while counts[core, _ANSWERED] > 0:
                request = _pop(heads, counts, following, core, _ANSWERED)
                latency[request] = now - arrival[request]
            phase[core] = _IN_TASKS
            slices_left[core] = policy.slices_per_turn
        if counts[core, _BATCH] == 0 and (slices_left[core] == 0 or counts[core, _TASKS] == 0):
            source = 0 if policy.shared_queue else core
            take = min(counts[source, _RX], policy.batch)
            if take == 0 and counts[core, _TASKS] == 0 and policy.stealing:
                source = _longest(counts, cores)
                if source != _NONE:
                    take = min((counts[source, _RX] + 1) // 2, policy.batch)
                    cost += policy.steal_ns
                    thefts += 1
            for _ in range(take):
                request = _pop(heads, counts, following, source, _RX)
                _push(heads, tails, counts, following, core, _BATCH, request)
            if take > 0:
                cost += policy.turn_ns
            else:
                slices_left[core] = policy.slices_per_turn
        if counts[core, _BATCH] > 0:
            request = _pop(heads, counts, following, core, _BATCH)
            phase[core] = _IN_BATCH
        elif counts[core, _TASKS] > 0:
            request = _pop(heads, counts, following, core, _TASKS)
            slices_left[core] -= 1
            cost += policy.resume_ns
            phase[core] = _IN_TASKS
        else:
            phase[core], until[core], current[core] = _IDLE, NEVER, _NONE
            continue
        current[core] = request
        piece = min(left[request], policy.slice_ns)
        if piece == NEVER:  # nothing will make it yield
            piece = policy.stuck_ns + late[request] * policy.stuck_scan_ns + policy.replace_ns
            left[request] = -1.0
        else:
            used[request] += piece
            left[request] = left[request] - piece
            if left[request] > 0.0 and used[request] >= policy.task_limit_ns:
                left[request] = -1.0
        until[core] = now + cost + piece
        busy[core] += cost + piece
