"""Errors that name what is wrong."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load8, store8
from splinter.worker.resp.layout import ARGUMENT_BYTES, NAME_BYTES_MAX
from splinter.worker.resp.lines import Line
from splinter.worker.resp.records import Argument, Command, Door
from splinter.worker.resp.replies import has_room, put_bytes, put_line, put_piece, put_plain, put_quoted

_SHOWN_MAX = 128  # bytes of a command's name, and of its arguments together


@njit(cache=True)
def put_name(d: int, command: int) -> int:
    """A command's name in lower case, at the door's ``upper``; returns its length."""
    door = Door(d)
    words, size = Command(command).name, 0
    while size < NAME_BYTES_MAX and load8(words + size) != 0:
        byte = load8(words + size)
        store8(door.upper + size, byte + 32 if 65 <= byte <= 90 else byte)
        size += 1
    return size


@njit(cache=True)
def _end_with_command(d: int) -> None:
    door = Door(d)
    put_quoted(d, door.upper, put_name(d, door.command))
    put_line(d, Line.COMMAND)


@njit(cache=True)
def put_protocol_error(d: int, number: int) -> None:
    """A Line of what is no command. DOLLAR names the byte in its place."""
    door = Door(d)
    if number != Line.DOLLAR:
        put_line(d, number)
        return
    put_piece(d, number)
    store8(door.upper + 2, door.number)
    put_quoted(d, door.upper + 2, 1)
    put_end(d)


@njit(cache=True)
def put_arity_error(d: int) -> None:
    """The command has too few arguments, or too many."""
    put_piece(d, Line.ARITY)
    _end_with_command(d)


@njit(cache=True)
def put_expire_error(d: int) -> None:
    """A time that no object can live for."""
    put_piece(d, Line.EXPIRE_TIME)
    _end_with_command(d)


@njit(cache=True)
def put_subcommand_error(d: int) -> None:
    """A command of commands has none of this name, or with other arguments."""
    found = Argument(Door(d).argv + ARGUMENT_BYTES)
    put_piece(d, Line.SUBCOMMAND)
    put_quoted(d, found.address, min(found.length, _SHOWN_MAX))
    put_line(d, Line.SUBCOMMAND_END)


@njit(cache=True)
def put_option_error(d: int, address: int, length: int) -> None:
    """An option that the command does not have."""
    put_piece(d, Line.OPTION)
    put_plain(d, address, min(length, _SHOWN_MAX))
    put_end(d)


@njit(cache=True)
def put_unknown(d: int) -> None:
    """There is no such command."""
    door = Door(d)
    name = Argument(door.argv)
    put_piece(d, Line.UNKNOWN)
    put_quoted(d, name.address, min(name.length, _SHOWN_MAX))
    put_piece(d, Line.ARGUMENTS)
    shown = 0
    for number in range(1, door.argc):
        if shown >= _SHOWN_MAX:
            break
        found = Argument(door.argv + number * ARGUMENT_BYTES)
        size = min(found.length, _SHOWN_MAX - shown)
        put_quoted(d, found.address, size)
        put_space(d)
        shown += size + 3
    put_end(d)


@njit(cache=True)
def put_space(d: int) -> None:
    """One space, in a line."""
    if has_room(d, 1):
        store8(Door(d).out_at, 32)
        Door(d).out_at = Door(d).out_at + 1


@njit(cache=True)
def put_end(d: int) -> None:
    """The end of a line."""
    door = Door(d)
    store8(door.upper, 13)
    store8(door.upper + 1, 10)
    put_bytes(d, door.upper, 2)
