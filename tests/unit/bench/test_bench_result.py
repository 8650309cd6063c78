"""Which replies end a measurement."""

from __future__ import annotations

import pytest

from splinter.bench.result import Result
from splinter.errors import SplinterError


def result(corrupt: int = 0, **errors: int) -> Result:
    return Result("load", 1, 1.0, 10, 10, 0, corrupt, 10, 0, errors)


def test_busy_is_no_fault_and_what_is_expected_is_none() -> None:
    result().refuse_wrong_replies()
    result(BUSY=5).refuse_wrong_replies()
    result(BUSY=5, KILLED=1).refuse_wrong_replies({"KILLED"})


@pytest.mark.parametrize("found", [result(corrupt=1), result(NOT_FOUND=1), result(BUSY=1, KILLED=1)])
def test_anything_else_ends_it(found: Result) -> None:
    with pytest.raises(SplinterError, match="replies were wrong"):
        found.refuse_wrong_replies({"ABORTED"})
