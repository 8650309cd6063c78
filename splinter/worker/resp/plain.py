"""Commands that touch no object: connection and server."""

from __future__ import annotations

from numba import njit

from splinter.worker.resp.about import command, config, info, tell_time
from splinter.worker.resp.commands import Number
from splinter.worker.resp.errors import put_arity_error
from splinter.worker.resp.isolated import argument
from splinter.worker.resp.layout import STATE_CLOSING
from splinter.worker.resp.lines import Line
from splinter.worker.resp.records import Connection, Door
from splinter.worker.resp.replies import put_bulk, put_line
from splinter.worker.resp.session import authenticate, client, hello, reset, select


@njit(cache=True)
def run_plain(w: int, d: int, number: int) -> None:
    """Execute one of them."""
    door = Door(d)
    if number == Number.PING:
        if door.argc > 2:
            put_arity_error(d)
        elif door.argc == 2:
            at, length = argument(d, 1)
            put_bulk(d, at, length)
        else:
            put_line(d, Line.PONG)
    elif number == Number.ECHO:
        at, length = argument(d, 1)
        put_bulk(d, at, length)
    elif number == Number.SELECT:
        select(d)
    elif number == Number.AUTH:
        authenticate(w, d)
    elif number == Number.HELLO:
        hello(w, d)
    elif number == Number.CLIENT:
        client(w, d)
    elif number == Number.COMMAND:
        command(d)
    elif number == Number.CONFIG:
        config(w, d)
    elif number == Number.INFO:
        info(w, d)
    elif number == Number.TIME:
        tell_time(d)
    elif number == Number.RESET:
        reset(w, d)
    elif number == Number.QUIT:
        Connection(door.connection).state = Connection(door.connection).state | STATE_CLOSING
        put_line(d, Line.OK)
