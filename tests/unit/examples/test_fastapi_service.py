"""What the web service makes of each exception, and its extension under CPython."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import Request

from examples.fastapi_service import PAGES, VISITS, failed, visit
from splinter import errors
from splinter.ext import LocalStore

RETRIED = {"BusyError", "ControlConnectionError", "DiskFailedError", "RateLimitedError", "UnreachableError"}
TOLD = {
    **dict.fromkeys(RETRIED, 503),
    **dict.fromkeys(["ConflictError", "VersionChangedError"], 412),
    **dict.fromkeys(["QuotaExceededError", "OutOfMemoryError"], 507),
    **dict.fromkeys(["RequestTimeoutError", "PathError", "ControlTimeoutError"], 504),
    "BadKeyError": 422,
    "ValueTooLargeError": 413,
}  # all others: 500


def kinds(kind: type[Exception] = errors.SplinterError) -> Iterator[type[Exception]]:
    yield kind
    for each in kind.__subclasses__():
        yield from kinds(each)


OURS = sorted({kind for kind in kinds() if kind.__module__ == errors.__name__}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_each_exception_has_its_status(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    error.args = ("tenant 7 at 10.0.0.2",)
    reply = failed(Request({"type": "http", "method": "GET", "path": "/", "headers": []}), error)
    assert reply.status_code == TOLD.get(kind.__name__, 500)
    assert ("Retry-After" in reply.headers) == (kind.__name__ in RETRIED)
    assert (b"10.0.0.2" in bytes(reply.body)) == (reply.status_code < 500)


def test_every_name_is_an_exception_s() -> None:
    assert len(OURS) > 30
    assert {kind.__name__ for kind in OURS} >= TOLD.keys()


def test_visits_are_those_of_pages_that_are_there() -> None:
    store = LocalStore()
    assert store.invoke(visit, b"dog") == 0
    store.put(PAGES, b"dog", b"{}")
    assert [store.invoke(visit, b"dog") for _ in range(3)] == [1, 2, 3]
    assert store.get(VISITS, b"dog") == (3).to_bytes(8, "little")
    assert store.invoke(visit, b"cat") == 0 and store.get(VISITS, b"cat") is None
