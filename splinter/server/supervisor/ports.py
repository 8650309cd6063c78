"""The port of a server: one number, UDP for requests and TCP for control. 0: the kernel chooses one that is free for both."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

from splinter.errors import InUseError, NotPermittedError, ServerError
from splinter.net.netns import inside
from splinter.server.config import ServerConfig

_CHOICES_MAX = 64  # ports that are free for TCP and turn out to be taken for UDP


def take_port(config: ServerConfig, address: str) -> Iterator[socket.socket]:
    """TCP sockets bound to ``address`` and the port of the configuration, one after another: the caller takes the first whose
    number it can have for UDP as well, and closes the others. Where the configuration says a port there is but that one.

    Raises :class:`ServerError` when there is none (any more).
    """
    for _ in range(_CHOICES_MAX if config.port == 0 else 1):
        yield _bind(config, address)
    raise InUseError(f"no port of {address} was found that is free for UDP and TCP")


def port_of(bound: socket.socket) -> int:
    """The number that a socket is bound to."""
    return int(bound.getsockname()[1])


def take_unused(config: ServerConfig, address: str) -> socket.socket:
    """As :func:`take_port`, for a server whose requests need no UDP socket (XDP): with port 0, no socket of the host has it."""
    for bound in take_port(config, address):
        if config.port != 0:
            return bound
        try:
            with inside(config.netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((address, port_of(bound)))
            return bound
        except OSError as error:
            bound.close()
            if error.errno != errno.EADDRINUSE:
                raise cannot(f"serve UDP on {address}", error) from error
    raise AssertionError  # take_port() raises at its end


def _bind(config: ServerConfig, address: str) -> socket.socket:
    """Bound, not listening: nobody is let in before the server can answer."""
    with inside(config.netns):
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(bound.close)
        if config.port != 0:  # with it the kernel may choose a port that others are bound to, and do not listen on yet
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((address, config.port))
        except OSError as error:
            raise cannot(f"listen on TCP {address}:{config.port}", error) from error
        undo.pop_all()
    return bound


def listen(bound: socket.socket, backlog: int) -> None:
    """Let connections in. Raises :class:`ServerError`."""
    try:
        bound.listen(backlog)
    except OSError as error:
        address, port = bound.getsockname()
        raise cannot(f"listen on TCP {address}:{port}", error) from error


def cannot(do: str, error: OSError) -> ServerError:
    """What the system said of an address, as the kind of error that it is."""
    kinds = {
        errno.EADDRINUSE: InUseError,
        errno.EADDRNOTAVAIL: InUseError,
        errno.EACCES: NotPermittedError,
        errno.EPERM: NotPermittedError,
    }
    return kinds.get(error.errno or 0, ServerError)(f"cannot {do}: {error.strerror}")
