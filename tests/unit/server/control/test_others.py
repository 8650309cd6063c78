"""What is summed of tenants and extensions without series of their own: it never goes back, whoever is told."""

from __future__ import annotations

import numpy as np
import pytest

from splinter.server.control.usage import Others


class Sums(Others):
    """Only the adding."""

    def __init__(self) -> None:
        self._before, self._sums = {}, {}

    def after(self, values: dict[int, int], told: list[int]) -> int:
        self.add("x", np.array(list(values), np.int64), np.array(list(values.values()), np.int64), told)
        return self._sums["x"]


@pytest.fixture
def sums() -> Sums:
    return Sums()


def test_it_counts_from_the_first_look_on(sums: Sums) -> None:
    assert sums.after({1: 100, 2: 50}, []) == 0
    assert sums.after({1: 110, 2: 51}, []) == 11


def test_who_is_told_is_not_counted_while_it_is(sums: Sums) -> None:
    sums.after({1: 0, 2: 0}, [1])
    assert sums.after({1: 1000, 2: 3}, [1]) == 3
    assert sums.after({1: 1007, 2: 1_000_000}, [2]) == 10  # the other one is told now
    assert sums.after({1: 1007, 2: 1_000_001}, [1]) == 11


def test_who_comes_counts_from_nothing_and_who_goes_takes_nothing_away(sums: Sums) -> None:
    sums.after({1: 5}, [])
    assert sums.after({1: 5, 9: 40}, []) == 40
    assert sums.after({9: 41}, []) == 41
    assert sums.after({}, []) == 41
    assert sums.after({1: 2}, []) == 43  # an id that is another tenant's now


def test_a_counter_that_began_anew_is_no_step_back(sums: Sums) -> None:
    sums.after({1: 1000}, [])
    assert sums.after({1: 7}, []) == 7
