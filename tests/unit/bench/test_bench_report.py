"""Medians, spreads and ratios of rounds."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from splinter_bench.control import Taken
from splinter_bench.measurement import COUNTERPARTS, ECHO, Measurement, Report, counterpart
from splinter_bench.report import told
from splinter_bench.result import Result

from splinter.errors import SplinterError


def _result(name: str, depth: int, latency_ns: int, per_second: int, **fields: int) -> Result:
    counters = {"lost": 0, "corrupt": 0, "checked": 0, "stale": 0} | fields
    result = Result(name, depth, 1.0, per_second, per_second, **counters)
    result.histogram.record(latency_ns)
    return result


REDIS_GET = "redis get"
Found = tuple[int, int]  # latency and rate


def _report(*measured: tuple[str, list[Found]], **circumstances: Any) -> Report:
    """Runs of one slice each, at depth 1."""
    report = Report({"command": "splinter bench", **circumstances})
    for name, runs in measured:
        for run, (latency, rate) in enumerate(runs):
            report.add(Measurement(name, 1), run, run, Taken(_result(name, 1, latency, rate), True))
    return report


def _beside_redis(**circumstances: Any) -> Report:
    return _report(
        (ECHO, [(1000, 100), (1000, 100), (2000, 50)]),
        ("get", [(1200, 90), (1300, 80), (2000, 50)]),
        (REDIS_GET, [(12_000, 9), (13_000, 8), (40_000, 5)]),
        **circumstances,
    )


REPORT = _beside_redis()


def _median(report: Report, name: str, number: str) -> pd.Series:
    return report.runs().columns({"subject": name}).evaluate(f"it.{number}")


def test_ratios_are_taken_slice_by_slice() -> None:
    # Of the medians it would be 1.3: the third slice was disturbed for both alike.
    latencies = _median(REPORT, "get", "latency_over_echo")
    assert latencies.median() == pytest.approx(1.2, rel=1e-3)
    assert latencies.max() == pytest.approx(1.3, rel=1e-3)
    assert _median(REPORT, "get", "throughput_of_echo").median() == pytest.approx(0.9)
    assert _median(REPORT, REDIS_GET, "latency_over_ours").median() == pytest.approx(10, rel=1e-2)


def test_slices_that_had_no_peace_are_left_out_of_runs_and_ratios() -> None:
    report = Report()
    for run in range(2):
        for place in range(3):
            number, is_disturbed = 3 * run + place, (run, place) == (0, 1)
            mine = _result("get", 1, 9_000_000 if is_disturbed else 1500, 50)
            report.add(Measurement("get", 1), run, number, Taken(mine, not is_disturbed))
            report.add(Measurement(ECHO, 1), run, number, Taken(_result(ECHO, 1, 1000, 100), (run, place) != (1, 2)))
    ratios, left_out = report.slices.columns().kept("get_1.p50 / echo_1.p50")
    assert list(ratios) == pytest.approx([1.5] * 4, rel=1e-2)  # neighbours that both had peace
    assert left_out == 2
    assert list(_median(report, "get", "latency_over_echo")) == pytest.approx([1.5] * 2, rel=1e-2)
    assert list(_median(report, "get", "requests")) == [100, 150]
    assert _median(report, "get", "max").max() < 9_000_000


def test_a_rival_is_compared_with_what_does_the_same() -> None:
    assert counterpart("redis get, spinning client") == counterpart("redis get") == "get"
    assert counterpart("get") is counterpart(ECHO) is None
    assert not set(COUNTERPARTS) & set(COUNTERPARTS.values())


def test_other_programs_rivals_and_their_configuration_are_told() -> None:
    extras = [{"name": "other", "connections": 2, "per_second": rate, "latency_ns": {"p50": 9000}} for rate in (10.0, 30.0)]
    rivals = {"redis": {"version": "Redis 7", "command": "redis-server --port 1"}}
    report = _beside_redis(rivals=rivals)
    for run, extra in enumerate(extras):
        report.add_program(run, extra, [run])
    document = report.to_json()
    assert "Redis 7: redis-server --port 1" in "\n".join(told.circumstances(document))
    (table,) = told.tables(document)
    *_, redis, other = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    assert {"": "redis get", "depth": "1", "beside": "get", "p50 / ours": "10.0 ×"}.items() <= redis.items()
    assert {"": "other", "depth": "2", "per second": "20", "p50 µs": "9.00"}.items() <= other.items()


def test_without_an_echo_there_are_no_ratios() -> None:
    (row,) = _report(("get", [(1200, 90)])).runs().rows
    assert not {name for name in row if "_over_" in name or "_of_" in name}


def test_the_document_is_json_with_every_run() -> None:
    document = json.loads(json.dumps(REPORT.to_json()))
    assert document["command"] == "splinter bench"
    assert [(row["subject"], row["round"]) for row in document["runs"]] == [
        (name, number) for name in (ECHO, "get", REDIS_GET) for number in range(3)
    ]
    get = [row for row in document["runs"] if row["subject"] == "get"]
    assert [row["per_second"] for row in get] == [90, 80, 50]
    assert all({"p50", "p90", "p99", "p999", "p9999"} <= row.keys() for row in get)


def test_failures_add_up() -> None:
    report = Report()
    for number, failures in enumerate(({"lost": 2, "corrupt": 1}, {})):
        for place in range(2):
            part = _result("get", 1, 10, 5, **failures)
            part.errors = {"BUSY": number}
            report.add(Measurement("get", 1), number, 2 * number + place, Taken(part, True))
    assert report.failed == 2 * 3 + 2 * 1
    with pytest.raises(SplinterError, match="8 requests"):
        report.observations()


def test_a_run_is_the_sum_of_its_slices() -> None:
    report = Report()
    for place, latency in enumerate((100, 100, 300)):
        report.add(Measurement("get", 1), 0, place, Taken(_result("get", 1, latency, 50), True))
    (run,) = report.runs().rows
    assert (run["seconds"], run["recorded"], run["per_second"]) == (3.0, 150, 50)
    assert run["p50"] == 100
    assert run["p99"] == 300


def test_the_table_shows_ratio_and_spread() -> None:
    console = Console(width=160, record=True, file=None, quiet=True)
    console.quiet = False
    with console.capture() as capture:
        console.print(told.tables(REPORT.to_json())[0].rich())
    text = capture.get()
    assert "1.20 ×" in text
    assert "25%" in text  # of get: 50 to 90 around a median of 80
