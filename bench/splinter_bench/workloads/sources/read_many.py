# mypy: ignore-errors
"""The long request of the experiments: read 128 objects, all of each."""

from splinter.ext import Error, Store, extension, u64

NOT_FOUND = 1
WORD = 0xFFFFFFFFFFFF
OBJECTS = 128
OBJECTS_PER_TURN = 8  # as in the OSDI'18 paper


@extension
def read_many(db: Store, table: u64, first: u64) -> u64:
    """Sum of all words of the values of ``first`` and the 127 keys behind; error 1 when one is missing."""
    total = 0
    for index in range(OBJECTS):
        value = db.get(table, first + index)
        if value is None:
            raise Error(NOT_FOUND)
        for place in range(0, len(value) - 7, 8):
            total = (total + value.u64(place)) & WORD
    return total


@extension
def read_many_yielding(db: Store, table: u64, first: u64) -> u64:
    """The same with the author's yields."""
    total = 0
    for index in range(OBJECTS):
        value = db.get(table, first + index)
        if value is None:
            raise Error(NOT_FOUND)
        for place in range(0, len(value) - 7, 8):
            total = (total + value.u64(place)) & WORD
        if index % OBJECTS_PER_TURN == OBJECTS_PER_TURN - 1:
            yield
    return total
