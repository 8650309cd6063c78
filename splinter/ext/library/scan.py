"""Chase pointers: a chain of look-ups each of which needs the one before."""

from splinter.ext import Error, Store, extension, u64

BROKEN = 1


@extension
def scan(db: Store, table: u64, key: u64, steps: u64) -> u64:
    """Follow ``steps`` pointers from ``key`` and return the key that is reached.

    The u64 at the start of each value is the next key; error 1 when an object of the chain is missing.
    """
    for _ in range(steps):
        value = db.get(table, key)
        if value is None:
            raise Error(BROKEN)
        key = value.u64(0)
    return key
