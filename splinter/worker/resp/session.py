"""Commands on the connection itself: who it is, which table, which protocol."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import copy_bytes, load8, store8
from splinter.native.clock import SECOND_NS
from splinter.net.tenants import TENANT_ACTIVE
from splinter.worker.admission import tenant_record
from splinter.worker.records import Tenant, Worker
from splinter.worker.resp.connections import join_tenant, reset_session
from splinter.worker.resp.errors import put_arity_error, put_subcommand_error
from splinter.worker.resp.facts import CLIENT_FIELDS, HELLO, fact_text, put_fact, write_fact
from splinter.worker.resp.isolated import argument
from splinter.worker.resp.layout import STATE_MULTI
from splinter.worker.resp.lines import Line
from splinter.worker.resp.numbers import parse_integer
from splinter.worker.resp.parse import is_word
from splinter.worker.resp.records import Connection, Door
from splinter.worker.resp.replies import (
    ARRAY,
    has_room,
    put_bulk,
    put_digits,
    put_integer,
    put_line,
    put_map,
    put_null,
    put_number,
    put_verbatim,
)
from splinter.worker.resp.words import (
    AUTH,
    GETNAME,
    ID,
    INFO,
    LIB_NAME,
    LIB_VER,
    LIST,
    NO_EVICT,
    NO_TOUCH,
    OFF,
    ON,
    SETINFO,
    SETNAME,
)  # fmt: skip
from splinter.worker.tokens import is_token_of

_TOKEN_DIGITS = 16


@njit(cache=True)
def _parse_token(address: int, length: int) -> int:
    """A token of 16 hexadecimal digits; 0, which no tenant has: it is none."""
    if length != _TOKEN_DIGITS:
        return 0
    token = 0
    for place in range(length):
        byte = load8(address + place)
        lower = byte | 32
        if 48 <= byte <= 57:
            digit = byte - 48
        elif 97 <= lower <= 102:
            digit = lower - 87
        else:
            return 0
        token = token << 4 | digit
    return token


@njit(cache=True)
def show_token(w: int, d: int, user: int) -> bool:
    """Make the connection that of the tenant whose id and token stand in the arguments ``user`` and the one behind it; replies
    the error if they are wrong. Who never had a token cannot tell a wrong one from a tenant that is not there."""
    door = Door(d)
    at, length = argument(d, user)
    is_number, tenant = parse_integer(at, length)
    at, length = argument(d, user + 1)
    token = _parse_token(at, length)
    if is_number and 1 <= tenant < limits.TENANTS_MAX:
        record = tenant_record(w, tenant)
        if Tenant(record).flags & TENANT_ACTIVE != 0 and is_token_of(record, token):
            if join_tenant(d, door.index, tenant, Tenant(record).generation, token):
                return True
            put_line(d, Line.CONNECTIONS)
            return False
    put_line(d, Line.WRONG_PASS)
    return False


@njit(cache=True)
def is_still_tenant(w: int, c: int) -> bool:
    """Whether the connection's tenant is there, the same, and its token valid."""
    connection = Connection(c)
    record = tenant_record(w, connection.tenant)
    told = Tenant(record)
    return (
        told.flags & TENANT_ACTIVE != 0
        and told.generation == connection.tenant_generation
        and is_token_of(record, connection.token)
    )


@njit(cache=True)
def authenticate(w: int, d: int) -> None:
    """AUTH tenant token."""
    door = Door(d)
    if door.argc != 3:
        put_line(d, Line.SYNTAX if door.argc > 3 else Line.NEEDS_TENANT)
    elif show_token(w, d, 1):
        put_line(d, Line.OK)


@njit(cache=True)
def hello(w: int, d: int) -> None:
    """HELLO [version [AUTH tenant token] [SETNAME name]]."""
    door = Door(d)
    connection = Connection(door.connection)
    protocol, number, name, name_length = door.protocol, 2, 0, 0
    if door.argc > 1:
        at, length = argument(d, 1)
        is_number, protocol = parse_integer(at, length)
        if not is_number:
            put_line(d, Line.VERSION_NUMBER)
            return
        if protocol not in (2, 3):
            put_line(d, Line.PROTOCOL_VERSION)
            return
    user = 0
    while number < door.argc:
        at, length = argument(d, number)
        if is_word(at, length, AUTH) and number + 2 < door.argc:
            user = number + 1
            number += 3
        elif is_word(at, length, SETNAME) and number + 1 < door.argc:
            name, name_length = argument(d, number + 1)
            if not _is_name(d, name, name_length):
                return
            number += 2
        else:
            put_line(d, Line.HELLO_SYNTAX)
            return
    if user != 0 and not show_token(w, d, user):
        return
    if connection.tenant == 0:
        put_line(d, Line.HELLO_NO_AUTH)
        return
    if name != 0:
        _set_name(d, name, name_length)
    connection.protocol = protocol
    door.protocol = protocol
    _put_hello(d)


@njit(cache=True)
def _put_hello(d: int) -> None:
    """Seven facts of server and connection. Numbers stand between the texts that were made once."""
    door = Door(d)
    put_map(d, 7)
    put_fact(d, HELLO)  # server, version, and the name "proto"
    put_integer(d, door.protocol)
    put_fact(d, HELLO + 1)  # the name "id"
    put_integer(d, Connection(door.connection).id)
    put_fact(d, HELLO + 2)  # mode, role, and the name "modules"
    put_number(d, ARRAY, 0)


