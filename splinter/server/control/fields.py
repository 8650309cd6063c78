"""Fields of a control request: present, of the right type, within bounds, or refused with a text that says which."""

from __future__ import annotations

from typing import Any

from splinter import limits
from splinter.errors import ControlError
from splinter.ext.front.names import is_name
from splinter.server.config import DURABILITY_DEFAULT
from splinter.wire import DURABILITIES

_DURABILITY_BYTES_MAX = 16


def _refuse(text: str) -> ControlError:
    return ControlError(text, "bad_request")


def integer(request: dict[Any, Any], name: str, low: int, high: int, default: int | None = None) -> int:
    """An integer field within ``low`` … ``high``; the default when it is absent (None: it must be there)."""
    value = optional_integer(request, name, low, high)
    if value is None:
        if default is None:
            raise _refuse(f"{name!r} is missing")
        return default
    return value


def optional_integer(request: dict[Any, Any], name: str, low: int, high: int) -> int | None:
    """An integer field within ``low`` … ``high``, or None when it is absent."""
    value = request.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise _refuse(f"{name!r} is an integer")
    if not low <= value <= high:
        raise _refuse(f"{name!r} is {low} … {high}, not {value}")
    return value


def text(request: dict[Any, Any], name: str, bytes_max: int) -> str:
    """A text field of 1 … ``bytes_max`` bytes of UTF-8."""
    value = optional_text(request, name, bytes_max)
    if value is None:
        raise _refuse(f"{name!r} is missing")
    return value


def optional_text(request: dict[Any, Any], name: str, bytes_max: int) -> str | None:
    """As :func:`text`, or None when it is absent."""
    value = request.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _refuse(f"{name!r} is text")
    if not 1 <= len(value.encode(errors="surrogatepass")) <= bytes_max:
        raise _refuse(f"{name!r} has 1 to {bytes_max} bytes")
    return value


def binary(request: dict[Any, Any], name: str, bytes_min: int, bytes_max: int) -> bytes:
    """A field of ``bytes_min`` … ``bytes_max`` bytes."""
    value = optional_binary(request, name, bytes_min, bytes_max)
    if value is None:
        raise _refuse(f"{name!r} is missing")
    return value


def optional_binary(request: dict[Any, Any], name: str, bytes_min: int, bytes_max: int) -> bytes | None:
    """As :func:`binary`, or None when it is absent."""
    value = request.get(name)
    if value is None:
        return None
    if not isinstance(value, bytes):
        raise _refuse(f"{name!r} is binary")
    if not bytes_min <= len(value) <= bytes_max:
        raise _refuse(f"{name!r} has {bytes_min} to {bytes_max} bytes, not {len(value)}")
    return value


def optional_name(request: dict[Any, Any], field: str) -> str | None:
    """An extension's name: an identifier; or None when it is absent."""
    value = optional_text(request, field, limits.EXTENSION_NAME_BYTES_MAX)
    if value is not None and not is_name(value):
        raise _refuse(f"{field!r} is an identifier, not {value!a}")
    return value


def optional_names(request: dict[Any, Any], field: str, most: int) -> list[str] | None:
    """A list of 1 … ``most`` names of extensions, or None when it is absent."""
    value = request.get(field)
    if value is None:
        return None
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise _refuse(f"{field!r} is a list of 1 to {most} names")
    return [name({field: one}, field) for one in value]


def name(request: dict[Any, Any], field: str) -> str:
    """As :func:`optional_name`, but it must be there."""
    value = optional_name(request, field)
    if value is None:
        raise _refuse(f"{field!r} is missing")
    return value


def flag(request: dict[Any, Any], name: str) -> bool:
    """A Boolean field, False when it is absent."""
    value = request.get(name, False)
    if type(value) is not bool:
        raise _refuse(f"{name!r} is true or false")
    return value


def choice(request: dict[Any, Any], name: str, choices: tuple[str, ...]) -> int | None:
    """The number of one of some names; None when the field is absent."""
    value = optional_text(request, name, max(map(len, choices)))
    if value is not None and value not in choices:
        raise _refuse(f"{name!r} is one of {', '.join(choices)}, not {value!a}")
    return None if value is None else choices.index(value)


def durability(request: dict[Any, Any], has_folder: bool, default: str | None) -> int:
    """The number of the durability that is asked for; without a data folder there is none."""
    mode = optional_text(request, "durability", _DURABILITY_BYTES_MAX)
    if not has_folder:
        if mode not in (None, DURABILITIES[0]):
            raise ControlError("this server has no data folder: start it with --data", "no_data_folder")
        return 0
    mode = mode or default or DURABILITY_DEFAULT
    if mode not in DURABILITIES:
        raise _refuse(f"'durability' is one of {', '.join(DURABILITIES)}, not {mode!a}")
    return DURABILITIES.index(mode)
