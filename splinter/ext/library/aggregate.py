"""Sum over a list of keys: many look-ups in one request."""

from splinter.ext import Error, Store, extension, u64

BAD_KEYS = 1
WORD = 0xFFFFFFFFFFFFFFFF


@extension
def aggregate(db: Store, table: u64, key_length: u64, keys: bytes) -> u64:
    """Sum, modulo 2**64, of the u64 at the start of each value.

    ``keys`` holds keys of ``key_length`` bytes one behind the other; error 1 when it does not. What is not there counts as 0.
    """
    if key_length == 0 or len(keys) % key_length != 0:
        raise Error(BAD_KEYS)
    total: u64 = 0
    for start in range(len(keys) // key_length):
        value = db.get(table, keys[start * key_length : start * key_length + key_length])
        if value is not None:
            total = total + value.u64(0) & WORD
    return total
