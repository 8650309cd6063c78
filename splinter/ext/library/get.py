"""Read one object: what an invoke costs beyond a native get."""

from splinter.ext import Error, Store, View, extension, u64

NOT_FOUND = 1


@extension
def get(db: Store, table: u64, key: bytes) -> View:
    """The value of an object; error 1 when there is none."""
    value = db.get(table, key)
    if value is None:
        raise Error(NOT_FOUND)
    return value
