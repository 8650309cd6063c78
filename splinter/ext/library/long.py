# mypy: ignore-errors
"""A long task: 128 look-ups, to see how well others are served meanwhile."""

from splinter.ext import Store, extension, u64

OBJECTS = 128
OBJECTS_PER_TURN = 8  # as in the OSDI'18 paper; the compiler would yield too, but later


@extension
def long(db: Store, table: u64, first: u64) -> u64:
    """Bytes of all values of the keys ``first`` … ``first + 127``."""
    total = 0
    for index in range(OBJECTS):
        value = db.get(table, first + index)
        if value is not None:
            total += len(value)
        if index % OBJECTS_PER_TURN == OBJECTS_PER_TURN - 1:
            yield
    return total
