"""Count visits: two clients at once, and no visit is lost.

    .venv/bin/python -m examples.counter

``visit`` reads a counter and puts it back. It is a transaction, as every extension: nobody else comes between the two.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from splinter.client import Client
from splinter.ext import Store, extension, u64
from splinter.testing import running_server

PAGES = 1  # table; key: a page's number, value: its visits, u64
VISITORS = 2
VISITS = 1000  # of each visitor


@extension
def visit(db: Store, page: u64) -> u64:
    """Count a visit of a page; the number of visits so far."""
    seen = db.get(1, page)
    count = 1 if seen is None else seen.u64(0) + 1
    db.put(1, page, count)
    return count


def visit_often(db: Client, page: int, visits: int) -> list[int]:
    """Visit a page; what each visit was told."""
    return [db.invoke("visit", page=page) for _ in range(visits)]


def main() -> None:
    """Let the visitors visit one page at the same time, and print what it counted."""
    with running_server() as server, server.client() as db, ThreadPoolExecutor(VISITORS) as visitors:
        db.install(visit)
        told = [number for seen in visitors.map(lambda _: visit_often(db, 7, VISITS), range(VISITORS)) for number in seen]
        assert sorted(told) == list(range(1, VISITORS * VISITS + 1))
        print(f"{VISITORS} visitors, {VISITS:,} visits each: {max(told):,} counted, each number told once")


if __name__ == "__main__":
    main()
