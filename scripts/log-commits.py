"""Commits per second of the change log, and of SQLite (WAL, synchronous=FULL, one blob for a group), in turn on one disk.

.venv/bin/python scripts/log-commits.py FOLDER [ROUNDS]
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from splinter.durable.segments import LogWriter

SIZES = (4 << 10, 64 << 10, 256 << 10)
SECONDS = 2.0  # of a turn
GROUPS_KEPT = 64  # older ones are let go of, as behind a snapshot


def rate(commit: Callable[[int], None], first: int) -> tuple[float, int]:
    """Commits per second, and the next group's number."""
    began, number = time.monotonic(), first
    while time.monotonic() - began < SECONDS:
        commit(number)
        number += 1
    return (number - first) / (time.monotonic() - began), number


def measure(folder: Path, size: int, rounds: int) -> list[tuple[float, float]]:
    """Rates of the log and of SQLite, one pair a round."""
    group = memoryview(os.urandom(size))
    log = folder / "log"
    log.mkdir(parents=True)
    writer = LogWriter(log, 1, 1)
    database = sqlite3.connect(folder / "log.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE log (number INTEGER PRIMARY KEY, groups BLOB)")

    def into_files(number: int) -> None:
        assert writer.append([group]) == number
        if number % GROUPS_KEPT == 0:
            writer.forget_before(number - GROUPS_KEPT)

    def into_sqlite(number: int) -> None:
        database.execute("INSERT INTO log VALUES (?, ?)", (number, group))
        if number % GROUPS_KEPT == 0:
            database.execute("DELETE FROM log WHERE number < ?", (number - GROUPS_KEPT,))

    rates, ours, theirs = [], 1, 1
    for _ in range(rounds):
        ours_rate, ours = rate(into_files, ours)
        theirs_rate, theirs = rate(into_sqlite, theirs)
        rates.append((ours_rate, theirs_rate))
    writer.close()
    database.close()
    return rates


def main() -> None:
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory(dir=folder) as made:
        for size in SIZES:
            rates = measure(Path(made) / str(size), size, rounds)
            ratios = sorted(ours / theirs for ours, theirs in rates)
            ours, theirs = (statistics.median(column) for column in zip(*rates, strict=True))
            print(
                f"{size >> 10:4} KiB: files {ours:,.0f}/s, SQLite {theirs:,.0f}/s; ratio {statistics.median(ratios):.2f} "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f}, {rounds} rounds); load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
