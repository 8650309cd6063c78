"""An object's slot: its header, and where its key and value stand."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.layout import offset
from splinter.native.atomics import copy_bytes, load8, load64, store8, store64
from splinter.store.hashing import identity_of
from splinter.store.layout import (
    DATED_BIT,
    EXPIRES_BIT,
    EXPIRES_BYTES,
    IDENTITY_BITS,
    KEY_LENGTH_BITS,
    LARGE_BIT,
    O_ACCESS,
    O_IDENTITY,
    O_KEY,
    OBJECT,
    OBJECT_BYTES,
    POSITION_BITS,
    VALUE_LENGTH_BITS,
)
from splinter.store.records import Object

_IDENTITY_MASK = (1 << IDENTITY_BITS) - 1
_KEY_LENGTH_MASK = (1 << KEY_LENGTH_BITS) - 1
_VALUE_LENGTH_MASK = (1 << VALUE_LENGTH_BITS) - 1
_FORM_MASK = (1 << EXPIRES_BIT - KEY_LENGTH_BITS) - 1
_POSITION_MASK = (1 << POSITION_BITS) - 1
_DATED = 1 << DATED_BIT
_O_RETIRED = offset(OBJECT, "retired")


@njit(cache=True)
def object_tenant(found: int) -> int:
    """The tenant that an object belongs to."""
    return Object(found).tenant


@njit(cache=True)
def object_table(found: int) -> int:
    """The table that an object is in."""
    return Object(found).table


@njit(cache=True)
def is_counted(table: int) -> bool:
    """Whether a change of an object in a table is a commit. Others of the system's objects change under the lock alone."""
    return table < limits.TABLES_MAX or table == limits.TABLE_EXTENSIONS


@njit(cache=True)
def object_key(found: int) -> int:
    """Address of an object's key."""
    return found + O_KEY


@njit(cache=True)
def object_key_length(found: int) -> int:
    """Bytes of an object's key."""
    return Object(found).lengths & _KEY_LENGTH_MASK


@njit(cache=True)
def object_value(found: int) -> int:
    """Address of an object's value, not aligned."""
    return found + O_KEY + (Object(found).lengths & _KEY_LENGTH_MASK)


@njit(cache=True)
def object_value_length(found: int) -> int:
    """Bytes of an object's value, as it stands in the slot."""
    return Object(found).lengths >> KEY_LENGTH_BITS & _VALUE_LENGTH_MASK


@njit(cache=True)
def object_form(found: int) -> int:
    """Bytes of an object's value, and LARGE_FORM if it is a LARGE: what a copy of the object is to have."""
    return Object(found).lengths >> KEY_LENGTH_BITS & _FORM_MASK


@njit(cache=True, forceinline=True)
def is_large(found: int) -> bool:
    """Whether an object's value is a LARGE (:mod:`splinter.store.large`), and the real one in parts."""
    return Object(found).lengths >> LARGE_BIT & 1 != 0


@njit(cache=True)
def object_bytes(key_length: int, value_length: int, expires: int) -> int:
    """Bytes of an object with its header; ``expires``: when, or (0) never."""
    content = key_length + value_length
    return OBJECT_BYTES + content if expires == 0 else OBJECT_BYTES + (content + 7 & -8) + EXPIRES_BYTES


@njit(cache=True)
def object_expires(found: int) -> int:
    """When an object expires, by the clock of :mod:`splinter.store.expiry`; 0: never."""
    if Object(found).lengths >> EXPIRES_BIT == 0:
        return 0
    return load64(found + OBJECT_BYTES + (object_key_length(found) + object_value_length(found) + 7 & -8))


@njit(cache=True, forceinline=True)
def is_over(found: int, now: int) -> bool:
    """Whether an object has expired at ``now``: nobody finds it any more."""
    return Object(found).lengths >> EXPIRES_BIT != 0 and object_expires(found) <= now


@njit(cache=True)
def content_bytes(identity: int) -> int:
    """Bytes of key and value, of a whole word at O_IDENTITY."""
    return (identity >> IDENTITY_BITS - KEY_LENGTH_BITS & _KEY_LENGTH_MASK) + (identity >> IDENTITY_BITS & _VALUE_LENGTH_MASK)


