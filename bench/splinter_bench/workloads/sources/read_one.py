"""The small request of the experiments: read one object."""

from splinter.ext import Error, Store, extension, u64

NOT_FOUND = 1


@extension
def read_one(db: Store, table: u64, key: u64) -> u64:
    """The number at the start of a value; error 1 when there is no such object."""
    value = db.get(table, key)
    if value is None:
        raise Error(NOT_FOUND)
    return value.u64(0)
