"""What callers give as numbers: checked before anything is sent. The error names the argument, its range and what was given.

Whatever Python takes for an integer is one (``operator.index``: NumPy's as well), but for Booleans, as with keys.
"""

from __future__ import annotations

import math
import operator
from datetime import timedelta
from typing import Any

from splinter import limits

_TIMEOUT_SECONDS_MAX = 1e6
_SHOWN_MAX = 60  # characters of what was given
_U32_MAX, _U64_MAX = (1 << 32) - 1, (1 << 64) - 1

RANGES: dict[str, tuple[int, int]] = {
    "tenant": (1, limits.TENANTS_MAX - 1),
    "to": (1, limits.TENANTS_MAX - 1),
    "token": (1, _U64_MAX),
    "port": (1, 65535),
    "control_port": (1, 65535),
    "table": (0, limits.TABLES_MAX - 1),
    "if_version": (0, _U64_MAX),
    "window": (1, limits.CLIENT_WINDOW),  # as many numbers as a client may have open
    "tries": (1, _U32_MAX),
    "count": (1, limits.TENANTS_MAX - 1),
    "after": (0, (1 << 63) - 1),  # the number of an event
    "number": (1, (1 << 63) - 1),  # of a backup
    "home": (0, limits.WORKERS_MAX - 1),
    "quota_bytes": (0, (1 << 63) - 1),
    "task_yields_max": (0, _U32_MAX),
    "task_milliseconds_max": (0, _U32_MAX),
    "task_wall_milliseconds_max": (0, _U32_MAX),
    "packets_per_second": (0, limits.PACKETS_PER_SECOND_MAX),
}  # of each integer argument of Client's and Admin's, and of each field of a control message that limits; both ends included


def check_integer(name: str, given: Any) -> int:
    """An integer argument; raises :class:`TypeError` for what is no integer, :class:`ValueError` beyond its range."""
    least, most = RANGES[name]
    if type(given) is int and least <= given <= most:
        return given
    wanted = f"{name} is an integer, {least} … {most}"
    try:
        number = operator.index(given)
    except TypeError:
        number = None
    if number is None or isinstance(given, bool):
        raise TypeError(f"{wanted}, not {_shown(given)}")
    if not least <= number <= most:
        raise ValueError(f"{wanted}, not {_shown(number)}")
    return number


def check_integers(**given: Any) -> dict[str, int]:
    """Several integer arguments, by their names."""
    return {name: check_integer(name, value) for name, value in given.items()}


def check_those_given(**given: Any) -> dict[str, int]:
    """As :func:`check_integers`, of arguments that may be None: those are left out."""
    return check_integers(**{name: value for name, value in given.items() if value is not None})


def check_timeout(given: Any) -> float:
    """A time-out in seconds; raises :class:`TypeError` for what is no number, :class:`ValueError` beyond its range."""
    wanted = f"timeout is a number of seconds, more than 0 and less than {_TIMEOUT_SECONDS_MAX:g}"
    try:
        if isinstance(given, bool | str | bytes | bytearray):
            raise TypeError
        seconds = float(given)
    except OverflowError:
        seconds = _TIMEOUT_SECONDS_MAX
    except (TypeError, ValueError):
        raise TypeError(f"{wanted}, not {_shown(given)}") from None
    if not 0 < seconds < _TIMEOUT_SECONDS_MAX:
        raise ValueError(f"{wanted}, not {_shown(given)}")
    return seconds


def check_ttl(given: Any) -> int:
    """How long an object is to live, in ns: ``given`` is in seconds, or a ``timedelta``. Raises :class:`TypeError` for what is
    neither, :class:`ValueError` for 0 and less, and for more than 100 years."""
    wanted = f"ttl is a number of seconds, more than 0 and at most {limits.TTL_NS_MAX // 10**9:,}, or a timedelta"
    try:
        if isinstance(given, bool | str | bytes | bytearray):
            raise TypeError
        ns = float(given.total_seconds() if isinstance(given, timedelta) else given) * 1e9
    except OverflowError:
        ns = math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{wanted}, not {_shown(given)}") from None
    if not 0 < ns <= limits.TTL_NS_MAX:
        raise ValueError(f"{wanted}, not {_shown(given)}")
    return max(1, round(ns))


def is_timeout(given: Any) -> bool:
    """Whether :func:`check_timeout` takes it."""
    try:
        check_timeout(given)
    except (TypeError, ValueError):
        return False
    return True


def _shown(given: Any) -> str:
    try:
        text = repr(given)
    except ValueError:  # an integer of more digits than the interpreter writes
        return f"an integer of {operator.index(given).bit_length()} bits"
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"
