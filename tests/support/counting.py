"""An extension that counts, as anybody would write it."""

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
