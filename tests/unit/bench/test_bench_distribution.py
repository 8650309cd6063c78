"""Distributions and the workloads made of them: shares that statistics must find, with fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest
from splinter_bench.workloads.catalogue import CATALOGUE, Shape, build
from splinter_bench.workloads.distribution import Distribution, parse, zipf_ranks
from splinter_bench.workloads.workload import Account, multiget_operation

from splinter.errors import SplinterError
from splinter.wire import Opcode

ACCOUNT = Account(7, 1)
SAMPLES = 200_000


def _random() -> np.random.Generator:
    return np.random.default_rng(1)


def test_zipf_ranks_have_their_shares() -> None:
    items, theta = 1000, 0.99
    found = np.bincount(zipf_ranks(_random(), items, theta, SAMPLES), minlength=items)
    weights = 1 / np.arange(1, items + 1) ** theta
    expected = SAMPLES * weights / weights.sum()
    assert found[:20] == pytest.approx(expected[:20], rel=0.1)
    chi_square = ((found - expected) ** 2 / expected).sum()
    assert chi_square < items + 5 * (2 * items) ** 0.5  # mean and standard deviation of chi square


def test_no_exponent_is_uniform() -> None:
    found = np.bincount(zipf_ranks(_random(), 100, 0, SAMPLES), minlength=100)
    assert found == pytest.approx(SAMPLES / 100, rel=0.1)


def test_scrambled_keys_have_the_same_shares_elsewhere() -> None:
    keys = Distribution("zipf", 10, 1009).sample(_random(), SAMPLES)
    assert (keys.min(), keys.max()) == (10, 1009)
    found = np.bincount(keys - 10, minlength=1000)
    plain = np.bincount(Distribution("zipf", 0, 999, is_scrambled=False).sample(_random(), SAMPLES), minlength=1000)
    assert sorted(found) == sorted(plain)
    assert found.argmax() != plain.argmax() == 0


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("const:8", 8, 8),
        ("const:0x10", 16, 16),
        ("uniform:5", 0, 4),
        ("uniform:3:6", 3, 5),
        ("zipf:9", 0, 8),
        ("sequence:2", 0, 1),
    ],
)
def test_texts(text: str, low: int, high: int) -> None:
    found = parse(text).sample(_random(), 1000)
    assert set(found) == set(range(low, high + 1))


def test_a_zipf_text_may_have_an_exponent() -> None:
    assert parse("zipf:100:0.5").theta == 0.5


@pytest.mark.parametrize("text", ["", "8", "zipf", "zipf:x", "zipf:0", "uniform:5:5", "normal:3", "const:1:2", "zipf:9:-1"])
def test_texts_that_describe_nothing(text: str) -> None:
    with pytest.raises(SplinterError):
        parse(text)


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("ycsb-a", {"get": 0.5, "put": 0.5}),
        ("ycsb-b", {"get": 0.95, "put": 0.05}),
        ("ycsb-c", {"get": 1}),
        ("ycsb-d", {"get": 0.95, "insert": 0.05}),
        ("ycsb-f", {"get": 0.5, "read-modify-write": 0.5}),
    ],
)
def test_ycsb_mixes(name: str, shares: dict[str, float]) -> None:
    workload = build(name, Shape((ACCOUNT,), keys=1000)).workload
    counts = np.bincount(workload.choice)
    found = {operation.name: count / len(workload.choice) for operation, count in zip(workload.operations, counts, strict=True)}
    assert found == pytest.approx(shares, abs=0.01)


def test_every_workload_asks_for_what_it_stores() -> None:
    for name in CATALOGUE:
        if name == "tao":
            continue  # asks for what its extensions number
        plan = build(name, Shape((ACCOUNT, Account(8, 2)), keys=1000))
        (load,) = plan.loads
        assert load.account_choice is not None and plan.workload.account_choice is not None
        stored = set(zip(load.account_choice.tolist(), load.keys.tolist(), strict=True))
        assert len(stored) == len(load.choice) == 1000
        if name == "ycsb-d":
            continue  # asks for what it inserts as well
        numbers = plan.workload.keys.reshape(len(plan.workload.choice), -1)
        for column in numbers.T:
            assert set(zip(plan.workload.account_choice.tolist(), column.tolist(), strict=True)) <= stored


@pytest.mark.parametrize("tenants", [1, 5])
def test_latest_reads_follow_their_inserts(tenants: int) -> None:
    """Two passes through the schedule, as the load generator makes them."""
    plan = build("ycsb-d", Shape(tuple(Account(n, n) for n in range(tenants)), keys=500))
    (load,), workload = plan.loads, plan.workload
    assert load.account_choice is not None and workload.account_choice is not None
    there = set(zip(load.account_choice.tolist(), load.keys.tolist(), strict=True))
    ages = []
    newest = 499
    for lap in range(2):
        numbers = (workload.keys + lap * workload.advance).tolist()
        for operation, number, who in zip(workload.choice.tolist(), numbers, workload.account_choice.tolist(), strict=True):
            if operation:
                assert number == newest + 1
                newest = number
                there.add((who, number))
            else:
                assert (who, number) in there
                ages.append(newest - number)
    assert np.median(ages) < 100  # the latest, mostly


def test_tenants_have_their_shares() -> None:
    accounts = tuple(Account(n, n) for n in range(10))
    workload = build("get", Shape(accounts, tenant_skew=1.0, keys=1000)).workload
    assert workload.account_choice is not None
    found = np.bincount(workload.account_choice, minlength=10) / len(workload.choice)
    weights = 1 / np.arange(1, 11)
    assert found == pytest.approx(weights / weights.sum(), rel=0.03)


def test_a_thousand_tenants_need_no_more_operations() -> None:
    accounts = tuple(Account(n, n) for n in range(1024))
    workload = build("ycsb-a", Shape(accounts, keys=2048)).workload
    assert (len(workload.operations), len(workload.accounts)) == (2, 1024)


def test_shapes_that_cannot_be() -> None:
    with pytest.raises(SplinterError, match="no workload"):
        build("ycsb-z", Shape((ACCOUNT,)))
    with pytest.raises(SplinterError, match="tenants need"):
        build("get", Shape((ACCOUNT, ACCOUNT), keys=1))
    with pytest.raises(SplinterError, match="one packet"):
        build("multiget", Shape((ACCOUNT,), batch=20))
    with pytest.raises(SplinterError, match="one packet"):
        build("ycsb-f", Shape((ACCOUNT,), value_bytes=2000))


def test_a_multiget_has_a_number_for_each_key() -> None:
    operation = multiget_operation(ACCOUNT, 3)
    assert operation.opcode == Opcode.MULTIGET
    assert [column for _, column in operation.patches] == [0, 1, 2]
    assert operation.reply is not None and len(operation.reply) == 3 * 104


def test_tao_has_the_published_mix() -> None:
    workload = build("tao", Shape((ACCOUNT,), keys=1000)).workload
    counts = np.bincount(workload.choice, minlength=len(workload.operations)) / len(workload.choice)
    found = dict(zip([operation.name.removeprefix("invoke ") for operation in workload.operations], counts, strict=True))
    assert found["assoc_range"] == pytest.approx(0.409 * 0.998, abs=0.005)
    assert found["obj_get"] == pytest.approx(0.289 * 0.998, abs=0.005)
    assert found["assoc_add"] == pytest.approx(0.525 * 0.002, abs=0.0005)
    assert workload.keys[:, 0].min() >= 1
    assert workload.keys[:, 0].max() <= 1000
