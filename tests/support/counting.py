"""Extensions that count, as anybody would write them."""

from __future__ import annotations

INCREMENT = """
from splinter.ext import Store, extension, u64

@extension
def increment(db: Store, key: u64) -> u64:
    found = db.get(1, key)
    count = u64(1)
    if found is not None:
        count = found.u64(0) + 1
    db.put(1, key, count)
    return count
"""

LATE = INCREMENT.replace("increment", "late").replace("    db.put(", "    yield\n    db.put(")
LOOSE = """
from splinter.ext import Store, extension, u64

@extension(isolation="none")
def loose(db: Store, key: u64) -> u64:
    return u64(db.add(1, key, 1))
"""
COUNT = """
from splinter.ext import Store, extension, u64

@extension
def count(db: Store, key: u64) -> u64:
    found = db.get(1, key)
    if found is None:
        return 0
    return found.u64(0)
"""
