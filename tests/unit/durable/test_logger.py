"""The log process's turns, one by one."""

from __future__ import annotations

import time
from pathlib import Path

from splinter import limits
from splinter.durable.logger import Logger, Paths
from splinter.store.layout import DURABILITY_ALWAYS
from splinter.store.store import Store
from tests.support.logs import logged

TENANT, LATE = 1, 2
SECONDS_MAX = 30.0


def test_what_the_log_lacks_keeps_all_from_being_called_durable_until_a_snapshot_is_whole(tmp_path: Path) -> None:
    store = Store.create(limits.STORE_BYTES_MIN, participants=2)
    for tenant in (TENANT, LATE):
        store.open_tenant(tenant)
    rings = logged(store, TENANT)
    (tmp_path / "log").mkdir()
    (tmp_path / "snapshots").mkdir()
    logger = Logger(store, rings, Paths(tmp_path / "log", tmp_path / "snapshots", 5, segment_bytes=1 << 20))
    store.put(TENANT, 0, b"key", b"value")
    logger.turn()
    assert store.accounts["durable"][TENANT] == store.accounts["sequence"][TENANT]
    store.put(LATE, 0, b"before", b"is not logged")
    store.set_durability(LATE, DURABILITY_ALWAYS)
    store.put(LATE, 0, b"after", b"is logged")
    store.put(TENANT, 0, b"key", b"other")
    durable = store.accounts["durable"].copy()
    logger.turn()  # the very next one
    assert (store.accounts["durable"] == durable).all()
    deadline = time.monotonic() + SECONDS_MAX
    while logger.is_taking_snapshot or rings.gaps != rings.gaps_covered:
        assert time.monotonic() < deadline
        logger.turn()
        time.sleep(0)  # the thread that takes it
    for tenant in (TENANT, LATE):
        assert store.accounts["durable"][tenant] == store.accounts["sequence"][tenant]
    store.put(LATE, 0, b"after", b"again")
    logger.turn()
    assert store.accounts["durable"][LATE] == store.accounts["sequence"][LATE]
    logger.close()
