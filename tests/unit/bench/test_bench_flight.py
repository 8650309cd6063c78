"""The load generators' common part, fed with times by hand: no socket, no clock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from splinter_bench.generators.flight import (
    CHECK_EVERY,
    LATE_NS_MAX,
    abandon,
    idle_ns,
    is_all_sent,
    is_over,
)
from splinter_bench.generators.flight_layout import WINDOW
from splinter_bench.generators.flight_memory import UNLIMITED
from splinter_bench.generators.replies import expire
from splinter_bench.histogram import Series
from splinter_bench.workloads.arrivals import RATE_MAX, poisson
from splinter_bench.workloads.workload import (
    Account,
    Workload,
    each_once,
    echo,
    get_operation,
    modify_operation,
    multiget_operation,
    put_operation,
    uniform,
)

from splinter.errors import Status
from splinter.limits import REQUEST_HEADER_BYTES
from splinter.wire import FLAG_KERNEL, FLAG_REPLY, Header, Opcode
from tests.support.flight_wire import Wire

PING = echo(REQUEST_HEADER_BYTES)
ACCOUNT = Account(7, 1)
SECOND = 1_000_000_000


def open_loop(gap: int = 10, until: int = 1000, **limits: int) -> Wire:
    """Arrivals every ``gap`` ns from ``gap`` on, all recorded."""
    wire = Wire(PING)
    wire.flight.limit(**{"depth": WINDOW // 2, "requests": UNLIMITED, **limits}, until_ns=until)
    wire.flight.record_between(0, until)
    wire.flight.arrive(0, np.full(4, gap, np.int64))
    return wire


def test_arrivals_are_sent_when_they_are_due() -> None:
    wire = open_loop()
    assert wire.send(9) == b""
    assert wire.send(10)
    assert wire.send(10) == b""
    assert len(wire.send_all(39)) == 2  # those of 20 and 30


def test_latency_counts_from_when_the_request_was_due() -> None:
    wire = open_loop()
    (request,) = wire.send_all(10)
    assert wire.answer(request, 17)
    assert wire.latencies["p50"] == 7
    (late,) = wire.send_all(25)  # the client was busy at 20
    assert wire.answer(late, 26)
    assert wire.flight.histograms["echo"].cells[6] == 1


def test_a_stalled_server_makes_every_arrival_of_its_stall_late() -> None:
    """One request at a time, a server that stalls for 500 of 1000 ns: a closed loop would see one slow reply of about fifty."""
    wire = open_loop(depth=1)
    now = 0
    while not is_over(wire.flight.address, now):
        now += 1
        for request in wire.send_all(now):
            now = 610 if 100 <= now < 610 else now + 1
            wire.answer(request, now)
    histogram = wire.flight.histograms["echo"]
    assert histogram.count == 99  # arrivals from 10 to 990, none skipped
    slow = sum(histogram.cells[10:])
    assert slow >= 50
    assert histogram.max == pytest.approx(510, abs=2)
    assert wire.flight["unsent"] == 0


def test_the_closed_loop_counts_from_when_it_was_sent() -> None:
    wire = Wire(PING)
    wire.flight.limit(depth=2, until_ns=1000, requests=UNLIMITED)
    wire.flight.record_between(0, 1000)
    first, second = wire.send_all(100)
    wire.answer(second, 130)
    assert wire.latencies["p50"] == 30
    assert len(wire.send_all(200)) == 1
    wire.answer(first, 1000)  # outside the recorded time
    assert wire.flight["recorded"] == 1
    assert wire.flight["completed"] == 2


def test_what_could_not_be_sent_counts_with_its_age() -> None:
    wire = open_loop(depth=1, until=100)
    (request,) = wire.send_all(10)
    assert wire.send_all(100) == []
    end = 100 + LATE_NS_MAX
    assert is_all_sent(wire.flight.address, end)
    wire.answer(request, end)
    assert is_over(wire.flight.address, end)
    abandon(wire.flight.address)
    assert wire.flight["unsent"] == 8  # those of 20 … 90
    histogram = wire.flight.histograms["echo"]
    assert [age for age in range(200) if histogram.cells[age]] == [10, 20, 30, 40, 50, 60, 70, 80]
    assert wire.flight.unsent_of() == {"echo": 8}  # that nobody has answered


def test_what_was_due_before_the_end_is_sent_a_little_later() -> None:
    wire = open_loop(until=100)
    sent = wire.send_all(150)
    assert len(sent) == 9
    for request in sent:
        wire.answer(request, 160)
    assert is_over(wire.flight.address, 160)
    assert wire.flight["recorded"] == 0  # no reply came in time
    assert wire.flight.histograms["echo"].count == 9


def test_warm_up_counts_for_nothing() -> None:
    wire = open_loop(until=200)
    wire.flight.record_between(100, 200)
    for now in range(10, 200, 10):
        (request,) = wire.send_all(now)
        wire.answer(request, now + 1)
    assert wire.flight.histograms["echo"].count == wire.flight["recorded"] == 10


def test_a_number_of_requests_and_no_more() -> None:
    wire = open_loop(requests=3)
    assert len(wire.send_all(500)) == 3
    assert is_all_sent(wire.flight.address, 500)


def test_sleep_lasts_until_the_next_arrival() -> None:
    wire = open_loop(gap=1000, until=SECOND)
    assert idle_ns(wire.flight.address, 400) == 600
    assert idle_ns(wire.flight.address, 1001) == 0
    wire.flight.limit(depth=0, until_ns=SECOND, requests=UNLIMITED)
    assert idle_ns(wire.flight.address, 400) > 600  # only a reply makes room


def test_a_client_that_only_waits_for_replies_sleeps() -> None:
    wire = open_loop(gap=1000, until=3500)
    assert len(wire.send_all(3000)) == 3
    assert idle_ns(wire.flight.address, 4500) > 1000  # the next arrival was due, but comes after the end


def test_a_lost_request_frees_its_place() -> None:
    wire = open_loop(depth=1, until=10 * SECOND)
    wire.flight.timeout_ns = 100
    (lost,) = wire.send_all(10)
    expire(wire.flight.address, 109)
    assert wire.flight["lost"] == 0
    expire(wire.flight.address, 110)
    assert wire.flight["lost"] == 1
    assert len(wire.send_all(110)) == 1
    assert not wire.answer(lost, 120)
    assert wire.flight["stale"] == 1


def test_replies_of_the_kernel_are_counted() -> None:
    wire = open_loop(until=10 * SECOND)
    first, second, third = wire.send_all(30)
    for request, flags in ((first, FLAG_REPLY | FLAG_KERNEL), (second, FLAG_REPLY), (third, FLAG_REPLY | FLAG_KERNEL)):
        assert wire.answer(request, 40, flags=flags)
    assert (wire.flight["by_kernel"], wire.flight["answered"]) == (2, 3)


def test_intervals_hold_what_was_due_in_them() -> None:
    wire = open_loop(gap=SECOND // 100, until=SECOND)
    series = Series(1.0)
    wire.flight.record_between(0, SECOND, series)
    now = 0
    while not is_over(wire.flight.address, now):
        now += SECOND // 100
        for request in wire.send_all(now):
            wire.answer(request, now + (50_000 if now < SECOND // 2 else 70_000))
    found = series.to_json()
    assert found["interval_ns"] == SECOND // 10
    assert found["count"] == [9] + [10] * 9
    assert found["p50"][0] == pytest.approx(50_000, rel=0.01)
    assert found["p99"][9] == pytest.approx(70_000, rel=0.01)


def test_poisson_arrivals_have_the_rate_and_are_independent() -> None:
    gaps = poisson(1_000_000, 200_000)
    assert gaps.min() >= 0
    assert gaps.mean() == pytest.approx(1000, rel=0.01)
    assert gaps.std() == pytest.approx(1000, rel=0.02)  # as of an exponential distribution
    assert np.median(gaps) == pytest.approx(1000 * np.log(2), rel=0.02)
    in_windows = np.bincount(np.cumsum(gaps) // 100_000)[:-1]
    assert in_windows.var() == pytest.approx(in_windows.mean(), rel=0.15)  # as of a Poisson distribution
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.01
    assert np.array_equal(gaps, poisson(1_000_000, 200_000))


def test_rounding_does_not_add_up() -> None:
    assert poisson(30_000_000, 100_000).mean() == pytest.approx(1000 / 30, rel=0.01)


@pytest.mark.parametrize("rate", [0, -1, RATE_MAX + 1])
def test_rates_that_cannot_be(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        poisson(rate)


def test_who_asks_comes_from_the_schedule() -> None:
    operation = put_operation(Account(1, 2))
    accounts = (Account(7, 0xFEDCBA9876543210), Account(9, 3))
    made = Workload("", (operation,), np.zeros(3, np.uint16), np.arange(3), accounts, np.array([1, 0, 1]))
    wire = Wire(made)
    headers = [Header.unpack(wire.send(1)) for _ in range(3)]
    assert [(h.tenant, h.token) for h in headers] == [(9, 3), (7, 0xFEDCBA9876543210), (9, 3)]


def test_mutations_say_which_replies_are_no_longer_waited_for() -> None:
    wire = Wire(each_once(put_operation(Account(1, 2)), 10))
    first, second = wire.send(1), wire.send(1)
    assert Header.unpack(second).acknowledged == 1
    wire.answer(first, 2)
    expire(wire.flight.address, 2)
    assert Header.unpack(wire.send(3)).acknowledged == 2
    reads = Wire(uniform(PING.operations[0]))
    assert Header.unpack(reads.send(1)).acknowledged == 0


def test_another_pass_through_the_schedule_may_move_on() -> None:
    operation = put_operation(Account(1, 2))
    wire = Wire(Workload("", (operation,), np.zeros(2, np.uint16), np.array([5, 6]), advance=100))
    numbers = [int.from_bytes(wire.send(1)[-100:-92], "little") for _ in range(5)]
    assert numbers == [5, 6, 105, 106, 205]


def test_a_status_is_an_error() -> None:
    wire = Wire(PING)
    wire.flight.record_between(0, 100)
    wire.answer(wire.send(1), 2, status=Status.BUSY)
    assert wire.flight.errors() == {"BUSY": 1}
    assert (wire.flight["completed"], wire.flight["recorded"], wire.flight["in_flight"]) == (1, 0, 0)


def test_a_large_put_is_one_request_of_many_packets() -> None:
    wire = Wire(each_once(put_operation(ACCOUNT, value_bytes=3000), 2))
    wire.flight.limit(depth=1, until_ns=UNLIMITED, requests=2)
    wire.flight.record_between(0, 1000)
    packets = wire.send_all(1)
    headers = [Header.unpack(packet) for packet in packets]
    assert {h.sequence for h in headers} == {1}
    assert [(h.fragment_index, h.fragment_count, h.value_length) for h in headers] == [(0, 3, 1152), (1, 3, 1152), (2, 3, 696)]
    assert wire.answer(packets[2], 2)
    assert not wire.answer(packets[2], 2)  # twice
    assert wire.answer(packets[0], 3)
    assert wire.send_all(3) == []
    assert wire.answer(packets[1], 9, object_version=77)
    assert (wire.flight["completed"], wire.flight["recorded"], wire.flight["in_flight"]) == (1, 1, 0)
    assert wire.latencies["p50"] == 8
    again = wire.send_all(10)
    for packet in again:
        wire.answer(packet, 11)  # no reply had a version: it was not stored as a whole
    assert wire.flight["corrupt"] == 1


def _large_get() -> tuple[Wire, list[bytes]]:
    operation = get_operation(ACCOUNT, value_bytes=3000)
    pieces = [packet.reply or b"" for packet in operation.packets]
    wire = Wire(uniform(operation, 1))
    wire.flight.limit(depth=1, until_ns=UNLIMITED, requests=2)
    wire.flight.record_between(0, 1000)
    return wire, pieces


def test_a_large_get_asks_for_the_rest_by_the_version_of_the_first() -> None:
    wire, pieces = _large_get()
    (first,) = wire.send_all(1)
    wire.answer(first, 2, pieces[0], object_version=50, fragment_count=3)
    rest = wire.send_all(3)
    headers = [Header.unpack(packet) for packet in rest]
    assert [(h.fragment_index, h.object_version) for h in headers] == [(1, 50), (2, 50)]
    assert len({h.sequence for h in headers}) == 2
    wire.answer(rest[1], 4, pieces[2], object_version=50)
    assert wire.flight["completed"] == 0
    wire.answer(rest[0], 6, pieces[1], object_version=50)
    assert (wire.flight["recorded"], wire.flight["corrupt"]) == (1, 0)
    assert wire.latencies["p50"] == 5


def test_a_large_get_begins_again_when_the_object_was_replaced() -> None:
    wire, pieces = _large_get()
    (first,) = wire.send_all(1)
    wire.answer(first, 2, pieces[0], object_version=50, fragment_count=3)
    old = wire.send_all(3)
    wire.answer(old[0], 4, status=Status.VERSION_CHANGED)
    (again,) = wire.send_all(5)
    assert Header.unpack(again).object_version == 0
    wire.answer(again, 6, pieces[0], object_version=60, fragment_count=3)
    wire.answer(old[1], 6, pieces[2], object_version=50)  # of the old one
    rest = wire.send_all(7)
    assert {Header.unpack(packet).object_version for packet in rest} == {60}
    wire.answer(rest[0], 8, pieces[1], object_version=60)
    assert wire.flight["completed"] == 0
    wire.answer(rest[1], 9, pieces[2], object_version=60)
    assert (wire.flight["recorded"], wire.flight["conflicts"]) == (1, 1)
    assert wire.flight.errors() == {}


def test_a_read_modify_write_puts_the_version_that_it_read() -> None:
    operation = modify_operation(ACCOUNT)
    wire = Wire(uniform(operation, 1))
    wire.flight.limit(depth=1, until_ns=UNLIMITED, requests=2)
    wire.flight.record_between(0, 1000)
    (get,) = wire.send_all(1)
    assert wire.answer(get, 2, operation.reply or b"", object_version=50)
    (put,) = wire.send_all(3)
    header = Header.unpack(put)
    assert (header.opcode, header.object_version, header.value_length) == (Opcode.PUT, 50, 100)
    wire.answer(put, 4, status=Status.VERSION_CHANGED)
    (get,) = wire.send_all(5)
    assert (Header.unpack(get).opcode, Header.unpack(get).object_version) == (Opcode.GET, 0)
    wire.answer(get, 6, operation.reply or b"", object_version=51)
    (put,) = wire.send_all(7)
    assert Header.unpack(put).object_version == 51
    wire.answer(put, 8, object_version=52)
    assert (wire.flight["sent"], wire.flight["recorded"], wire.flight["conflicts"]) == (1, 1, 1)
    assert wire.latencies["p50"] == 7


def test_what_belongs_to_a_lost_request_ends_with_it() -> None:
    wire, pieces = _large_get()
    wire.flight.timeout_ns = 100
    (first,) = wire.send_all(1)
    wire.answer(first, 2, pieces[0], object_version=50, fragment_count=3)
    one = wire.send(3)
    expire(wire.flight.address, 150)
    assert (wire.flight["lost"], wire.flight["in_flight"]) == (1, 0)
    assert not wire.answer(one, 160, pieces[1], object_version=50)
    (second,) = wire.send_all(160)  # a new request; the lost one's other fragment is not asked for
    assert Header.unpack(second).fragment_index == 0


def test_every_value_of_a_multiget_is_checked() -> None:
    operation = multiget_operation(ACCOUNT, 2)
    made = Workload("", (operation,), np.zeros(1, np.uint16), np.array([[3, 4]]))

    def reply(first: int, second: int) -> bytes:
        value = bytearray(operation.reply or b"")
        value[4:12], value[108:116] = first.to_bytes(8, "little"), second.to_bytes(8, "little")
        return bytes(value)

    wire = Wire(made)
    request = wire.send(1)
    assert request[-40:-32] == (3).to_bytes(8, "little") and request[-8:] == (4).to_bytes(8, "little")
    for _ in range(CHECK_EVERY):
        wire.answer(wire.send(1), 2, reply(3, 4))
    assert wire.flight["corrupt"] == 0
    for _ in range(CHECK_EVERY):
        wire.answer(wire.send(1), 2, reply(3, 5))
    assert wire.flight["corrupt"] == 1


def test_a_missing_object_may_be_right() -> None:
    operation = replace(get_operation(ACCOUNT), may_miss=True)
    wire = Wire(uniform(operation, 1))
    wire.flight.record_between(0, 100)
    wire.answer(wire.send(1), 2, status=Status.NOT_FOUND)
    assert (wire.flight["recorded"], wire.flight.errors()) == (1, {})


def test_requests_are_noted_while_there_is_room() -> None:
    wire = Wire(Workload("", (put_operation(ACCOUNT),), np.zeros(1, np.uint16), np.array([5]), advance=1))
    wire.flight.note_requests(100, 2)
    for now in (110, 120, 130):
        wire.send(now)
    assert wire.flight.noted.tolist() == [(10, 5, 0, ACCOUNT.tenant), (20, 6, 0, ACCOUNT.tenant)]


def test_what_depends_on_an_earlier_reply_waits_for_it() -> None:
    made = Workload("", PING.operations, np.zeros(1, np.uint16), np.zeros(1, np.int64), reach=3)
    wire = Wire(made)
    first, second, third = wire.send_all(1)
    for request in (second, third):
        wire.answer(request, 2)
    expire(wire.flight.address, 2)
    assert wire.send_all(3) == []
    wire.answer(first, 4)
    expire(wire.flight.address, 4)
    assert len(wire.send_all(5)) == 3
