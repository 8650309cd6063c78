"""Read one object and compute with it for a while: a request whose length can be chosen."""

from splinter.ext import Error, Store, extension, u64

NOT_FOUND = 1
PRIME = 0x01000193
WORD = 0xFFFFFFFF


@extension
def read_and_compute(db: Store, table: u64, key: u64, rounds: u64) -> u64:
    """A digest that goes over the value ``rounds`` times; error 1 when there is no such object."""
    value = db.get(table, key)
    if value is None:
        raise Error(NOT_FOUND)
    digest = WORD
    for _ in range(rounds):
        for place in range(len(value)):
            digest = ((digest ^ value.u8(place)) * PRIME) & WORD
    return digest
