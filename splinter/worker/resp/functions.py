"""FCALL, FUNCTION, EVAL and SCRIPT: extensions under the names that the Redis protocol has for them.

What is called is found, and run, in the worker. What makes or removes a function is the control process's, which is asked. A
script is known by its SHA-1: it is run as the extension of the library that does the same, installed for the tenant when it is
first sent.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.ext.abi import MAY_WRITE
from splinter.native import libc
from splinter.native.atomics import load8, store8
from splinter.worker.records import Extension
from splinter.worker.resp.asks import ask
from splinter.worker.resp.calls import call
from splinter.worker.resp.commands import Number
from splinter.worker.resp.errors import put_arity_error, put_subcommand_error
from splinter.worker.resp.isolated import argument
from splinter.worker.resp.layout import ARGUMENT_BYTES, CALLS, SCRIPT_BYTES, WAITS
from splinter.worker.resp.lines import Line
from splinter.worker.resp.numbers import parse_integer
from splinter.worker.resp.parse import is_word
from splinter.worker.resp.records import Argument, Connection, Door, Script
from splinter.worker.resp.replies import put_array, put_bulk, put_integer, put_line
from splinter.worker.resp.sha1 import DIGEST_BYTES, sha1
from splinter.worker.resp.words import DELETE, EXISTS, LIST, LOAD, STATS
from splinter.worker.tasks.invoke import find_record

_NAME_AT, _KEYS_AT, _FIRST = 1, 2, 3  # arguments: the function or script, how many keys, the first of them
_HEX_BYTES = 2 * DIGEST_BYTES


@njit(cache=True)
def run_function(w: int, d: int, number: int) -> int:
    """Execute one of these commands. Returns 0 when it has replied; CALLS, WAITS or WAIT, within EXEC what
    :func:`splinter.worker.resp.calls.call` does."""
    if number == Number.FUNCTION:
        return _function(d)
    if number == Number.SCRIPT:
        return _script(w, d)
    if not _has_keys(d):
        return 0
    is_read_only = number in (Number.FCALL_RO, Number.EVAL_RO, Number.EVALSHA_RO)
    if number in (Number.FCALL, Number.FCALL_RO):
        return _call_function(w, d, is_read_only)
    return _call_script(w, d, number in (Number.EVAL, Number.EVAL_RO), is_read_only)


@njit(cache=True)
def _has_keys(d: int) -> bool:
    """Whether the number of keys is one; replies the error if not."""
    at, length = argument(d, _KEYS_AT)
    is_number, keys = parse_integer(at, length)
    if not is_number:
        put_line(d, Line.KEYS_NUMBER)
    elif keys > Door(d).argc - _FIRST:
        put_line(d, Line.KEYS_MANY)
    elif keys < 0:
        put_line(d, Line.KEYS_NEGATIVE)
    else:
        return True
    return False


@njit(cache=True)
def _find(w: int, d: int, name: int, length: int) -> int:
    if not 1 <= length <= limits.EXTENSION_NAME_BYTES_MAX:
        return 0
    return find_record(w, Connection(Door(d).connection).tenant, name, length)


@njit(cache=True)
def _may_run(d: int, record: int, is_read_only: bool) -> bool:
    """Whether an extension may be called so; replies the error if not."""
    if is_read_only and Extension(record).isolation & MAY_WRITE != 0:
        put_line(d, Line.READ_ONLY)
        return False
    return True


@njit(cache=True)
def _call_function(w: int, d: int, is_read_only: bool) -> int:
    """FCALL name numkeys key … argument …: the extension's parameters, in their order."""
    name, length = argument(d, _NAME_AT)
    record = _find(w, d, name, length)
    if record == 0:
        put_line(d, Line.NO_FUNCTION)
        return 0
    if not _may_run(d, record, is_read_only):
        return 0
    return call(w, d, record, name, length, False)


@njit(cache=True)
def _function(d: int) -> int:
    """FUNCTION LOAD | LIST | DELETE | STATS, which the control process answers."""
    at, length = argument(d, _NAME_AT)
    known = is_word(at, length, LOAD) or is_word(at, length, LIST)
    if not known and not is_word(at, length, DELETE) and not is_word(at, length, STATS):
        put_subcommand_error(d)
        return 0
    return ask(d, Door(d).argc, CALLS)


