"""Read-modify-write inside the store: YCSB's F in one request."""

from splinter.ext import Error, Store, buffer, extension, u64

NOT_FOUND = 1
NUMBER_BYTES = 8
VALUE_BYTES_MAX = 1408


@extension
def modify(db: Store, table: u64, key: bytes, number: u64) -> u64:
    """Replace the number that an object begins with; returns the one that was there. Error 1: there is no such object."""
    old = db.get(table, key)
    if old is None:
        raise Error(NOT_FOUND)
    value = buffer(VALUE_BYTES_MAX)
    value.append_u64(number)
    value.append(old[NUMBER_BYTES:])
    db.put(table, key, value)
    return old.u64(0)