@njit(cache=True)
def select(d: int) -> None:
    """SELECT table."""
    door = Door(d)
    at, length = argument(d, 1)
    is_number, table = parse_integer(at, length)
    if not is_number:
        put_line(d, Line.NOT_INTEGER)
    elif table < 0 or table >= limits.TABLES_MAX:
        put_line(d, Line.TABLE)
    else:
        door.table = table
        put_line(d, Line.OK)


@njit(cache=True)
def reset(w: int, d: int) -> None:
    """RESET."""
    door = Door(d)
    reset_session(w, d, door.index)
    door.protocol = Connection(door.connection).protocol
    door.table = Connection(door.connection).table
    put_line(d, Line.RESET)


# --- CLIENT -----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def client(w: int, d: int) -> None:
    """CLIENT ID | GETNAME | SETNAME name | SETINFO field value | INFO | LIST | NO-EVICT on | NO-TOUCH on."""
    door = Door(d)
    connection = Connection(door.connection)
    at, length = argument(d, 1)
    if is_word(at, length, ID) or is_word(at, length, GETNAME) or is_word(at, length, INFO):
        if door.argc != 2:
            put_arity_error(d)
        elif is_word(at, length, ID):
            put_integer(d, connection.id)
        elif is_word(at, length, INFO):
            _put_info(w, d)
        elif connection.name_length == 0:
            put_null(d)
        else:
            put_bulk(d, connection.name, connection.name_length)
    elif is_word(at, length, LIST):
        _put_info(w, d)
    elif is_word(at, length, SETNAME):
        if door.argc != 3:
            put_arity_error(d)
            return
        name, size = argument(d, 2)
        if _is_name(d, name, size):
            _set_name(d, name, size)
            put_line(d, Line.OK)
    elif is_word(at, length, SETINFO):
        _set_info(d)
    elif is_word(at, length, NO_EVICT) or is_word(at, length, NO_TOUCH):
        # Connections are not evicted, and there is no idle time to touch: both are so in any case.
        at, length = argument(d, 2) if door.argc == 3 else (at, 0)
        put_line(d, Line.OK if is_word(at, length, ON) or is_word(at, length, OFF) else Line.SYNTAX)
    else:
        put_subcommand_error(d)


@njit(cache=True)
def _is_name(d: int, name: int, length: int) -> bool:
    """Whether a connection may be called so; replies the error if not."""
    if length > limits.RESP_NAME_BYTES_MAX:
        put_line(d, Line.NAME_LENGTH)
        return False
    for place in range(length):
        if not 33 <= load8(name + place) <= 126:
            put_line(d, Line.NAME)
            return False
    return True


@njit(cache=True)
def _set_name(d: int, name: int, length: int) -> None:
    connection = Connection(Door(d).connection)
    copy_bytes(connection.name, name, length)
    connection.name_length = length


@njit(cache=True)
def _set_info(d: int) -> None:
    """What a client library says of itself is checked, and not kept."""
    door = Door(d)
    if door.argc != 4:
        put_arity_error(d)
        return
    at, length = argument(d, 2)
    if not is_word(at, length, LIB_NAME) and not is_word(at, length, LIB_VER):
        put_line(d, Line.CLIENT_FIELD)
        return
    at, length = argument(d, 3)
    for place in range(length):
        if not 33 <= load8(at + place) <= 126:
            put_line(d, Line.CLIENT_VALUE)
            return
    put_line(d, Line.OK)


@njit(cache=True)
def _put_info(w: int, d: int) -> None:
    """The connection, as a line of CLIENT LIST: of itself alone, as others may be other tenants'."""
    door = Door(d)
    connection = Connection(door.connection)
    if not has_room(d, 512 + limits.RESP_NAME_BYTES_MAX):
        return
    at = write_fact(d, door.value, CLIENT_FIELDS, connection.id)
    at = _write_text(d, at, CLIENT_FIELDS + 1, door.upper, _write_peer(door.upper, connection.peer))
    at = write_fact(d, at, CLIENT_FIELDS + 2, connection.fd)
    at = _write_text(d, at, CLIENT_FIELDS + 3, connection.name, connection.name_length)
    at = write_fact(d, at, CLIENT_FIELDS + 4, (Worker(w).clock_ns - connection.began) // SECOND_NS)
    at = write_fact(d, at, CLIENT_FIELDS + 5, door.table)
    at = write_fact(d, at, CLIENT_FIELDS + 6, connection.queued_count if connection.state & STATE_MULTI != 0 else -1)
    at = write_fact(d, at, CLIENT_FIELDS + 7, connection.tenant)
    at = write_fact(d, at, CLIENT_FIELDS + 8, door.protocol)
    store8(at, 10)
    put_verbatim(d, door.value, at + 1 - door.value)


@njit(cache=True)
def _write_peer(at: int, peer: int) -> int:
    """Write ADDRESS:PORT of a struct sockaddr_in; returns its length."""
    end = at
    for place in range(4):
        end = put_digits(end, load8(peer + 4 + place))
        store8(end, 46 if place < 3 else 58)
        end += 1
    return put_digits(end, load8(peer + 2) << 8 | load8(peer + 3)) - at


@njit(cache=True)
def _write_text(d: int, at: int, fact: int, text_at: int, length: int) -> int:
    text, size = fact_text(Door(d).facts, fact)
    copy_bytes(at, text, size)
    copy_bytes(at + size, text_at, length)
    return at + size + length
