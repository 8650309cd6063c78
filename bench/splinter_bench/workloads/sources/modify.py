"""Read-modify-write inside the store: YCSB's F in one request."""

from splinter.ext import Error, Store, buffer, extension, u64

NOT_FOUND = 1
NUMBER_BYTES = 8
VALUE_BYTES_MAX = 1408


@extension
def modify(db: Store, table: u64, key: bytes, number: u64) -> u64:
    """Replace the number that an object begins with; returns the one that was there. Error 1: there is no such object."""
    value = buffer(VALUE_BYTES_MAX)
    while True:
        version = db.version(table, key)
        old = db.get(table, key)
        if old is None:
            raise Error(NOT_FOUND)
        before = old.u64(0)
        value.clear()
        value.append_u64(number)
        value.append(old[NUMBER_BYTES:])
        if db.put_if(table, key, value, version):
            return before
