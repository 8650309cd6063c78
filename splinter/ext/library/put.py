"""Store one object: what an invoke costs beyond a native put."""

from splinter.ext import Store, extension, u64


@extension
def put(db: Store, table: u64, key: bytes, value: bytes) -> None:
    """Store an object, or replace it."""
    db.put(table, key, value)
