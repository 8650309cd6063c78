"""The chunks of a tenant's roster (:mod:`splinter.store.roster`) in the store's memory; conventions as in
:mod:`splinter.store.layout`."""

from __future__ import annotations

import numpy as np

from splinter import limits
from splinter.store.layout import CLASS_BYTES, ENTRY_BYTES, OBJECT_BYTES, POSITION_BITS

# The value of an object in TABLE_ROSTER whose key is the number of the chunk, 8 bytes; then its cells. It is changed in place.
# Writer: holder of the tenant's lock, in steps of the journal; read by others without it.
CHUNK = np.dtype(
    [
        ("used", "<u4"),  # cells that name an entry. Written with ``hole``
        ("hole", "<u4"),  # the first cell that names none, plus 1; 0: there is none
    ]
)
CHUNK_BYTES = CHUNK.itemsize
CHUNK_KEY_BYTES = 8
CHUNK_AT = OBJECT_BYTES + CHUNK_KEY_BYTES  # where it is in the slot
HOLE_SHIFT = 32  # in the chunk read as one 64-bit word

# A cell is the number of an index entry, in 8-byte words from the start of the index; or CELL_HOLE and the next hole of the
# chunk, plus 1, or 0. Two neighbours are written as one 64-bit word.
CELL_BYTES = 4
CELL_HOLE = 1 << 31
_INDEX_SHARE = 8  # one eighth of a store is index (splinter.store.store)
assert limits.STORE_BYTES_MAX // _INDEX_SHARE // ENTRY_BYTES < CELL_HOLE

# The first chunks are small, so that a tenant with few keys pays little: 128, 256, 512 and then 1024 bytes.
CHUNK_CLASS_FIRST, CHUNK_CLASS_STEP, CHUNK_GROWS = 2, 2, 3
CHUNK_CLASS_BYTES_FIRST = CLASS_BYTES[CHUNK_CLASS_FIRST]
CHUNK_CLASS_BYTES_MAX = CHUNK_CLASS_BYTES_FIRST << CHUNK_GROWS
assert CLASS_BYTES[CHUNK_CLASS_FIRST + CHUNK_CLASS_STEP] == 2 * CHUNK_CLASS_BYTES_FIRST

# A position is the number of a chunk, and of a cell in it.
CELL_BITS = 8
CELL_MASK = (1 << CELL_BITS) - 1
CHUNKS_MAX = 1 << POSITION_BITS - CELL_BITS
assert ((CHUNK_CLASS_BYTES_FIRST << CHUNK_GROWS) - CHUNK_AT - CHUNK_BYTES) // CELL_BYTES <= 1 << CELL_BITS
