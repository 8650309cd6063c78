"""The simulation against queueing theory, and against small schedules worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from splinter_bench.experiments import traffic
from splinter_bench.experiments.simulation import NEVER, Policy, Requests, simulate
from splinter_bench.workloads.arrivals import poisson

MEAN_NS = 1000.0
COUNT = 400_000
SEED = 7


def _requests(load: float, cores: int, *, exponential: bool, share: float | None = None) -> Requests:
    """Poisson arrivals spread evenly over the cores; ``load`` is that of each."""
    random = np.random.default_rng(SEED)
    arrival = np.cumsum(poisson(load * cores * 1e9 / MEAN_NS, COUNT, SEED + 1)).astype(np.float64)
    core = random.integers(0, cores, COUNT).astype(np.int32)
    work = random.exponential(MEAN_NS, COUNT) if exponential else np.full(COUNT, MEAN_NS)
    if share is not None:  # a mixture: that share of long ones, ten times as long, with the same mean
        small = MEAN_NS / (1 + 9 * share)
        work = np.where(random.random(COUNT) < share, 10 * small, small)
    return Requests(arrival, core, work)


def _hand(arrival: list[float], core: list[int], work: list[float]) -> Requests:
    return Requests(np.array(arrival), np.array(core, np.int32), np.array(work))


def _erlang_c(cores: int, load: float) -> float:
    """The probability that a request waits (M/M/k)."""
    offered = cores * load
    last = offered**cores / math.factorial(cores) / (1 - load)
    return last / (sum(offered**n / math.factorial(n) for n in range(cores)) + last)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_core_is_m_m_1(load: float) -> None:
    found = simulate(Policy(1), _requests(load, 1, exponential=True)).percentiles()
    mean = MEAN_NS / (1 - load)  # the time in the system is exponential
    assert found["mean"] == pytest.approx(mean, rel=0.04)
    assert found["p50"] == pytest.approx(mean * math.log(2), rel=0.04)
    assert found["p99"] == pytest.approx(mean * math.log(100), rel=0.06)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_equal_requests_are_m_d_1(load: float) -> None:
    outcome = simulate(Policy(1), _requests(load, 1, exponential=False))
    assert outcome.percentiles()["mean"] == pytest.approx(MEAN_NS * (1 + load / (2 * (1 - load))), rel=0.03)
    # Erlang's distribution of the wait in M/D/1, at multiples of the service time.
    waits = outcome.latency_ns[COUNT // 10 :] - MEAN_NS
    for services in (1, 3):
        left = [(j, load * (services - j)) for j in range(services + 1)]
        within = (1 - load) * sum((-x) ** j / math.factorial(j) * math.exp(x) for j, x in left)
        assert np.mean(waits <= services * MEAN_NS + 1e-6) == pytest.approx(within, abs=0.01)


@pytest.mark.parametrize(("cores", "load"), [(2, 0.6), (8, 0.8), (64, 0.95)])
def test_a_shared_queue_is_m_m_k(cores: int, load: float) -> None:
    found = simulate(Policy(cores, shared_queue=True), _requests(load, cores, exponential=True))
    waiting = _erlang_c(cores, load)
    spare = cores * (1 - load) / MEAN_NS
    assert found.percentiles()["mean"] == pytest.approx(MEAN_NS + waiting / spare, rel=0.04)
    assert found.busy.mean() == pytest.approx(load, rel=0.02)


def test_the_wait_in_a_shared_queue_is_that_of_m_m_k() -> None:
    requests = _requests(0.8, 8, exponential=True)
    waits = simulate(Policy(8, shared_queue=True), requests).latency_ns - requests.work_ns
    waits = waits[COUNT // 10 :]
    waiting = _erlang_c(8, 0.8)
    assert np.mean(waits > 1e-3) == pytest.approx(waiting, rel=0.05)
    assert np.percentile(waits, 99) == pytest.approx(math.log(100 * waiting) / (8 * 0.2) * MEAN_NS, rel=0.08)


def test_stealing_for_nothing_is_as_good_as_a_shared_queue_on_average() -> None:
    requests = _requests(0.8, 8, exponential=True)
    shared = simulate(Policy(8, shared_queue=True), requests).percentiles()["mean"]
    stolen = simulate(Policy(8, stealing=True), requests).percentiles()["mean"]
    alone = simulate(Policy(8), requests).percentiles()["mean"]
    assert stolen == pytest.approx(shared, rel=0.02)
    assert alone == pytest.approx(MEAN_NS / 0.2, rel=0.05)


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_short_slices_are_processor_sharing(share: float) -> None:
    """The time in the system is proportional to the work: M/G/1-PS."""
    load = 0.7
    requests = _requests(load, 1, exponential=False, share=share)
    policy = Policy(1, slice_ns=10.0)
    outcome = simulate(policy, requests)
    small = requests.work_ns == requests.work_ns.min()
    for kind in (small, ~small):
        expected = requests.work_ns[kind][0] / (1 - load)
        assert outcome.percentiles(kind)["mean"] == pytest.approx(expected, rel=0.05)


def test_the_same_seed_gives_the_same_outcome() -> None:
    first, second = (simulate(Policy(8, stealing=True), _requests(0.7, 8, exponential=True)) for _ in range(2))
    assert np.array_equal(first.latency_ns, second.latency_ns)


def test_replies_of_a_batch_leave_together() -> None:
    requests = _hand([0, 1, 2, 3], [0, 0, 0, 0], [10, 10, 10, 10])
    assert simulate(Policy(1, batch=2), requests).latency_ns.tolist() == [10, 29, 28, 37]
    assert simulate(Policy(1, batch=2, turn_ns=5.0), requests).latency_ns.tolist() == [15, 39, 38, 52]


def test_a_long_task_yields_to_what_arrives() -> None:
    requests = _hand([0, 5], [0, 0], [100, 10])
    assert simulate(Policy(1), requests).latency_ns.tolist() == [100, 105]
    assert simulate(Policy(1, slice_ns=20.0), requests).latency_ns.tolist() == [110, 45]
    assert simulate(Policy(1, slice_ns=20.0, resume_ns=1.0), requests).latency_ns.tolist() == [114, 46]


def test_tasks_take_turns() -> None:
    requests = _hand([0, 0], [0, 0], [40, 40])
    assert simulate(Policy(1, batch=2, slice_ns=10.0), requests).latency_ns.tolist() == [60, 80]


def test_an_idle_core_steals_from_the_longest_queue() -> None:
    requests = _hand([0, 1, 2, 3], [0, 0, 0, 1], [100, 100, 100, 10])
    assert simulate(Policy(2), requests).latency_ns.tolist() == [100, 199, 298, 10]
    outcome = simulate(Policy(2, stealing=True, steal_ns=5.0), requests)
    # Core 1 takes the second at once, core 0 the third; the fourth has come to core 1 meanwhile.
    assert outcome.latency_ns.tolist() == [100, 105, 198, 113]
    assert outcome.thefts == 1


def test_what_comes_to_a_busy_core_is_steered_to_an_idle_one() -> None:
    requests = _hand([0, 1, 2, 3], [0, 0, 0, 0], [100, 100, 100, 100])
    outcome = simulate(Policy(2, steer_away=1), requests)
    # One may wait at home; the third is sent away, the fourth, too: there are fewer.
    assert outcome.latency_ns.tolist() == [100, 199, 100, 199]


def test_an_endless_task_uses_its_limit_and_no_more() -> None:
    requests = _hand([0, 5], [0, 0], [NEVER, 10])
    outcome = simulate(Policy(1, slice_ns=20.0, task_limit_ns=100.0), requests)
    assert math.isnan(outcome.latency_ns[0])
    assert outcome.latency_ns[1] == 45
    assert outcome.busy[0] == pytest.approx(1)


def test_without_yields_an_endless_task_takes_its_core_until_the_watchdog_comes() -> None:
    requests = _hand([0, 5], [0, 0], [NEVER, 10])
    outcome = simulate(Policy(1, stuck_ns=1000.0, stuck_scan_ns=0.0, replace_ns=500.0), requests)
    assert math.isnan(outcome.latency_ns[0])
    assert outcome.latency_ns[1] == 1505
    late = simulate(Policy(1, stuck_ns=1000.0, stuck_scan_ns=100.0, replace_ns=500.0), requests).latency_ns[1]
    assert 1505 < late < 1605


def test_a_core_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="cores 0 to 1"):
        simulate(Policy(2), _hand([0], [2], [1]))


def test_zipf_shares_follow_the_law() -> None:
    shares = traffic.zipf_shares(1024, 0.99)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] / shares[9] == pytest.approx(10**0.99)
    chosen = traffic.choose(np.random.default_rng(SEED), 200_000, shares)
    assert np.mean(chosen == 0) == pytest.approx(shares[0], rel=0.05)
    assert chosen.max() <= 1023


def test_every_core_is_home_to_as_many_tenants() -> None:
    placed = traffic.homes(np.random.default_rng(SEED), 1024, 8)
    assert np.bincount(placed).tolist() == [128] * 8
