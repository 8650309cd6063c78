"""The lines of a dump (``docs/reference/dump-format.md``): how they are written, and read with everything in them checked.

A dump is JSON Lines, ASCII only. The first line tells what it is, the last one how much there is of it, with a checksum of all
that is before. Between them stand tenants, then extensions, then objects.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from splinter import limits
from splinter.client.arguments import RANGES
from splinter.client.encoding import format_token
from splinter.wire import DUMPED, DUMPED_BYTES, DUMPED_LARGE, DUMPED_OBJECT, DURABILITIES, EVICTIONS, LARGE

FORMAT = "splinter-dump"
VERSION = 1
ALL = "all"
LIMITS = ("task_yields_max", "task_milliseconds_max", "task_wall_milliseconds_max", "packets_per_second")
NS_PER_MS = 1_000_000
EXPIRES_MS_MAX = ((1 << 63) - 1) // NS_PER_MS
_TOKEN = re.compile(r"[0-9a-f]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # what is written in base64 though it may be UTF-8
_COUNT_MAX = (1 << 53) - 1  # a number that every JSON reader has exactly


@dataclass(frozen=True)
class Header:
    """The first line. ``of``: the one tenant, or "all"."""

    of: int | str
    at_unix_ms: int
    server: str


@dataclass(frozen=True)
class DumpedTenant:
    """A tenant: ``quota_bytes`` None: it has none; ``limits``: by their names; ``token``: 16 hexadecimal digits, or None."""

    tenant: int
    quota_bytes: int | None
    limits: dict[str, int]
    durability: str
    eviction: str
    token: str | None


@dataclass(frozen=True)
class DumpedExtension:
    """An extension: ``source`` None: the server did not have it; ``together``: all of the source were compiled together."""

    tenant: int
    name: str
    source: str | None
    together: bool


class DumpedObject(NamedTuple):
    """An object; ``expires_unix_ms`` 0: never."""

    tenant: int
    table: int
    key: bytes
    value: bytes
    expires_unix_ms: int
    length: int = 0  # of a large value, whose parts stand before; 0: it is no large one, and in ``value``


class DumpedPart(NamedTuple):
    """A part of a large value, ``number`` from 0; the object stands behind the last one."""

    tenant: int
    table: int
    key: bytes
    number: int
    value: bytes


@dataclass(frozen=True)
class End:
    """The last line: counts; tenants of which it has not all; SHA-256 of all bytes before this line."""

    tenants: int
    extensions: int
    parts: int
    objects: int
    incomplete: tuple[int, ...]
    sha256: str


Record = Header | DumpedTenant | DumpedExtension | DumpedPart | DumpedObject | End


# --- writing ---------------------------------------------------------------------------------------------------------------


def _line(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def header_line(of: int | str, at_unix_ms: int, server: str) -> bytes:
    """The first line."""
    return _line(type=FORMAT, version=VERSION, of=of, at_unix_ms=at_unix_ms, server=server)


def tenant_line(told: dict[str, Any]) -> bytes:
    """The line of a tenant as the control port describes it; its token is in it when that is not 0."""
    quota = told["quota_bytes"]
    token = {"token": format_token(told["token"])} if told["token"] else {}
    return _line(
        type="tenant",
        tenant=told["tenant"],
        quota_bytes=None if quota == limits.TENANT_QUOTA_BYTES_DEFAULT else quota,
        **{name: told[name] for name in LIMITS},
        durability=told["durability"],
        eviction=told["eviction"],
        **token,
    )


def extension_line(tenant: int, name: str, source: str | None, together: bool) -> bytes:
    """The line of an extension."""
    return _line(type="extension", tenant=tenant, name=name, source=source, together=together)


def end_line(end: End) -> bytes:
    """The last line."""
    return _line(
        type="end", tenants=end.tenants, extensions=end.extensions, parts=end.parts, objects=end.objects,
        incomplete=list(end.incomplete), sha256=end.sha256,
    )  # fmt: skip


def object_line(one: DumpedObject) -> bytes:
    """The line of an object."""
    expires = f',"expires_unix_ms":{one.expires_unix_ms}' if one.expires_unix_ms else ""
    key = _content("key", one.key)
    value = f'"length":{one.length}' if one.length else _content("value", one.value)
    return f'{{"type":"object","tenant":{one.tenant},"table":{one.table},{key},{value}{expires}}}\n'.encode()


def part_line(one: DumpedPart) -> bytes:
    """The line of a part of a large value."""
    key, value = _content("key", one.key), _content("value", one.value)
    return f'{{"type":"part","tenant":{one.tenant},"table":{one.table},{key},"number":{one.number},{value}}}\n'.encode()


def _content(name: str, data: bytes) -> str:
    """A field of bytes: text where it is such, else base64 under another name."""
    if _NO_TEXT.search(data) is None:
        try:
            return f'"{name}":{json.dumps(data.decode())}'
        except UnicodeDecodeError:
            pass
    return f'"{name}_base64":"{base64.b64encode(data).decode()}"'


def objects_told(told: bytes, generations: dict[int, int]) -> Iterator[DumpedObject]:
    """The objects that the control port tells (DUMPED); of a large one the value is its LARGE. Those of tenants that came up
    after the dump began, which have other generations, are left out. Raises ``ValueError``, or an error of ``struct``, for what
    is none."""
    at = 0
    while at < len(told):
        tenant, table, key_length, kind, value_length, generation, expires = DUMPED.struct.unpack_from(told, at)
        key_at = at + DUMPED_BYTES
        value_at = key_at + key_length
        at = key_at + (key_length + value_length + 7 & -8)
        if at > len(told):
            raise ValueError("the last object is cut")
        if generations.get(tenant) == generation:
            key, value = told[key_at:value_at], told[value_at : value_at + value_length]
            length = LARGE.struct.unpack(value)[1] if kind == DUMPED_LARGE else 0
            if length != 0 and not limits.VALUE_BYTES_MAX < length <= limits.LARGE_BYTES_MAX:
                raise ValueError("a large value is too large")
            yield DumpedObject(tenant, table, key, value, -(-expires // NS_PER_MS), length)


def dumped(
    table: int, key: bytes, value: bytes, expires: int = 0, *, kind: int = DUMPED_OBJECT, tenant: int = 0, generation: int = 0
) -> bytes:
    """An object as the control port takes it (DUMPED); ``expires`` in ns since 1970, or (0) never."""
    head = DUMPED.struct.pack(tenant, table, len(key), kind, len(value), generation, expires)
    return head + key + value + bytes(-(len(key) + len(value)) % 8)


# --- reading a line ----------------------------------------------------------------------------------------------------------


class _BadLineError(Exception):
    """What is wrong with a line."""


def _integer(fields: dict[str, Any], name: str, least: int, most: int) -> int:
    value = fields.pop(name, None)
    if type(value) is not int or not least <= value <= most:
        raise _BadLineError(f"{name!r} is no integer, {least} … {most}")
    return value


def _tenant_of(fields: dict[str, Any]) -> int:
    return _integer(fields, "tenant", 1, limits.TENANTS_MAX - 1)


def _text(fields: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = fields.pop(name, None)
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise _BadLineError(f"{name!r} is not what it should be")
    return value


def _bytes(fields: dict[str, Any], name: str, least: int, most: int) -> bytes:
    text = fields.pop(name, None)
    data = None
    if type(text) is str:
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise _BadLineError(f"{name!r} has half of a surrogate pair") from None
    other = f"{name}_base64"
    if other in fields:
        coded = fields.pop(other)
        if text is not None or type(coded) is not str:
            raise _BadLineError(f"{name!r} and {other!r} exclude each other, and each is text")
        try:
            data = binascii.a2b_base64(coded.encode("ascii", "replace"), strict_mode=True)
        except binascii.Error:
            raise _BadLineError(f"{other!r} is not base64") from None
    if data is None:
        raise _BadLineError(f"{name!r}, or {other!r}, is missing, or no text")
    if not least <= len(data) <= most:
        raise _BadLineError(f"{name!r} has {least} to {most} bytes, not {len(data)}")
    return data


def _object(fields: dict[str, Any]) -> DumpedObject:
    expires = _integer(fields, "expires_unix_ms", 1, EXPIRES_MS_MAX) if "expires_unix_ms" in fields else 0
    tenant, table, key = _place_of(fields)
    if "length" in fields:
        length = _integer(fields, "length", limits.VALUE_BYTES_MAX + 1, limits.LARGE_BYTES_MAX)
        return DumpedObject(tenant, table, key, b"", expires, length)
    return DumpedObject(tenant, table, key, _bytes(fields, "value", 0, limits.VALUE_BYTES_MAX), expires)


def _part(fields: dict[str, Any]) -> DumpedPart:
    place, number = _place_of(fields), _integer(fields, "number", 0, limits.PARTS_MAX - 1)
    return DumpedPart(*place, number, _bytes(fields, "value", 1, limits.PART_BYTES))


def _place_of(fields: dict[str, Any]) -> tuple[int, int, bytes]:
    table = _integer(fields, "table", 0, limits.TABLES_MAX - 1)
    return _tenant_of(fields), table, _bytes(fields, "key", 1, limits.KEY_BYTES_MAX)


def _tenant(fields: dict[str, Any]) -> DumpedTenant:
    tenant, has_quota = _tenant_of(fields), fields.get("quota_bytes", 0) is not None
    quota = _integer(fields, "quota_bytes", *RANGES["quota_bytes"]) if has_quota else fields.pop("quota_bytes")
    more = {name: _integer(fields, name, *RANGES[name]) for name in LIMITS}
    durability = fields.pop("durability", None)
    if durability not in DURABILITIES:
        raise _BadLineError(f"'durability' is one of {', '.join(DURABILITIES)}")
    eviction = fields.pop("eviction", None)
    if eviction not in EVICTIONS:
        raise _BadLineError(f"'eviction' is one of {', '.join(EVICTIONS)}")
    token = _text(fields, "token", _TOKEN) if "token" in fields else None
    if token is not None and int(token, 16) == 0:
        raise _BadLineError("'token' is not what it should be")
    return DumpedTenant(tenant, quota, more, durability, eviction, token)


def _extension(fields: dict[str, Any]) -> DumpedExtension:
    tenant, name, together = _tenant_of(fields), fields.pop("name", None), fields.pop("together", None)
    if type(name) is not str or not name.isidentifier() or len(name.encode()) > limits.EXTENSION_NAME_BYTES_MAX:
        raise _BadLineError("'name' is no identifier, or too long")
    if type(together) is not bool:
        raise _BadLineError("'together' is neither true nor false")
    if fields.get("source", "") is None:
        return DumpedExtension(tenant, name, fields.pop("source"), together)
    if "source_base64" in fields:
        raise _BadLineError("'source' is text")
    return DumpedExtension(tenant, name, _bytes(fields, "source", 1, limits.SOURCE_BYTES_MAX).decode(), together)


def _header(fields: dict[str, Any]) -> Header:
    if _integer(fields, "version", 1, _COUNT_MAX) > VERSION:
        raise _BadLineError("the dump is of a newer Splinter: use that")
    of = fields.pop("of", None)
    if of != ALL:
        of = _integer({"of": of}, "of", 1, limits.TENANTS_MAX - 1)
    at, server = _integer(fields, "at_unix_ms", 0, _COUNT_MAX), fields.pop("server", None)
    if type(server) is not str:
        raise _BadLineError("'server' is no text")
    return Header(of, at, server)


def _end(fields: dict[str, Any]) -> End:
    incomplete = fields.pop("incomplete", None)
    if type(incomplete) is not list or len(incomplete) >= limits.TENANTS_MAX:
        raise _BadLineError("'incomplete' is no list of tenants")
    removed = tuple(_integer({"incomplete": one}, "incomplete", 1, limits.TENANTS_MAX - 1) for one in incomplete)
    tenants, extensions, parts, objects = (
        _integer(fields, name, 0, _COUNT_MAX) for name in ("tenants", "extensions", "parts", "objects")
    )
    return End(tenants, extensions, parts, objects, removed, _text(fields, "sha256", _SHA256))


_KINDS: dict[str, Callable[[dict[str, Any]], Record]] = {
    FORMAT: _header,
    "tenant": _tenant,
    "extension": _extension,
    "part": _part,
    "object": _object,
    "end": _end,
}


def read_line(raw: bytes) -> Record:
    """What a line without its end says. Raises :class:`ValueError` that tells what is wrong with it."""
    try:
        fields = json.loads(raw.decode("ascii"))
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError, too
        raise ValueError("it is no JSON of ASCII characters alone") from error
    kind = fields.pop("type", None) if type(fields) is dict else None
    read = _KINDS.get(kind) if type(kind) is str else None
    if read is None:
        raise ValueError(f"it is no object with a 'type' of {', '.join(map(repr, _KINDS))}")
    try:
        found = read(fields)
        if fields:
            raise _BadLineError(f"it has fields that are unknown: {', '.join(map(ascii, list(fields)[:8]))[:100]}")
    except _BadLineError as error:
        raise ValueError(str(error)) from None
    return found
