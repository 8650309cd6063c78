"""Traces: files, and what a replay makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from splinter_bench.generators.flight_layout import RECORDED
from splinter_bench.workloads import trace
from splinter_bench.workloads.catalogue import Shape, build
from splinter_bench.workloads.workload import Account

from splinter.errors import SplinterError

ACCOUNTS = (Account(7, 1), Account(9, 2))
LINES = [  # time, key, tenant, bytes of value, opcode
    (0, 5, 40, 0, 1),
    (10, 5, 40, 200, 2),
    (30, 5, 40, 0, 1),
    (30, 5, 41, 0, 1),
    (60, 6, 41, 20_000, 2),
    (61, 6, 41, 0, 1),
    (70, 5, 40, 0, 3),
    (90, 5, 40, 0, 1),
]


def _records(lines: list[tuple[int, ...]] = LINES) -> np.ndarray:
    return np.array([(*line, 0) for line in lines], trace.RECORD)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "t"
    trace.write(path, _records(), 20)
    assert path.stat().st_size == 16 + 32 * len(LINES)
    records, key_bytes = trace.read(path)
    assert np.array_equal(records, _records())
    assert key_bytes == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b"", "no trace"),
        (lambda b: b"XXXX" + b[4:], "no trace"),
        (lambda b: b[:4] + b"\x09\x00" + b[6:], "version 9"),
        (lambda b: b[:6] + b"\x01\x00" + b[8:], "keys have"),
        (lambda b: b[:16], "one or more records"),
        (lambda b: b[:-1], "one or more records"),
        (lambda b: b[:16] + _records([(0, 1, 1, 0, 7)]).tobytes(), "record 0 has another opcode"),
        (lambda b: b + _records([(0, 1, 1, 0, 1)]).tobytes(), "record 8 has an earlier time"),
        (lambda b: b[:16] + _records([(0, 1, 1, 70_000, 2)]).tobytes(), "65536 bytes"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "t"
    trace.write(path, _records())
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(SplinterError, match=message):
        trace.read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SplinterError, match="No such file"):
        trace.read(tmp_path / "t")


def test_gaps_are_the_trace_s_times() -> None:
    assert trace.gaps(_records(), 1.0).tolist() == [0, 10, 20, 0, 30, 1, 9, 20]
    assert trace.gaps(_records(), 10.0).tolist() == [0, 1, 2, 0, 3, 0, 1, 2]


def test_a_replay_stores_what_is_read_first_and_asks_in_order() -> None:
    (load,), workload = trace.replay(_records(), 30, ACCOUNTS)
    assert load.account_choice is not None and workload.account_choice is not None
    assert sorted(zip(load.account_choice.tolist(), load.keys.tolist(), strict=True)) == [(0, 5), (1, 5)]
    assert workload.account_choice.tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    asked = [workload.operations[n] for n in workload.choice]
    assert [operation.name for operation in asked] == ["get", "put", "get", "get", "put", "get", "delete", "get"]
    assert [len(operation.packets) for operation in asked] == [1, 1, 1, 1, 18, 18, 1, 1]
    assert asked[0].may_miss


def test_without_reads_nothing_is_stored_first() -> None:
    loads, _ = trace.replay(_records([(0, 5, 40, 200, 2)]), 30, ACCOUNTS)
    assert loads == ()


def test_too_many_sizes() -> None:
    lines = [(0, n, 1, 8 + n, 2) for n in range(trace.SIZES_MAX + 1)]
    with pytest.raises(SplinterError, match="round them"):
        trace.replay(_records(lines), 30, ACCOUNTS)


def test_a_read_modify_write_is_recorded_as_both() -> None:
    workload = build("ycsb-f", Shape(ACCOUNTS, keys=10)).workload
    notes = np.array([(100, 3, 0, 7), (150, 4, 1, 9)], RECORDED)
    records = trace.from_notes(notes, workload, 100)
    assert records["opcode"].tolist() == [1, 1, 2]
    assert records["key"].tolist() == [3, 4, 4]
    assert records["time_ns"].tolist() == [0, 50, 50]
    assert records["value_bytes"].tolist() == [0, 0, 100]


def test_other_requests_cannot_be_recorded() -> None:
    workload = build("multiget", Shape(ACCOUNTS, keys=10)).workload
    with pytest.raises(SplinterError, match="cannot be recorded"):
        trace.from_notes(np.zeros(1, RECORDED), workload, 100)
