"""A tenant reads its own debug log, the newest entries of it, and nobody else's."""

from __future__ import annotations

import numpy as np
import pytest

from splinter import limits
from splinter.worker.log import LOG, log_append, log_read


@pytest.fixture
def log() -> np.ndarray:
    return np.zeros(1, dtype=LOG)


def write(log: np.ndarray, tenant: int, text: bytes, generation: int = 1, time_ns: int = 5) -> None:
    data = np.frombuffer(text, dtype=np.uint8) if text else np.zeros(1, dtype=np.uint8)
    log_append(log.ctypes.data, tenant, generation, time_ns, data.ctypes.data, len(text))


def test_entries_come_in_order_and_by_tenant(log: np.ndarray) -> None:
    for number in range(4):
        write(log, 7, b"mine %d" % number, time_ns=number)
        write(log, 8, b"theirs")
    assert log_read(log, 7, 1) == [(number, b"mine %d" % number) for number in range(4)]


def test_the_next_holder_of_an_id_reads_nothing(log: np.ndarray) -> None:
    write(log, 7, b"secret", generation=1)
    assert log_read(log, 7, 2) == []


def test_the_ring_keeps_the_newest(log: np.ndarray) -> None:
    for number in range(limits.LOG_ENTRIES + 10):
        write(log, 7, b"%d" % number)
    found = [text for _, text in log_read(log, 7, 1)]
    assert found == [b"%d" % number for number in range(10, limits.LOG_ENTRIES + 10)]


def test_long_text_is_cut_and_empty_text_is_one(log: np.ndarray) -> None:
    write(log, 7, b"x" * 1000)
    write(log, 7, b"")
    assert [text for _, text in log_read(log, 7, 1)] == [b"x" * limits.LOG_TEXT_BYTES_MAX, b""]


def test_an_entry_being_written_is_left_out(log: np.ndarray) -> None:
    write(log, 7, b"whole")
    write(log, 7, b"half")
    log["entries"][0]["sequence"][2] = 0
    assert [text for _, text in log_read(log, 7, 1)] == [b"whole"]
