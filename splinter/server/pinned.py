"""What a server's pins are, whatever its store is like: found, judged, removed."""

from __future__ import annotations

import contextlib
import os

import numpy as np

from splinter.errors import ServerError
from splinter.net.bpf import maps, syscall
from splinter.net.bpf.maps import Kind, MapForm
from splinter.net.bpf.pins import PinFolder
from splinter.net.bpf.syscall import closed

LAYOUT_PIN, LINK_PIN = "layout", "link"

COMPLETE = 1
LAYOUT = np.dtype(
    [
        ("magic", "S8"),
        ("complete", "<u4"),  # COMPLETE; 0: it is being made, or removed
        ("cores", "<u4"),  # workers that it was made for
        ("memory_bytes", "<u8"),
        ("digest", "V32"),  # of every structure in it, and of the limits that decide on places
        ("version", "S32"),  # of Splinter, for messages
        ("has_log", "<u4"),  # 1: its changes are logged, and it has the map "store_log"
        ("reserved", "V164"),
    ]
)  # written by the supervisor
LAYOUT_BYTES = LAYOUT.itemsize
assert LAYOUT_BYTES == 256  # for ever, so that every version can read every other's
LAYOUT_FORM = MapForm(Kind.ARRAY, LAYOUT_BYTES, 1)


def left_behind(pins: PinFolder) -> bytes | None:
    """The LAYOUT record of the whole store that is pinned; None when there is none. Raises :class:`OSError`."""
    if LAYOUT_PIN not in pins.names():
        return None
    with closed(pins.open(LAYOUT_PIN)) as layout:
        if maps.form_of(layout) != LAYOUT_FORM:
            return None
        found = maps.lookup(layout, 0, LAYOUT_BYTES)
    return found if np.frombuffer(found, LAYOUT)[0]["complete"] == COMPLETE else None


def discard(pins: PinFolder) -> None:
    """Remove all that is pinned, in an order in which no death leaves what could be taken for a store. Raises OSError."""
    names = pins.names()
    if LINK_PIN in names:
        detach_and_close(pins.open(LINK_PIN))
    if LAYOUT_PIN in names:
        with closed(pins.open(LAYOUT_PIN)) as layout:
            if maps.form_of(layout) == LAYOUT_FORM:
                maps.update(layout, 0, bytes(LAYOUT_BYTES))
    for name in sorted(names - {LAYOUT_PIN}):
        pins.unpin(name)
    pins.unpin(LAYOUT_PIN)


def remove(pins: PinFolder) -> None:
    """:func:`discard`, and the folder goes, too. Raises :class:`ServerError`."""
    try:
        discard(pins)
        pins.remove()
    except OSError as error:
        raise ServerError(f"what is pinned in {pins.path} cannot be removed: {error.strerror}") from error


def detach_and_close(link_fd: int) -> None:
    """Take the program of a link off its device, which may be gone."""
    with contextlib.suppress(OSError):
        syscall.detach_link(link_fd)
    os.close(link_fd)
