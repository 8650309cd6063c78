"""Sockets of a client, made in another network namespace when asked for."""

from __future__ import annotations

import contextlib
import socket
import threading

from splinter.net.netns import inside


class ResolutionTimeoutError(TimeoutError):
    """A name's address was not found out in time."""


def _resolve(address: str, timeout: float) -> str:
    """The numeric form of an IPv4 address or name. What looks names up has no time-out of its own, so a thread waits for it."""
    with contextlib.suppress(OSError, ValueError):
        socket.inet_pton(socket.AF_INET, address)
        return address
    found: list[str | Exception] = []

    def look_up() -> None:
        try:
            found.append(socket.gethostbyname(address))
        except (ValueError, TypeError) as error:  # no name can be like this: with an empty or too long part, or a NUL
            found.append(socket.gaierror(socket.EAI_NONAME, f"{address!r} is no name of a host: {error}"))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(timeout)
    if not found:
        raise ResolutionTimeoutError(f"the address of {address!r} was not found out within {timeout:g} s")
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def connect(kind: socket.SocketKind, address: str, port: int, netns: str | None, timeout: float) -> socket.socket:
    """An IPv4 socket connected to ``address``, which may be a name; ``timeout`` is in seconds, for looking it up and for
    connecting each.

    A socket stays in the namespace it was made in, so the thread is back in its own when this returns. Raises
    :class:`OSError` when the connection fails, :class:`~splinter.errors.ServerError` when the namespace cannot be entered.
    """
    address = _resolve(address, timeout)
    with inside(netns):
        made = socket.socket(socket.AF_INET, kind)
    try:
        made.settimeout(timeout)
        made.connect((address, port))
    except BaseException:
        made.close()
        raise
    return made
