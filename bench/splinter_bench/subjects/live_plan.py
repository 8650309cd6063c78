"""Load from within the kernel as measurements of a benchmark beside its rivals.

A closed loop over copy-mode AF_XDP sockets costs the client's CPU as much as the server's: it tells what both do together. The
kernel makes requests at a small part of that, and the most that is answered of them is what the server's core can do. Too much
load lowers that again, hence several rates, of which the best one counts.
"""

from __future__ import annotations

from functools import partial

from splinter_bench.generators.live import LiveClient
from splinter_bench.measurement import Measurement, Plan
from splinter_bench.process import pinned
from splinter_bench.result import Result

LIVE = ", live frames"
_SECONDS_MIN = 0.15  # of a slice: what still stands in a ring at its end is counted, and must be little
_DEPTH = 0  # of a measurement that is no closed loop


def live_plan(client: LiveClient, name: str, rates: tuple[int, ...], core: int, seconds: float) -> Plan:
    """A measurement for each offered rate, a second; ``core`` is the CPU that makes the load."""
    longer = max(seconds, _SECONDS_MIN)
    return [
        (Measurement(f"{name}{LIVE} {rate // 1000} K/s", _DEPTH), partial(_slice, client, core, rate, longer)) for rate in rates
    ]


def _slice(client: LiveClient, core: int, rate: int, seconds: float) -> Result:
    with pinned(core):
        return client.run(seconds, rate)
