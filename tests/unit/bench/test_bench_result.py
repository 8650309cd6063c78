"""Which replies end a measurement."""

from __future__ import annotations

import pytest
from splinter_bench.result import Result

from splinter.errors import SplinterError

REQUESTS = 5000


def result(corrupt: int = 0, **errors: int) -> Result:
    return Result("load", 1, 1.0, REQUESTS, REQUESTS, 0, corrupt, REQUESTS, 0, errors)


def test_a_few_busy_replies_and_those_that_are_expected_are_no_fault() -> None:
    result().refuse_wrong_replies()
    result(BUSY=5).refuse_wrong_replies()
    result(BUSY=5, KILLED=1).refuse_wrong_replies({"KILLED"})
    result(BUSY=REQUESTS).refuse_wrong_replies({"BUSY"})


@pytest.mark.parametrize("found", [result(corrupt=1), result(NOT_FOUND=1), result(BUSY=1, KILLED=1), result(BUSY=6)])
def test_anything_else_ends_it(found: Result) -> None:
    with pytest.raises(SplinterError, match="replies were wrong"):
        found.refuse_wrong_replies({"ABORTED"})
