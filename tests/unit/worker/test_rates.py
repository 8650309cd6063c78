"""Packets per second on the UDP transport: the same numbers as in the XDP program."""

from __future__ import annotations

import numpy as np

from splinter import limits
from splinter.net.tenants import RATE
from splinter.worker.rates import is_within_rate

TENANT, START = 3, 10**12
SECOND_NS = 10**9


def send(rates: np.ndarray, rate: int, times: list[int]) -> int:
    """How many packets that come at these times may pass."""
    return sum(bool(is_within_rate(rates.ctypes.data, TENANT, rate, time)) for time in times)


def test_a_flood_gets_its_rate_and_one_burst() -> None:
    rates = np.zeros(8, RATE)
    rate, flood = 10_000, 100_000
    times = [START + n * SECOND_NS // flood for n in range(flood)]  # ten times its limit, for a second
    passed = send(rates, rate, times)
    burst = max(limits.RATE_BURST_PACKETS, rate * limits.RATE_BURST_NS // SECOND_NS)
    assert abs(passed - (rate + burst)) <= 2
    assert rates[TENANT]["dropped"] == flood - passed
    assert not rates["dropped"][np.arange(8) != TENANT].any()


def test_a_tenant_within_its_rate_loses_nothing() -> None:
    rates = np.zeros(8, RATE)
    assert send(rates, 1000, [START + n * SECOND_NS // 1000 for n in range(5000)]) == 5000


def test_silence_saves_no_more_than_a_burst() -> None:
    rates = np.zeros(8, RATE)
    send(rates, 100, [START])
    passed = send(rates, 100, [START + 3600 * SECOND_NS] * 1000)
    assert abs(passed - limits.RATE_BURST_PACKETS) <= 2
