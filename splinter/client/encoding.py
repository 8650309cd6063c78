"""What a client accepts as keys, values, tables and tokens, and the bytes it makes of them."""

from __future__ import annotations

import operator

from splinter import limits
from splinter.client.arguments import RANGES, check_integer
from splinter.errors import BadKeyError, BadTableError, ValueTooLargeError

Key = bytes | bytearray | memoryview | str | int
Value = bytes | bytearray | memoryview

_INTEGER_KEY_BYTES = 8  # what an extension's db.get(key=integer) looks up


def encode_key(key: Key) -> bytes:
    """Bytes of a key: bytes as they are, text in UTF-8, an integer (0 … 2^64 - 1) as 8 bytes little-endian.

    Raises :class:`BadKeyError` for an empty, too long or too large one, :class:`TypeError` for anything else.
    """
    if type(key) is not bytes:
        if isinstance(key, bool):
            raise TypeError("a key is bytes, text or an integer, not bool")
        if isinstance(key, int):
            try:
                return key.to_bytes(_INTEGER_KEY_BYTES, "little")
            except OverflowError:
                raise BadKeyError("an integer key is 0 … 2^64 - 1") from None
        if isinstance(key, str):
            key = key.encode()
        elif isinstance(key, bytearray | memoryview | bytes):
            key = bytes(key)
        else:
            try:
                return encode_key(operator.index(key))  # NumPy's, for one
            except TypeError:
                raise TypeError(f"a key is bytes, text or an integer, not {type(key).__name__}") from None
    if not 1 <= len(key) <= limits.KEY_BYTES_MAX:
        raise BadKeyError
    return key


def encode_prefix(prefix: Key | None) -> bytes:
    """Bytes of what keys begin with, as of a key; none at all for None, or for what is empty."""
    return b"" if prefix is None or (isinstance(prefix, bytes | bytearray | str) and not prefix) else encode_key(prefix)


def encode_name(name: str) -> bytes:
    """Bytes of an extension's name. Raises :class:`BadKeyError` for an empty or too long one."""
    raw = name.encode()
    if not 1 <= len(raw) <= limits.EXTENSION_NAME_BYTES_MAX:
        raise BadKeyError(f"an extension's name has 1 to {limits.EXTENSION_NAME_BYTES_MAX} bytes")
    return raw


def encode_value(value: Value) -> bytes:
    """Bytes of a value. Raises :class:`ValueTooLargeError` beyond 8 MiB, :class:`TypeError` for what is not bytes."""
    if type(value) is not bytes:
        if not isinstance(value, bytearray | memoryview | bytes):
            raise TypeError(f"a value is bytes, not {type(value).__name__}")
        value = bytes(value)
    if len(value) > limits.LARGE_BYTES_MAX:
        raise ValueTooLargeError
    return value


def check_table(table: int) -> int:
    """The table number; raises :class:`BadTableError` when a tenant has no such table, :class:`TypeError` for no integer."""
    try:
        return check_integer("table", table)
    except ValueError as error:
        raise BadTableError(str(error)) from None


def parse_token(token: int | str) -> int:
    """A tenant's token as an integer; text is the 16 hexadecimal digits that ``tenant create`` prints.

    Raises :class:`ValueError` or :class:`TypeError` for what is none. What was given is not repeated: it may be a secret.
    """
    least, most = RANGES["token"]
    try:
        return check_integer("token", int(token, 16) if isinstance(token, str) else token)
    except TypeError:
        kind = type(token).__name__
        raise TypeError(f"token is an integer, {least} … {most}, or text of 16 hexadecimal digits, not {kind}") from None
    except ValueError:
        raise ValueError(f"token is an integer, {least} … {most}, or text of 16 hexadecimal digits, and this is not") from None


def format_token(token: int) -> str:
    """A token as 16 hexadecimal digits."""
    return f"{token:016x}"
