"""FNV-1a of a stored value: a loop of arithmetic over bytes and nothing else."""

from splinter.ext import Error, Store, extension, u64

NOT_FOUND = 1
OFFSET_BASIS = 0x811C9DC5
PRIME = 0x01000193
WORD = 0xFFFFFFFF


@extension
def fnv1a(db: Store, table: u64, key: u64) -> u64:
    """32 bits of FNV-1a; error 1 when there is no such object."""
    value = db.get(table, key)
    if value is None:
        raise Error(NOT_FOUND)
    digest: u64 = OFFSET_BASIS
    for place in range(len(value)):
        digest = ((digest ^ value.u8(place)) * PRIME) & WORD
    return digest
