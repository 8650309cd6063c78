"""The log of events: numbered without gaps, bounded, one writer, told apart by tenant."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from splinter.server.events import EVENT, EventLog, event

_log = logging.getLogger("splinter.test")


@pytest.fixture
def events() -> Iterator[EventLog]:
    made = EventLog(kept=8)
    made.listen()
    yield made
    made.close()


def numbers(found: dict) -> list[int]:
    return [one["number"] for one in found["events"]]


def in_a_child(work) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def test_records_that_name_an_event_are_kept_and_others_are_not(events: EventLog) -> None:
    _log.warning("nothing to see")
    _log.info("worker %d was stuck", 3, extra=event("worker.replaced", worker=3, reason="stuck"))
    (one,) = events.read(None, 10)["events"]
    assert one.pop("time_ns") > 0
    assert one == {
        "number": 1, "tenant": 0, "level": "info", "kind": "worker.replaced", "text": "worker 3 was stuck",
        "fields": {"worker": 3, "reason": "stuck"},
    }  # fmt: skip


def test_a_level_of_the_log_above_info_loses_no_event(events: EventLog) -> None:
    logging.getLogger("splinter").setLevel(logging.WARNING)
    events.listen()
    _log.info("x", extra=event("a"))
    assert numbers(events.read(None, 10)) == [1]


def test_numbers_have_no_gaps_and_a_slow_reader_is_told_what_it_missed(events: EventLog) -> None:
    for count in range(20):
        _log.info("%d", count, extra=event("a"))
    assert numbers(events.read(None, 100)) == list(range(13, 21))
    found = events.read(5, 3)
    assert (numbers(found), found["missed"], found["next"], found["newest"]) == ([13, 14, 15], 7, 15, 20)
    found = events.read(15, 100)
    assert (numbers(found), found["missed"], found["next"]) == ([16, 17, 18, 19, 20], 0, 20)
    found = events.read(20, 100)
    assert (numbers(found), found["missed"], found["next"]) == ([], 0, 20)
    assert events.read(1 << 40, 100)["next"] == 20


def test_another_process_sends_and_only_the_writer_numbers(events: EventLog) -> None:
    in_a_child(lambda: _log.warning("from the child", extra=event("b", 7, 2, name="f")))
    assert events.read(None, 10)["newest"] == 0
    events.receive()
    (one,) = events.read(None, 10)["events"]
    assert (one["text"], one["tenant"], one["fields"]) == ("from the child", 7, {"name": "f"})


def test_what_does_not_fit_into_the_socket_is_missed_with_its_numbers(events: EventLog) -> None:
    def flood() -> None:
        for count in range(5000):
            _log.info("%d", count, extra=event("a"))
        while events._sending.send(b"x"):  # full, with whatever fits
            pass

    def tell() -> None:
        events._lost = 3
        _log.info("after", extra=event("a"))

    in_a_child(tell)
    events.receive()
    found = events.read(0, 100)
    assert (numbers(found), found["missed"]) == ([4], 3)
    in_a_child(flood)  # it ends: nothing waits for the writer


def test_what_is_no_message_of_ours_takes_a_number_and_nothing_else(events: EventLog) -> None:
    for body in (b"", b"\xff", b"\x93\x01\x02\x03", b"x" * 900, b"\x95\xa1a\xa1b\xa1c\xa1d\xa1e"):
        events._sending.send(body or b"\xc1")
    events.receive()
    assert events.read(0, 100) == {"events": [], "next": 5, "newest": 5, "missed": 5}


def test_a_tenant_sees_its_own_by_numbers_that_tell_nothing_of_others(events: EventLog) -> None:
    for tenant, generation in ((7, 1), (8, 1), (0, 0), (7, 1), (8, 1), (7, 1)):
        _log.info("of %d", tenant, extra=event("a", tenant, generation))
    found = events.read_own(7, 1, None, 100)
    assert [(one["number"], one["text"]) for one in found["events"]] == [(1, "of 7"), (2, "of 7"), (3, "of 7")]
    assert (found["next"], found["newest"], found["missed"]) == (3, 3, 0)
    assert numbers(events.read_own(7, 1, 2, 100)) == [3]
    assert events.read_own(9, 1, None, 100)["events"] == []


def test_the_next_tenant_of_an_id_sees_nothing_of_the_last(events: EventLog) -> None:
    _log.info("old", extra=event("a", 7, 1))
    assert events.read_own(7, 2, None, 100) == {"events": [], "next": 0, "newest": 0, "missed": 0}
    _log.info("new", extra=event("a", 7, 2))
    assert [one["text"] for one in events.read_own(7, 2, None, 100)["events"]] == ["new"]


def test_a_tenant_that_was_slow_is_told_what_it_missed(events: EventLog) -> None:
    for count in range(12):
        _log.info("%d", count, extra=event("a", 7, 1))
    found = events.read_own(7, 1, 1, 100)
    assert (numbers(found), found["missed"], found["next"]) == ([5, 6, 7, 8, 9, 10, 11, 12], 3, 12)


HOSTILE = {
    "long": "x" * 5000,
    "wide": "\U0001f600" * 5000,
    "evil": "\x1b]0;evil\x07\nsplinter: all is well" * 100,
    "half": "\udc80",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_a_name_holds_fits_and_is_visible(events: EventLog, text: str) -> None:
    extra = event("a", **{f"n{count}": text for count in range(20)})
    # Not by the logger: the test's report would hold the text, and no report can hold what is no Unicode.
    events.handle(_log.makeRecord(_log.name, logging.INFO, __file__, 1, "%s", (text,), None, extra=extra))
    (one,) = events.read(None, 10)["events"]
    assert (one["text"] + "".join(one["fields"].values())).isprintable()
    assert one["text"].endswith("…") or len(text) < 10


def test_a_record_is_a_whole_number_of_cache_lines() -> None:
    assert EVENT.itemsize == 512
