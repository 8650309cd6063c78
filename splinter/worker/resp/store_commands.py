"""Which function executes a command that is a transaction, and how it begins and ends."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import ExtensionError
from splinter.native.atomics import store64
from splinter.store.clock import turn_now
from splinter.store.objects import is_large, is_over, mark_used, object_value, object_value_length, object_version
from splinter.store.operations import store_find, store_key_hash, store_prefetch, store_put
from splinter.store.records import Large
from splinter.store.transactions import CONFLICT
from splinter.worker.durable import show, show_missing, show_refusal
from splinter.worker.records import Frame, Worker
from splinter.worker.resp.commands import Number
from splinter.worker.resp.isolated import WAIT, argument, begin, end, refusal
from splinter.worker.resp.keys import copy_object, delete_keys, exist, rename, tell_object, tell_type
from splinter.worker.resp.large import put_large_piece, set_large, value_argument
from splinter.worker.resp.lines import Line
from splinter.worker.resp.moments import expire, persist, tell_time
from splinter.worker.resp.records import Command, Connection, Door
from splinter.worker.resp.replies import put_bulk, put_line, put_null
from splinter.worker.resp.strings import (
    append_value,
    get,
    get_delete,
    get_expire,
    get_range,
    get_set,
    increment,
    increment_decimal,
    mget,
    mset,
    set_for,
    set_new,
    set_range,
    set_value,
    string_length,
)

_KEYS_AHEAD = 256  # of one command: their objects' beginnings fit into a core's second cache
_HASH_BYTES = 8


@njit(cache=True)
def run_in_transaction(w: int, d: int, number: int) -> int:
    """Execute a command within the transaction that is under way: its reply, and 0; or < 0: -ExtensionError."""
    if number == Number.GET:
        return get(w, d)
    if number == Number.SET:
        return set_value(w, d)
    if Number.INCR <= number <= Number.DECRBY:
        return increment(w, d, number)
    if number in (Number.DEL, Number.UNLINK):
        return delete_keys(w, d)
    if number == Number.MGET:
        return mget(w, d)
    if number in (Number.MSET, Number.MSETNX):
        return mset(w, d, number == Number.MSETNX)
    if number in (Number.EXISTS, Number.TOUCH):
        return exist(w, d)
    if Number.EXPIRE <= number <= Number.PEXPIREAT:
        return expire(w, d, number)
    if number in (Number.TTL, Number.PTTL, Number.EXPIRETIME, Number.PEXPIRETIME):
        return tell_time(w, d, number)
    if number in (Number.SETEX, Number.PSETEX):
        return set_for(w, d, number)
    if number == Number.SETNX:
        return set_new(w, d)
    return _run_rare(w, d, number)


@njit(cache=True)
def _run_rare(w: int, d: int, number: int) -> int:
    if number == Number.GETSET:
        return get_set(w, d)
    if number == Number.GETDEL:
        return get_delete(w, d)
    if number == Number.GETEX:
        return get_expire(w, d)
    if number == Number.APPEND:
        return append_value(w, d)
    if number == Number.STRLEN:
        return string_length(w, d)
    if number in (Number.GETRANGE, Number.SUBSTR):
        return get_range(w, d)
    if number == Number.SETRANGE:
        return set_range(w, d)
    if number == Number.INCRBYFLOAT:
        return increment_decimal(w, d)
    if number == Number.TYPE:
        return tell_type(w, d)
    if number == Number.PERSIST:
        return persist(w, d)
    if number in (Number.RENAME, Number.RENAMENX):
        return rename(w, d, number == Number.RENAMENX)
    if number == Number.COPY:
        return copy_object(w, d)
    return tell_object(w, d)


@njit(cache=True)
def status_of(failed: int) -> int:
    """The status that a transaction ends with where a command within it returned less than 0; CONFLICT: it is begun anew."""
    if failed == -ExtensionError.CONFLICT:
        return CONFLICT
    if failed == -ExtensionError.OUT_OF_MEMORY:
        return Status.OUT_OF_MEMORY
    if failed == -ExtensionError.QUOTA:
        return Status.QUOTA_EXCEEDED
    if failed == -ExtensionError.DISK:
        return Status.DISK_FAILED
    return Status.BUSY if failed == -ExtensionError.BUSY else Status.REPLY_TOO_LARGE  # of its READs and WRITEs


@njit(cache=True)
def run_alone(w: int, d: int, number: int, may_write: bool) -> int:
    """Execute a command as a transaction of its own. Returns 0 when it has replied; WAIT, with nothing done or replied; of a
    large value also WALKS."""
    door = Door(d)
    if door.argc == 2 and number == Number.GET:
        return _get_now(w, d)
    if door.argc == 3 and number == Number.SET and argument(d, 2)[1] <= limits.VALUE_BYTES_MAX:
        return _set_now(w, d)
    value = value_argument(number)
    if value != 0 and value < door.argc and argument(d, value)[1] > limits.VALUE_BYTES_MAX:
        return set_large(w, d, number)
    told = Command(door.command)
    if told.last_key < 0 and door.argc > told.first_key + told.key_step:
        _look_ahead(w, d)
    mark = door.out_at
    for _ in range(limits.CONFLICTS_MAX):
        begin(w, d, may_write)
        failed = run_in_transaction(w, d, number)
        status = end(w, d) if failed == 0 and door.overflow == 0 else status_of(failed) if failed < 0 else Status.OK
        if status == Status.OK:
            return 0
        door.out_at = mark
        if status != CONFLICT:
            return put_refusal(w, d, status)
    return WAIT


@njit(cache=True)
def _look_ahead(w: int, d: int) -> None:
    """Ask for the memory that the look-ups of a command of several keys need, so that their cache misses overlap."""
    door, store = Door(d), Worker(w).store
    told, tenant = Command(door.command), Connection(door.connection).tenant
    first, last = door.value, door.value  # where values are made, of which there is none yet
    for number in range(told.first_key, door.argc, told.key_step):
        key, key_length = argument(d, number)
        if 1 <= key_length <= limits.KEY_BYTES_MAX:
            store64(last, store_key_hash(store, tenant, door.table, key, key_length))
            last += _HASH_BYTES
        if last == first + _KEYS_AHEAD * _HASH_BYTES:
            break
    store_prefetch(store, first, last, _HASH_BYTES)


@njit(cache=True)
def put_refusal(w: int, d: int, status: int) -> int:
    """Reply why nothing was done, and return 0; WAIT when that may pass."""
    show_refusal(w, Connection(Door(d).connection).tenant, status)
    if status == Status.BUSY:
        return WAIT
    put_line(d, Line.TRANSACTION if status == Status.REPLY_TOO_LARGE else refusal(status))
    return 0


# --- the two that come most often: without a transaction around them ---------------------------------------------------------


@njit(cache=True)
def _get_now(w: int, d: int) -> int:
    """GET key."""
    worker, door = Worker(w), Door(d)
    tenant = Connection(door.connection).tenant
    key, key_length = argument(d, 1)
    found = 0
    if 1 <= key_length <= limits.KEY_BYTES_MAX:
        found = store_find(worker.store, tenant, door.table, key, key_length, door.hashed)
        if found == 0:
            show_missing(w, tenant)
        else:
            show(w, object_version(found))
    if found == 0 or is_over(found, turn_now(worker.store, worker.index)):
        put_null(d)
        return 0
    mark_used(found)
    value = object_value(found)
    if not is_large(found):
        put_bulk(d, value, object_value_length(found))
        return 0
    Frame(door.frame).tenant = tenant
    return 0 if put_large_piece(w, d, value, 0, Large(value).length) == 0 else WAIT


@njit(cache=True)
def _set_now(w: int, d: int) -> int:
    """SET key value."""
    worker, door = Worker(w), Door(d)
    tenant = Connection(door.connection).tenant
    key, key_length = argument(d, 1)
    value, length = argument(d, 2)
    status = store_put(worker.store, worker.index, tenant, door.table, key, key_length, value, length, 0, 0, door.hashed, 0)
    if status == Status.OK:
        put_line(d, Line.OK)
        return 0
    if status == Status.BAD_KEY or status == Status.VALUE_TOO_LARGE:
        put_line(d, Line.KEY if status == Status.BAD_KEY else Line.TOO_LONG)
        return 0
    return put_refusal(w, d, status)
