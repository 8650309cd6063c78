"""The parts of large values, and which object names them.

A value of more than VALUE_BYTES_MAX is kept in *parts*: objects of the system, in TABLE_PARTS, of PART_BYTES each but the
last. The object of its key, the *head*, has a LARGE for its value, which tells the value's id and length; parts are found in
the index by id and number. A part tells the key of its head (PART), so whoever finds it can tell whether it is named.

Parts are put first, one by one, and seen by nobody; the head's publication is the commit (:mod:`splinter.store.large`). A part
has a moment, PART_NS after it was put. What is over by then and named by no head goes with the sweep: of a put that was never
finished, or of a head that was replaced by a process that died before it had removed them.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import load64, store64
from splinter.store.hashing import identity_of, keys_equal, store_hash
from splinter.store.index import find_entry, word_object
from splinter.store.objects import (
    is_large,
    object_key,
    object_key_length,
    object_value,
    object_value_length,
)
from splinter.store.records import Claim, Large, Part, Participant
from splinter.wire import LARGE_BYTES, PART_HEAD_BYTES, PART_KEY_BYTES

_TABLE = limits.TABLE_PARTS
_PART_BYTES = limits.PART_BYTES
_WORD_BYTES = 8


@njit(cache=True)
def is_length(length: int) -> bool:
    """Whether a value of so many bytes is kept in parts."""
    return limits.VALUE_BYTES_MAX < length <= limits.LARGE_BYTES_MAX


@njit(cache=True)
def is_sound(value_length: int, large: int) -> bool:
    """Whether what came from a client or a disk as the value of a head is one."""
    return value_length == LARGE_BYTES and is_length(Large(large).length)


@njit(cache=True)
def parts_of(length: int) -> int:
    """How many parts a value of so many bytes has."""
    return (length + _PART_BYTES - 1) // _PART_BYTES


@njit(cache=True)
def find_part(store: int, me: int, tenant: int, large: int, number: int) -> tuple[int, int]:
    """(address, word) of the entry of a part, as of :func:`splinter.store.index.find_entry`. The key of the part is left in the
    participant's claim (``part_key``)."""
    key = Claim(Participant(me).claim).part_key
    store64(key, Large(large).id)
    store64(key + _WORD_BYTES, number)
    identity = identity_of(tenant, _TABLE, PART_KEY_BYTES)
    return find_entry(store, store_hash(store, identity, key, PART_KEY_BYTES), identity, key, PART_KEY_BYTES)


@njit(cache=True)
def are_whole(store: int, me: int, tenant: int, table: int, key: int, key_length: int, large: int) -> int:
    """OK when all parts of a value are there, each of its length, and tell this key; else NOT_FOUND. The caller holds the
    tenant's lock."""
    for number in range(parts_of(Large(large).length)):
        if sound_part(store, me, tenant, table, key, key_length, large, number) == 0:
            return Status.NOT_FOUND
    return Status.OK


@njit(cache=True)
def part_size(large: int, number: int) -> int:
    """How many bytes of its value a part has."""
    return min(Large(large).length - number * _PART_BYTES, _PART_BYTES)


@njit(cache=True)
def sound_part(store: int, me: int, tenant: int, table: int, key: int, key_length: int, large: int, number: int) -> int:
    """The address of a part that has its length and tells this key; 0: there is none."""
    word = find_part(store, me, tenant, large, number)[1]
    if word == 0:
        return 0
    found = word_object(store, word)
    told, size = Part(object_value(found)), PART_HEAD_BYTES + key_length + part_size(large, number)
    if object_value_length(found) != size or told.table != table or told.key_length != key_length:
        return 0
    return found if keys_equal(object_value(found) + PART_HEAD_BYTES, key, key_length) else 0


@njit(cache=True)
def is_named(store: int, tenant: int, part: int) -> bool:
    """Whether an object names a part. The caller holds the tenant's lock. What stands in the part came from a client."""
    length, at = object_value_length(part), object_value(part)
    if object_key_length(part) != PART_KEY_BYTES or length < PART_HEAD_BYTES:
        return False
    table, key_length, key = Part(at).table, Part(at).key_length, at + PART_HEAD_BYTES
    if table >= limits.TABLES_MAX or key_length < 1 or key_length > min(limits.KEY_BYTES_MAX, length - PART_HEAD_BYTES):
        return False
    identity = identity_of(tenant, table, key_length)
    word = find_entry(store, store_hash(store, identity, key, key_length), identity, key, key_length)[1]
    head = word_object(store, word) if word != 0 else 0
    if head == 0 or not is_large(head):
        return False
    large, number = Large(object_value(head)), load64(object_key(part) + _WORD_BYTES)
    return large.id == load64(object_key(part)) and 0 <= number < parts_of(large.length)


@njit(cache=True)
def is_same_value(one: int, other: int) -> bool:
    """Whether two objects are heads of the same value."""
    return is_large(one) and is_large(other) and Large(object_value(one)).id == Large(object_value(other)).id
