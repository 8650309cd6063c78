"""redis-py's Lock: taken by two, waited for, given back, extended, lost when it expires; a sum that many add to."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import LockError, LockNotOwnedError
from redis.lock import Lock

from tests.support.waiting import wait_for

LONG_SECONDS = 300
SHORT_SECONDS = 0.02
THREADS, ADDITIONS = 4, 25


class Trying(Lock):
    """A lock that tells when an attempt to take it was in vain."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.was_refused = threading.Event()

    def do_acquire(self, token: str) -> bool:
        if super().do_acquire(token):
            return True
        self.was_refused.set()
        return False


def taken_by_two(db: Any) -> None:
    one, two = (db.lock("taken", timeout=LONG_SECONDS, sleep=0.005, blocking_timeout=SHORT_SECONDS) for _ in range(2))
    assert one.acquire() and one.locked() and one.owned() and two.locked() and not two.owned()
    assert not two.acquire(blocking=False) and not two.acquire() and one.owned()
    one.release()
    assert not one.locked() and not db.exists("taken")
    assert two.acquire(blocking=False) and two.owned() and not one.owned()
    with pytest.raises(LockError):
        one.release()
    assert two.owned()
    two.release()
    assert one.acquire(token="mine") and db.get("taken") in (b"mine", "mine")
    one.release()


def waited_for(db: Any) -> None:
    one = db.lock("waited", timeout=LONG_SECONDS)
    assert one.acquire()
    with ThreadPoolExecutor() as pool:
        # Not of a thread alone: this one asks about what another one took.
        two = db.lock("waited", timeout=LONG_SECONDS, sleep=0.002, thread_local=False, lock_class=Trying)
        taking = pool.submit(two.acquire)
        wait_for(two.was_refused.is_set, what="an attempt in vain")
        assert not taking.done() and one.owned()
        one.release()
        assert taking.result() is True and two.owned() and one.locked() and not one.owned()
    two.release()


def extended(db: Any) -> None:
    lock = db.lock("extended", timeout=LONG_SECONDS)
    assert lock.acquire() and LONG_SECONDS * 500 < db.pttl("extended") <= LONG_SECONDS * 1000
    assert lock.extend(LONG_SECONDS) and LONG_SECONDS * 1000 < db.pttl("extended") <= 2 * LONG_SECONDS * 1000
    assert lock.extend(LONG_SECONDS / 3, replace_ttl=True) and db.pttl("extended") <= LONG_SECONDS * 1000 / 3
    assert lock.reacquire() and LONG_SECONDS * 1000 / 3 < db.pttl("extended") <= LONG_SECONDS * 1000
    lock.release()
    for change in (lambda: lock.extend(1), lock.reacquire, lock.release):
        with pytest.raises(LockError):
            change()


def lost(db: Any) -> None:
    one, two = db.lock("lost", timeout=SHORT_SECONDS), db.lock("lost", timeout=LONG_SECONDS)
    assert one.acquire()
    wait_for(lambda: not one.locked(), what="the end of a lock")
    for change in (lambda: one.extend(LONG_SECONDS), one.reacquire):
        with pytest.raises(LockNotOwnedError):
            change()
    assert not db.exists("lost") and two.acquire(blocking=False)
    for change in (lambda: one.extend(LONG_SECONDS, replace_ttl=True), one.reacquire, one.release):
        with pytest.raises(LockNotOwnedError):
            change()
    assert two.owned() and db.pttl("lost") > LONG_SECONDS * 500
    two.release()


def without_end(db: Any) -> None:
    lock = db.lock("endless")
    with lock:
        assert db.ttl("endless") == -1 and lock.owned()
        with pytest.raises(LockError):
            lock.extend(1)
    assert not db.exists("endless")
    # One that has an end, but whose key lost it: nothing is to be added to.
    lock = db.lock("endless", timeout=LONG_SECONDS)
    assert lock.acquire() and db.persist("endless")
    with pytest.raises(LockNotOwnedError):
        lock.extend(1)
    assert db.ttl("endless") == -1 and lock.reacquire() and db.ttl("endless") > 0
    lock.release()


def as_a_context(db: Any) -> None:
    with pytest.raises(LockNotOwnedError), db.lock("context", timeout=SHORT_SECONDS) as lock:
        wait_for(lambda: not lock.locked(), what="the end of a lock")
    with db.lock("context", timeout=SHORT_SECONDS, raise_on_release_error=False) as lock:
        wait_for(lambda: not lock.locked(), what="the end of a lock")
    with db.lock("context", timeout=LONG_SECONDS), pytest.raises(LockError), db.lock("context", blocking=False):
        raise AssertionError("a lock was given to two")
    assert not db.exists("context")


def added(db: Any) -> None:
    """Adds to a number, which each reads and then writes: only a lock keeps all additions."""

    def add() -> None:
        for _ in range(ADDITIONS):
            with db.lock("adding", timeout=LONG_SECONDS, sleep=0.001):
                db.set("sum", int(db.get("sum") or 0) + 1)

    with ThreadPoolExecutor(THREADS) as pool:
        for adding in [pool.submit(add) for _ in range(THREADS)]:
            adding.result()
    assert int(db.get("sum")) == THREADS * ADDITIONS


def main(url: str) -> None:
    for decoded in (False, True):
        with Redis.from_url(url, decode_responses=decoded) as db:
            db.flushdb()
            for part in (taken_by_two, waited_for, extended, lost, without_end, as_a_context, added):
                part(db)


if __name__ == "__main__":
    main(sys.argv[1])
