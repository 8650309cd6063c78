"""Descriptors that are readable every so often: what wakes the supervisor, which else may rest for minutes."""

from __future__ import annotations

import ctypes
import os
import struct

_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK
_CLOCK_MONOTONIC = 1
_libc = ctypes.CDLL(None, use_errno=True)


def make_timer(seconds: float) -> int:
    """A descriptor that is readable every so many seconds. Raises :class:`OSError`."""
    descriptor = _libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    set_timer(descriptor, seconds, seconds)
    return int(descriptor)


def set_timer(descriptor: int, first: float, then: float) -> None:
    """When a timer's descriptor is readable next, and how often from then on; seconds."""

    def parts(seconds: float) -> tuple[int, int]:
        return int(seconds), int(seconds % 1 * 1e9)

    _libc.timerfd_settime(descriptor, 0, struct.pack("@4l", *parts(then), *parts(first)), None)
