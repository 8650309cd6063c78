"""The histogram's resolution and percentiles."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from splinter_bench.histogram import CELLS, LINEAR, VALUE_NS_MAX, Histogram, cell_bounds


@pytest.mark.parametrize(
    "value", [0, 1, LINEAR - 1, LINEAR, LINEAR + 1, 3_400, 79_123, 1 << 20, (1 << 20) - 1, 999_999_999, VALUE_NS_MAX]
)
def test_a_value_lands_in_the_cell_that_names_it(value: int) -> None:
    histogram = Histogram()
    histogram.record(value)
    (cell,) = np.flatnonzero(histogram.cells)
    low, high = cell_bounds(int(cell))
    assert low <= value <= high
    assert high - low <= value / 1000


def test_cells_cover_all_values_without_gap() -> None:
    bounds = [cell_bounds(cell) for cell in range(CELLS)]
    assert bounds[0][0] == 0
    assert all(high + 1 == low for (_, high), (low, _) in pairwise(bounds))
    assert bounds[-1][1] >= VALUE_NS_MAX


def test_values_out_of_range_count_at_the_ends() -> None:
    histogram = Histogram()
    histogram.record(-5)
    histogram.record(VALUE_NS_MAX * 100)
    assert histogram.cells[0] == 1
    assert histogram.cells[CELLS - 1] == 1


def test_percentiles_are_those_of_the_sorted_values() -> None:
    values = np.random.default_rng(1).lognormal(9, 1, 20_000).astype(np.int64)
    histogram = Histogram()
    for value in values:
        histogram.record(int(value))
    ordered = np.sort(values)
    for name, measured in histogram.percentiles().items():
        rank = int(np.ceil(len(values) * float(name[1:]) / 100)) - 1
        assert measured == pytest.approx(ordered[rank], rel=1e-3), name
    assert histogram.count == len(values)


def test_merge_adds() -> None:
    one, two = Histogram(), Histogram()
    one.record(100)
    two.record(100)
    two.record(200)
    one.merge(two)
    assert one.count == 3
    assert one.percentile(50) == 100
    assert one.percentile(99) == 200
    assert Histogram().percentile(50) == 0