@njit(cache=True)
def copy_size(identity: int) -> int:
    """Bytes of a copy of an object, of a whole word at O_IDENTITY: header, key and value, zeros up to a multiple of 8, and when
    it expires, if it does."""
    return OBJECT_BYTES + (content_bytes(identity) + 7 & -8) + (EXPIRES_BYTES if identity < 0 else 0)


@njit(cache=True)
def object_version(found: int) -> int:
    """An object's version: even, not 0, and of two objects of a key greater for the later."""
    return Object(found).version & -2


@njit(cache=True)
def object_identity(found: int) -> int:
    """Tenant, table and key length of an object, as of :func:`splinter.store.hashing.identity_of`."""
    return load64(found + O_IDENTITY) & _IDENTITY_MASK


@njit(cache=True)
def object_position(found: int) -> int:
    """The position of a published object of a tenant's table in its roster."""
    return Object(found).retired & _POSITION_MASK


@njit(cache=True)
def is_at_position(found: int, position: int) -> bool:
    """Whether an object is published at a position; for who has no lock: a word that is a date by now has none."""
    word = load64(found + _O_RETIRED)
    return word & _DATED == 0 and word & _POSITION_MASK == position


@njit(cache=True)
def set_position(slot: int, position: int) -> None:
    """Write the position of the object in a slot that is not published."""
    Object(slot).retired = position


@njit(cache=True)
def copy_position(slot: int, found: int) -> None:
    """Have the object in a slot that is not published take the place of ``found``, which is: its position and what else stands
    beside that."""
    Object(slot).retired = Object(found).retired & ~_DATED


@njit(cache=True, forceinline=True)
def mark_used(found: int) -> None:
    """Note that an object is used, for who evicts (:mod:`splinter.store.eviction`): by a reader in its epoch, lock-free."""
    if load8(found + O_ACCESS) == 0:
        store8(found + O_ACCESS, 1)


@njit(cache=True)
def dated_word(epoch: int) -> int:
    """What ``retired`` is for an object that was unlinked before ``epoch``."""
    return epoch | _DATED


@njit(cache=True)
def is_dated(retired: int) -> bool:
    """Whether a word read from ``retired`` says that its object was unlinked."""
    return retired & _DATED != 0


@njit(cache=True)
def date_of(retired: int) -> int:
    """The epoch of such a word; a reader may have written to its highest byte meanwhile."""
    return retired & _DATED - 1


@njit(cache=True)
def fill_header(slot: int, tenant: int, table: int, key: int, key_length: int, form: int) -> None:
    """Write identity, lengths and the key into a slot that is not published; the links are left alone. ``form``: the length of
    the value, as of :func:`object_form`. The slot has no position yet, and no date: by that who reads slots without the
    index knows published objects (:mod:`splinter.store.walk`)."""
    Object(slot).retired = 0
    store64(slot + O_IDENTITY, identity_of(tenant, table, key_length) | form << IDENTITY_BITS)
    copy_bytes(slot + O_KEY, key, key_length)


@njit(cache=True)
def set_expires(slot: int, expires: int) -> None:
    """Write when the object in a slot expires that is not published and has its lengths; 0: never."""
    if expires != 0:
        Object(slot).lengths = Object(slot).lengths | 1 << EXPIRES_BIT
        store64(slot + OBJECT_BYTES + (object_key_length(slot) + object_value_length(slot) + 7 & -8), expires)


@njit(cache=True)
def set_value_length(slot: int, value_length: int) -> None:
    """Change the length of the value in a slot that is not published, and does not expire."""
    slotted = Object(slot)
    slotted.lengths = slotted.lengths & _KEY_LENGTH_MASK | value_length << KEY_LENGTH_BITS


@njit(cache=True)
def is_identity(found: int, identity: int) -> bool:
    """Whether an object has the identity."""
    return (load64(found + O_IDENTITY) ^ identity) << 64 - IDENTITY_BITS == 0