# --- scripts ----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _digest_of_hex(d: int, address: int, length: int) -> bool:
    """Read a digest of 40 hexadecimal digits to the door's ``value``. False: it is none."""
    if length != _HEX_BYTES:
        return False
    for place in range(DIGEST_BYTES):
        byte = 0
        for digit_at in (2 * place, 2 * place + 1):
            digit = load8(address + digit_at)
            lower = digit | 32
            if 48 <= digit <= 57:
                digit -= 48
            elif 97 <= lower <= 102:
                digit = lower - 87
            else:
                return False
            byte = byte << 4 | digit
        store8(Door(d).value + place, byte)
    return True


@njit(cache=True)
def _script_of(d: int, digest: int, given: int) -> int:
    """Address of the SCRIPT of this digest that takes so many keys and arguments, else of another of this digest; 0: none."""
    door, found = Door(d), 0
    for place in range(door.scripts_count):
        at = door.scripts + place * SCRIPT_BYTES
        if libc.memcmp(Script(at).digest, digest, DIGEST_BYTES) == 0:
            if Script(at).arguments == given:
                return at
            found = at
    return found


@njit(cache=True)
def _call_script(w: int, d: int, is_text: bool, is_read_only: bool) -> int:
    """EVAL script numkeys key … argument …; EVALSHA with its digest."""
    door = Door(d)
    address, length = argument(d, _NAME_AT)
    if is_text:
        sha1(address, length, door.value)
    elif not _digest_of_hex(d, address, length):
        put_line(d, Line.NO_SCRIPT)
        return 0
    script = _script_of(d, door.value, door.argc - _FIRST)
    if script == 0:
        put_line(d, Line.NO_LUA if is_text else Line.NO_SCRIPT)
        return 0
    told = Script(script)
    record = _find(w, d, told.name, told.name_length)
    if record != 0:
        return call(w, d, record, told.name, told.name_length, True) if _may_run(d, record, is_read_only) else 0
    if not is_text or door.is_exec != 0:
        put_line(d, Line.NOT_LOADED if is_text else Line.NO_SCRIPT)
        return 0
    return _ask_for(d, script)


@njit(cache=True)
def _ask_for(d: int, script: int) -> int:
    """Ask the control process to install the extension of a script, and come again then."""
    name = Argument(Door(d).argv + _NAME_AT * ARGUMENT_BYTES)
    name.address = Script(script).name
    name.length = Script(script).name_length
    return ask(d, _NAME_AT + 1, WAITS)


@njit(cache=True)
def _script(w: int, d: int) -> int:
    """SCRIPT LOAD script | EXISTS digest …"""
    door = Door(d)
    at, length = argument(d, _NAME_AT)
    if is_word(at, length, EXISTS):
        put_array(d, door.argc - _KEYS_AT)
        for number in range(_KEYS_AT, door.argc):
            address, size = argument(d, number)
            script = _script_of(d, door.value, 0) if _digest_of_hex(d, address, size) else 0
            is_there = script != 0 and _find(w, d, Script(script).name, Script(script).name_length) != 0
            put_integer(d, int(is_there))
        return 0
    if not is_word(at, length, LOAD):
        put_subcommand_error(d)
        return 0
    if door.argc != 3:
        put_arity_error(d)
        return 0
    return _load_script(w, d)


@njit(cache=True)
def _load_script(w: int, d: int) -> int:
    """SCRIPT LOAD script: its digest, once all extensions of it are there."""
    door = Door(d)
    address, length = argument(d, _KEYS_AT)
    sha1(address, length, door.value)
    is_known = False
    for place in range(door.scripts_count):
        at = door.scripts + place * SCRIPT_BYTES
        told = Script(at)
        if libc.memcmp(told.digest, door.value, DIGEST_BYTES) != 0:
            continue
        is_known = True
        if _find(w, d, told.name, told.name_length) == 0:
            return _ask_for(d, at)
    if not is_known:
        put_line(d, Line.NO_LUA)
        return 0
    _put_hex(d, door.value)
    return 0


@njit(cache=True)
def _put_hex(d: int, digest: int) -> None:
    """The digest that stands in the door's ``value``, as a bulk string."""
    text = digest + DIGEST_BYTES
    for place in range(_HEX_BYTES):
        digit = load8(digest + place // 2) >> (4 if place % 2 == 0 else 0) & 15
        store8(text + place, digit + 48 if digit < 10 else digit + 87)
    put_bulk(d, text, _HEX_BYTES)
