"""How figures come about: rounds in turns, each with a control beside it, and a verdict from an interval.

A round takes one slice of everything that is compared, one right behind the other, forwards and backwards by turns: what
changes slowly meets all alike. The figure is a ratio (or a difference) of each round, and their median. A slice beside which
the machine did something else is taken again (:mod:`splinter_bench.control`); a round with one that never came out well is
left out of the figures that it is part of. Where as many are left out as are kept, nothing can be told
(:class:`splinter_bench.figure.Figure`).

The interval is that of the median by order statistics: it holds the true median in 95 % of all measurements, whatever the
distribution. A bound holds, or fails, when the whole interval is on one side of it; else one cannot tell on this machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import TypeVar

from splinter_bench.control import Control, Taken
from splinter_bench.observations import Found, Observations

T = TypeVar("T")
K = TypeVar("K")
CONFIDENCE = 0.95
ROUNDS_MIN = 6  # with fewer there is no such interval


class Verdict(Enum):
    """What a measurement says of a bound."""

    HOLDS = "holds"
    FAILS = "fails"
    CANNOT_TELL = "cannot tell"


def in_turns(
    slices: Mapping[str, Callable[[], Found]], count: int, control: Control | None = None, *, metric: str = "ns"
) -> Observations:
    """Take ``count`` rounds of slices. A slice finds a load generator's result, numbers by metric, or one of ``metric``."""
    found = Observations()
    control = control or Control()
    for number in range(count):
        for name, taken in one_round(slices, number, control):
            found.add(name, taken.result, number, is_still=taken.is_still, metric=metric)
    return found


def one_round(slices: Mapping[K, Callable[[], T]], number: int, control: Control) -> Iterator[tuple[K, Taken[T]]]:
    """Take a slice of each, in the order of round ``number``."""
    for name in turn(list(slices), number):
        yield name, control.take(slices[name])


def turn(slices: Sequence[T], number: int) -> Iterator[T]:
    """The order of a round's slices: forwards, and in the next round backwards."""
    return reversed(slices) if number % 2 else iter(slices)


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The narrowest pair of order statistics that has the median between them with this probability; infinite for too few.

    Between the k-th smallest and the k-th largest of n values the median is missed with 2 P(B(n, ½) < k).
    """
    ordered, count = sorted(values), len(values)
    rank, missed = 0, 0.0
    while rank < count // 2 and missed + math.comb(count, rank) * 2.0 ** (1 - count) <= 1 - confidence:
        missed += math.comb(count, rank) * 2.0 ** (1 - count)
        rank += 1
    return (ordered[rank - 1], ordered[count - rank]) if rank else (-math.inf, math.inf)


def judge(ends: tuple[float, float], bound: float, *, is_most: bool) -> Verdict:
    """What an interval says of a bound: the largest value that will do (``is_most``), or the smallest."""
    low, high = ends
    if high <= bound if is_most else low >= bound:
        return Verdict.HOLDS
    if low > bound if is_most else high < bound:
        return Verdict.FAILS
    return Verdict.CANNOT_TELL
