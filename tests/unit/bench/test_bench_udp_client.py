"""The UDP load generator, and with it what all load generators share, against a responder on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from splinter_bench.generators.udp_client import UdpClient
from splinter_bench.workloads.workload import (
    Account,
    each_once,
    get_operation,
    key_template,
    put_operation,
    uniform,
    value_template,
)

from splinter.errors import SplinterError
from splinter.limits import REQUEST_HEADER_BYTES
from splinter.wire import H_STATUS, Header

ACCOUNT = Account(tenant=7, token=0xFEDCBA9876543210, table=3)
KEYS = 200
PATIENCE_NS = 20_000_000_000  # for a reply that comes, however busy the machine is
LOST_NS = 100_000_000  # for one that does not


def _client(server: Any, timeout_ns: int = PATIENCE_NS) -> UdpClient:
    client = UdpClient("127.0.0.1", server.port)
    client.flight.timeout_ns = timeout_ns
    return client


def test_loads_each_object_once_and_reads_it_back(responder: Any) -> None:
    with responder() as server, _client(server) as client:
        client.preload(put_operation(ACCOUNT), KEYS)
        key, value = key_template()[:-8], value_template()[8:]
        assert len(key) + 8 == 30
        assert len(value) + 8 == 100
        assert server.objects == {key + n.to_bytes(8, "little"): n.to_bytes(8, "little") + value for n in range(KEYS)}
        result = client.run_exactly(uniform(get_operation(ACCOUNT), KEYS), depth=16, requests=1000)
        assert result.requests == result.recorded == result.histogram.count == 1000
        assert result.failed == result.stale == 0
        assert result.checked > 0
        assert result.per_second > 0
        assert 0 < result.latency_ns["p50"] <= result.latency_ns["p99.99"]


def test_requests_carry_account_client_and_growing_sequence_numbers(responder: Any) -> None:
    with responder() as server, _client(server) as client:
        client.run_exactly(each_once(put_operation(ACCOUNT), 50), depth=8, requests=50)
        client.run_exactly(each_once(get_operation(ACCOUNT), 50), depth=8, requests=50)
        headers = [header for header, _ in server.requests]
        assert [header.sequence for header in headers] == list(range(1, 101))
        assert {(h.tenant, h.token, h.table, h.client) for h in headers} == {
            (ACCOUNT.tenant, ACCOUNT.token, ACCOUNT.table, client.flight.client)
        }


def test_no_more_than_depth_under_way(responder: Any) -> None:
    held: list[bytes] = []

    def until_four(request: Header, reply: bytes) -> list[bytes]:
        held.append(reply)
        if len(held) < 4:
            return []
        out, held[:] = held[::-1], []
        return out

    with responder(until_four) as server, _client(server) as client:
        result = client.run_exactly(each_once(put_operation(ACCOUNT), 40), depth=4, requests=40)
        assert result.recorded == 40
        assert result.lost == 0


def test_a_run_for_a_time_ends(responder: Any) -> None:
    with responder() as server, _client(server) as client:
        client.preload(put_operation(ACCOUNT), KEYS)
        result = client.run(uniform(get_operation(ACCOUNT), KEYS), depth=4, seconds=0.05, warmup_seconds=0.01)
        assert result.seconds == 0.05
        assert result.recorded <= result.requests
        assert result.requests > 0
        assert result.failed == 0


@pytest.mark.parametrize("spin", [True, False])
def test_an_open_loop_asks_at_its_rate(responder: Any, spin: bool) -> None:
    with responder() as server, _client(server) as client:
        client.preload(put_operation(ACCOUNT), KEYS)
        asked = uniform(get_operation(ACCOUNT), KEYS)
        result = client.run(asked, rate=2000, seconds=0.2, warmup_seconds=0.05, spin=spin, series=True)
        assert (result.rate, result.depth) == (2000, 0)
        assert result.requests + result.unsent == pytest.approx(500, abs=4 * 500**0.5)
        assert result.failed == 0
        assert result.histogram.count == pytest.approx(400, abs=4 * 400**0.5)
        assert sum(result.series.to_json()["count"]) == result.histogram.count - result.unsent
        with pytest.raises(ValueError, match="rate"):
            client.run(asked, seconds=0.1)


def test_lost_requests_are_counted_and_never_hang(responder: Any) -> None:
    def drop_every_tenth(request: Header, reply: bytes) -> list[bytes]:
        return [] if request.sequence % 10 == 0 else [reply]

    with responder(drop_every_tenth) as server, _client(server, LOST_NS) as client:
        result = client.run_exactly(each_once(put_operation(ACCOUNT), 100), depth=64, requests=100)
        assert result.lost >= 10  # a reply that comes later is lost, too
        assert result.recorded == 100 - result.lost


def test_duplicates_foreign_and_short_packets_answer_nothing(responder: Any) -> None:
    def noise(request: Header, reply: bytes) -> list[bytes]:
        foreign = Header.unpack(reply)
        foreign.client ^= 1
        return [reply[:10], foreign.pack(), b"X" * REQUEST_HEADER_BYTES, reply, reply]

    with responder(noise) as server, _client(server) as client:
        result = client.run_exactly(each_once(put_operation(ACCOUNT), 20), depth=1, requests=20)
        assert result.recorded == 20
        assert result.stale >= 4 * 19
        assert result.failed == 0


def test_errors_are_counted_by_status_and_not_as_success(responder: Any) -> None:
    with responder() as server, _client(server) as client:
        result = client.run_exactly(uniform(get_operation(ACCOUNT), KEYS), depth=4, requests=32)
        assert result.errors == {"NOT_FOUND": 32}
        assert result.recorded == result.histogram.count == 0


@pytest.mark.parametrize("damage", ["number", "tail", "length"])
def test_wrong_values_are_found(responder: Any, damage: str) -> None:
    def corrupt(request: Header, reply: bytes) -> list[bytes]:
        value = bytearray(reply)
        if damage == "number":
            value[REQUEST_HEADER_BYTES] ^= 1
        elif damage == "tail":
            value[-1] ^= 1
        else:
            del value[-1]
        return [bytes(value)]

    with responder() as server, _client(server) as client:
        client.preload(put_operation(ACCOUNT), KEYS)
        server._mangle = corrupt
        result = client.run_exactly(uniform(get_operation(ACCOUNT), KEYS), depth=4, requests=160)
        assert result.corrupt == (160 if damage == "length" else 10)
        assert result.recorded == 160 - result.corrupt


def test_preload_says_why_it_failed(responder: Any) -> None:
    def full(request: Header, reply: bytes) -> list[bytes]:
        out = bytearray(reply)
        out[H_STATUS] = 9
        return [bytes(out)]

    with (
        responder(full) as server,
        _client(server) as client,
        pytest.raises(SplinterError, match="OUT_OF_MEMORY"),
    ):
        client.preload(put_operation(ACCOUNT), 10)


def test_limits_of_depth_key_and_value(responder: Any) -> None:
    with responder() as server, _client(server) as client, pytest.raises(ValueError, match="depth"):
        client.run(uniform(get_operation(ACCOUNT)), depth=0, seconds=1)
    with pytest.raises(ValueError, match="key"):
        key_template(7)
    with pytest.raises(ValueError, match="key"):
        key_template(256)
    with pytest.raises(ValueError, match="value"):
        value_template(7)
    with pytest.raises(ValueError, match="value"):
        put_operation(ACCOUNT, 200, 65537)


def test_compiled_code_is_cached_on_disk() -> None:
    from splinter_bench.generators import udp_client

    assert udp_client._loop.stats.cache_path is not None
    assert Path(udp_client._loop.stats.cache_path).is_absolute()
