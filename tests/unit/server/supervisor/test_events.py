"""Descriptors that are readable at the same time, of which one's call ends another."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator

import pytest

from splinter.server.supervisor.events import call_ready


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    made = selectors.EpollSelector()
    yield made
    made.close()


def readable() -> int:
    """A descriptor that is readable at once, and for good."""
    reading, writing = os.pipe()
    os.close(writing)
    return reading


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_another_call_has_ended_is_not_called(selector: selectors.BaseSelector, is_replaced: bool) -> None:
    """Nor is what that call has put in its place under the same number: nothing was heard of it yet."""
    descriptors = [readable(), readable()]
    calls: list[str] = []

    def end(other: int) -> None:
        calls.append("end")
        selector.unregister(descriptors[other])
        os.close(descriptors[other])
        if is_replaced:
            reading, _ = os.pipe()
            assert reading == descriptors[other]
            selector.register(reading, selectors.EVENT_READ, lambda: calls.append("replacement"))

    for index in range(2):
        selector.register(descriptors[index], selectors.EVENT_READ, lambda other=1 - index: end(other))
    call_ready(selector, 0)
    assert calls == ["end"]
