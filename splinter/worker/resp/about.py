"""Commands that tell of the server: INFO, CONFIG, COMMAND, TIME."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import copy_bytes, load8, load32
from splinter.native.clock import SECOND_NS
from splinter.store.accounts import account_of
from splinter.store.records import Account
from splinter.worker.records import Worker
from splinter.worker.resp.commands import COMMANDS, Number
from splinter.worker.resp.errors import put_arity_error, put_name, put_subcommand_error
from splinter.worker.resp.facts import CONFIG_NAMES, INFO, fact_text, put_fact, write_fact
from splinter.worker.resp.isolated import argument, wall_ns
from splinter.worker.resp.layout import COMMAND_BYTES, COMMANDS_SLOTS
from splinter.worker.resp.lines import Line
from splinter.worker.resp.parse import find_command, is_word
from splinter.worker.resp.patterns import matches
from splinter.worker.resp.records import Command, Connection, Door
from splinter.worker.resp.replies import (
    put_array,
    put_bulk,
    put_bulk_number,
    put_bytes,
    put_integer,
    put_line,
    put_map,
    put_null,
    put_verbatim,
)
from splinter.worker.resp.words import COUNT, DOCS, GET, GETKEYS, LIST, SET
from splinter.worker.resp.words import INFO as WORD_INFO

_COMMANDS = len(COMMANDS)
_MICROSECOND_NS = 1000
_DOCS_PAIRS = 3
_OF_OBJECT_AT, _COUNTED_AT = 2, 3  # arguments: the key of OBJECT; the first key of a command that tells how many there are
_ZERO = 48


@njit(cache=True)
def tell_time(d: int) -> None:
    """TIME."""
    now = wall_ns(d)
    put_array(d, 2)
    put_bulk_number(d, now // SECOND_NS)
    put_bulk_number(d, now % SECOND_NS // _MICROSECOND_NS)


@njit(cache=True)
def info(w: int, d: int) -> None:
    """INFO: all of it, whichever section is asked for. It tells of no other tenant."""
    worker, door = Worker(w), Door(d)
    tenant = Connection(door.connection).tenant
    account = Account(account_of(worker.store, tenant))
    at = door.value
    at = write_fact(d, at, INFO, (worker.clock_ns - door.since) // SECOND_NS)
    at = write_fact(d, at, INFO + 1, load32(door.tenant_connections + tenant * 4))
    at = write_fact(d, at, INFO + 2, account.bytes_used)
    at = write_fact(d, at, INFO + 3, _quota(w, d))
    at = write_fact(d, at, INFO + 4, tenant)
    at = write_fact(d, at, INFO + 5, account.objects)
    text, size = fact_text(door.facts, INFO + 6)
    copy_bytes(at, text, size)
    put_verbatim(d, door.value, at + size - door.value)


@njit(cache=True)
def _quota(w: int, d: int) -> int:
    """The tenant's quota in bytes; 0: it has none, as Redis says it."""
    quota = Account(account_of(Worker(w).store, Connection(Door(d).connection).tenant)).quota_bytes
    return quota if quota < limits.TENANT_QUOTA_BYTES_DEFAULT else 0


# --- CONFIG -----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def config(w: int, d: int) -> None:
    """CONFIG GET pattern …, CONFIG SET name value …: a tenant may change none."""
    door = Door(d)
    at, length = argument(d, 1)
    if is_word(at, length, GET) and door.argc > 2:
        _get_config(w, d)
    elif is_word(at, length, SET) and door.argc > 3:
        put_line(d, Line.IMMUTABLE if _is_setting(d, 2) else Line.NO_SUCH_SETTING)
    elif is_word(at, length, GET) or is_word(at, length, SET):
        put_arity_error(d)
    else:
        put_subcommand_error(d)


@njit(cache=True)
def _is_wanted(d: int, name: int, size: int) -> bool:
    for number in range(2, Door(d).argc):
        at, length = argument(d, number)
        if matches(at, length, name, size):
            return True
    return False


@njit(cache=True)
def _is_setting(d: int, number: int) -> bool:
    """Whether an argument names a setting."""
    facts = Door(d).facts
    at, length = argument(d, number)
    fact = CONFIG_NAMES
    name, size = fact_text(facts, fact)
    while size != 0:
        if matches(at, length, name, size):
            return True
        fact += 2
        name, size = fact_text(facts, fact)
    return False


