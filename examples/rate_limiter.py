"""Limit requests by a token bucket: each caller has a bucket that fills by the clock, and each request takes from it.

    .venv/bin/python -m examples.rate_limiter

A bucket is one object: how many tokens it had, in millionths, and when. An invoke is a transaction, so that no two of them take
the same token.
"""

from __future__ import annotations

from splinter.ext import Store, buffer, extension, u64
from splinter.testing import running_server

BUCKETS = 2  # table; key: the caller's name, value: u64 millionths of tokens, u64 nanoseconds of the server's clock
MILLION = 1_000_000
SECOND_NS = 1_000_000_000


@extension
def allow(db: Store, caller: bytes, rate: u64, burst: u64) -> bool:
    """Whether a caller may go on: ``rate`` tokens come in a second, ``burst`` at most are kept, a request takes one."""
    now = db.now_ns()
    bucket = db.get(2, caller)
    tokens: u64 = burst * MILLION
    if bucket is not None:
        passed = min(now - min(bucket.u64(8), now), 3600 * SECOND_NS)
        tokens = min(bucket.u64(0) + passed // 1000 * rate, tokens)  # so many millionths come in a microsecond
    if tokens < MILLION:
        return False
    state = buffer(16)
    state.append_u64(tokens - MILLION)
    state.append_u64(now)
    db.put(2, caller, state)
    return True


def main() -> None:
    """Ask more often than is allowed, and print how many requests went through."""
    with running_server() as server, server.client() as db:
        db.install(allow)
        answers = [db.invoke("allow", caller=b"alice", rate=1, burst=5) for _ in range(20)]
        assert answers[:5] == [True] * 5
        assert db.invoke("allow", caller=b"bob", rate=1, burst=5)
        print(f"alice asked {len(answers)} times and was let through {sum(answers)} times; bob's bucket is his own")


if __name__ == "__main__":
    main()