@njit(cache=True)
def _get_config(w: int, d: int) -> None:
    door, found, fact = Door(d), 0, CONFIG_NAMES
    name, size = fact_text(door.facts, fact)
    while size != 0:
        found += _is_wanted(d, name, size)
        fact += 2
        name, size = fact_text(door.facts, fact)
    put_map(d, found)
    fact = CONFIG_NAMES
    name, size = fact_text(door.facts, fact)
    while size != 0:
        if _is_wanted(d, name, size):
            if fact == CONFIG_NAMES:
                put_bulk(d, name, size)
                put_bulk_number(d, _quota(w, d))
            else:
                put_fact(d, fact + 1)
        fact += 2
        name, size = fact_text(door.facts, fact)


# --- COMMAND ----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def command(d: int) -> None:
    """COMMAND [COUNT | INFO [name …] | DOCS [name …] | LIST | GETKEYS command …]."""
    door = Door(d)
    if door.argc == 1:
        _put_all(d, WORD_INFO)
        return
    at, length = argument(d, 1)
    if is_word(at, length, COUNT) and door.argc == 2:
        put_integer(d, _COMMANDS)
    elif is_word(at, length, LIST) and door.argc == 2:
        _put_all(d, LIST)
    elif is_word(at, length, WORD_INFO) or is_word(at, length, DOCS):
        kind = DOCS if is_word(at, length, DOCS) else WORD_INFO
        if door.argc == 2:
            _put_all(d, kind)
        else:
            _put_named(d, kind)
    elif is_word(at, length, GETKEYS):
        _get_keys(d)
    else:
        put_subcommand_error(d)


@njit(cache=True)
def _put_one(d: int, found: int, kind: int) -> None:
    door, told = Door(d), Command(found)
    about = door.about + told.about + (door.about_bytes if door.protocol >= 3 else 0)
    if kind == WORD_INFO:
        put_bytes(d, about, told.about_length)
        return
    put_bulk(d, door.upper, put_name(d, found))
    if kind == DOCS:
        put_map(d, _DOCS_PAIRS)
        put_bytes(d, about + told.about_length, told.docs_length)


@njit(cache=True)
def _put_all(d: int, kind: int) -> None:
    if kind == DOCS:
        put_map(d, _COMMANDS)
    else:
        put_array(d, _COMMANDS)
    for place in range(COMMANDS_SLOTS):
        found = Door(d).commands + place * COMMAND_BYTES
        if Command(found).number != 0:
            _put_one(d, found, kind)


@njit(cache=True)
def _put_named(d: int, kind: int) -> None:
    known = 0
    for number in range(2, Door(d).argc):
        at, length = argument(d, number)
        known += find_command(d, at, length) != 0
    if kind == DOCS:
        put_map(d, known)
    else:
        put_array(d, Door(d).argc - 2)
    for number in range(2, Door(d).argc):
        at, length = argument(d, number)
        found = find_command(d, at, length)
        if found != 0:
            _put_one(d, found, kind)
        elif kind == WORD_INFO:
            put_null(d)


@njit(cache=True)
def _get_keys(d: int) -> None:
    """COMMAND GETKEYS command …: which arguments of a command are keys."""
    door = Door(d)
    if door.argc < 3:
        put_subcommand_error(d)
        return
    at, length = argument(d, 2)
    found, arguments = find_command(d, at, length), door.argc - 2
    if found == 0:
        put_line(d, Line.NO_SUCH_COMMAND)
        return
    told = Command(found)
    number = told.number
    counts = Number.FCALL <= number <= Number.EVALSHA_RO and number != Number.FUNCTION
    has_one = number == Number.OBJECT and arguments > _OF_OBJECT_AT
    if told.first_key == 0 and not counts and not has_one:
        put_line(d, Line.NO_KEYS)
    elif (told.arity > 0 and arguments != told.arity) or arguments < -told.arity:
        put_line(d, Line.KEYS_ARITY)
    elif counts:
        _put_keys(d, _COUNTED_AT, _count_of_keys(d, arguments - _COUNTED_AT), 1)
    elif has_one:
        _put_keys(d, _OF_OBJECT_AT, 1, 1)
    else:
        last = told.last_key if told.last_key > 0 else arguments - 1
        _put_keys(d, told.first_key, (last - told.first_key) // told.key_step + 1, told.key_step)


@njit(cache=True)
def _count_of_keys(d: int, most: int) -> int:
    """How many keys such a command names, by its own count; 0: more than there are, or no count. Digits are read as far as
    there are some, as Redis does it here."""
    at, length = argument(d, 2 + _COUNTED_AT - 1)
    count = 0
    for place in range(length):
        digit = load8(at + place) - _ZERO
        if not 0 <= digit <= 9 or count > most:
            break
        count = 10 * count + digit
    return count if count <= most else 0


@njit(cache=True)
def _put_keys(d: int, first: int, count: int, step: int) -> None:
    put_array(d, count)
    for number in range(count):
        at, length = argument(d, 2 + first + number * step)
        put_bulk(d, at, length)
